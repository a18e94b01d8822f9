"""The order in which people number files."""

from __future__ import annotations

import re


def natural_key(text: str) -> tuple[list[tuple[int, str]], str]:
    """Sort key by which "shot9" comes before "Shot10": digits compare as numbers, letters without case first."""
    parts = re.findall(r"[0-9]+|[^0-9]+", text.lower())
    return [(int(part), "") if part[0] in "0123456789" else (-1, part) for part in parts], text
