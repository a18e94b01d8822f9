"""Layouts of annotated pictures and clips on disk, one file for each, all giving `Clip`s."""
