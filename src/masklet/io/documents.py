"""Text and JSON files read and written with errors that name the file, the record and the key."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from masklet.errors import InputError
from masklet.io.output import atomic_file, make_folder
from masklet.types import Size

Kind = TypeVar("Kind")

NOTHING: tuple[Any, ...] = (None, "", [], {})
"""Values of fields that say nothing."""

MAX_SIDE = 1 << 16
"""Pictures beyond this many pixels a side are taken for a damaged file."""


def read_text(path: str | Path) -> str:
    """The contents of a UTF-8 text file, with or without a mark of byte order. Raises `InputError`."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no UTF-8 text at byte {error.start}; save it as UTF-8") from error


def read_json(path: str | Path) -> Any:
    """The contents of a JSON file. Raises `InputError` where it is missing, cut off, or not JSON."""
    text = read_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg.startswith("Unterminated") or error.pos >= len(text.rstrip()) - 1:
            raise InputError(f"{path} is cut off: the JSON ends in the middle, at line {error.lineno}") from error
        raise InputError(f"{path} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from error


def write_json(path: str | Path, contents: Any) -> None:
    """Write a JSON file whole or not at all. Raises `OutputError` where it cannot be written."""
    write_text(path, json.dumps(contents, ensure_ascii=False, allow_nan=False))


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file whole or not at all, and make the folder above it. Raises `OutputError`."""
    make_folder(Path(path).parent)
    with atomic_file(path) as file:
        file.write(text)


def strange_fields(contents: Mapping[str, Any], known: Mapping[str, Collection[str]]) -> list[str]:
    """The fields that hold something and have no place with us, such as `info` or `keypoints of annotations`.

    known: of each list of records in `contents`, the fields that have one.
    """
    found = sorted(name for name, value in contents.items() if name not in known and value not in NOTHING)
    for kind, fields in known.items():
        records = (record for record in contents.get(kind, ()) if isinstance(record, dict))
        strange = {name for record in records for name, value in record.items() if value not in NOTHING} - set(fields)
        found += [f"{name} of {kind}" for name in sorted(strange)]
    return found


def member(record: Any, key: str, kind: type[Kind] | tuple[type[Kind], ...], where: str) -> Kind:
    """`record[key]`, checked. Raises `InputError`, beginning with `where`, where it is missing or of another kind."""
    if not isinstance(record, dict):
        raise InputError(f"{where}: expected an object with {key!r}; got {str(record)[:60]!r}")
    if key not in record:
        raise InputError(f"{where}: {key!r} is missing; there are {sorted(record)}")
    value = record[key]
    if not isinstance(value, kind):
        raise InputError(f"{where}: {key!r} cannot be {str(value)[:60]!r}")
    return value


def numbers_in(record: Any, key: str, where: str) -> tuple[int, ...]:
    """`record[key]`, a list of whole numbers. Raises `InputError`, beginning with `where`."""
    values = member(record, key, list, where)
    for value in values:
        if not isinstance(value, int | float) or value % 1 != 0:  # infinity and NaN leave NaN
            raise InputError(f"{where}: {key!r} must hold whole numbers; got {value!r}")
    return tuple(int(value) for value in values)


def size_of(record: Any, where: str, height: str = "height", width: str = "width") -> Size:
    """A picture's size from the two keys. Raises `InputError` where they are missing or no sensible whole numbers."""
    sides = [member(record, key, (int, float), where) for key in (height, width)]
    if not all(0 < side <= MAX_SIDE and int(side) == side for side in sides):
        raise InputError(f"{where}: a picture cannot be {sides[1]} x {sides[0]} pixels")
    return Size(int(sides[0]), int(sides[1]))
