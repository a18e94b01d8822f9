"""Layouts of annotated pictures and clips on disk, one file for each; `open_dataset` finds which it is."""

from masklet.data.layouts.opening import open_dataset

__all__ = ["open_dataset"]
