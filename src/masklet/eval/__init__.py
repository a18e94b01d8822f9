"""Measuring masks: metrics, the benchmark protocols of the field, and reports."""
