"""What the numbers in a recipe's dataclasses may be; the errors name the field, what it is of, and its value."""

from __future__ import annotations

import math

from masklet.errors import InputError


def check_counts(record: object, *names: str) -> None:
    """Raises `InputError` unless these fields are 1 or more."""
    _check(record, names, 1, math.inf, "at least 1")


def check_not_negative(record: object, *names: str) -> None:
    """Raises `InputError` unless these fields are 0 or more, and finite."""
    _check(record, names, 0, math.inf, "0 or more")


def check_probabilities(record: object, *names: str) -> None:
    """Raises `InputError` unless these fields lie in 0 to 1."""
    _check(record, names, 0, math.nextafter(1, 2), "a probability from 0 to 1")


def _check(record: object, names: tuple[str, ...], least: float, end: float, words: str) -> None:
    for name in names:
        value = getattr(record, name)
        if not least <= value < end:  # which no NaN is
            raise InputError(f"{type(record).__name__}.{name} is {words}, not {value}")
