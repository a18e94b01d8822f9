"""The import table of ARCHITECTURE.md as a dict, and the few house rules a machine can hold."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "masklet"

_FOUNDATION = {"errors", "ops", "types", "config"}
_TRACKER = _FOUNDATION | {"model", "checkpoints", "tracking", "io"}

MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "ops": {"errors"},
    "types": {"errors", "ops"},
    "config": {"errors"},
    "model": _FOUNDATION,
    "checkpoints": _FOUNDATION | {"model"},
    "tracking": _FOUNDATION | {"model"},
    "io": {"errors", "ops", "types"},
    "predict": _TRACKER,
    "sam2": _TRACKER | {"predict"},
    "data": {"errors", "ops", "types", "io"},
    "train": _TRACKER | {"data"},
    "eval": _TRACKER | {"predict", "data"},
}
"""Room -> the rooms it may import. `cli` may import anything, but only inside functions."""

LAZY_ROOMS = {"cli": {"errors", "types"}, "__main__": {"cli"}}
"""Rooms that may import anything inside functions, and at module level only these."""

BANNED_NAMES = {"utils", "util", "helpers", "helper", "misc", "common", "tools"}
LONGEST_FILE = 450

FILES = sorted(SOURCE.rglob("*.py"))


def room_of(path: Path) -> str:
    """The first part of a module's path under the package: `model`, `types`, ..."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_rooms(tree: ast.AST) -> Iterator[tuple[str, int, bool]]:
    """Each room of masklet that a module imports, the line, and whether it does so inside a function."""
    inside = {id(node) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for node in ast.walk(f)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            module = node.module or ""
            names = [f"masklet.{alias.name}" for alias in node.names] if module == "masklet" else [module]
        else:
            continue
        for name in names:
            if name.startswith("masklet."):
                yield name.split(".")[1], node.lineno, id(node) in inside


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_up_the_table(path):
    room = room_of(path)
    if room == "__init__":
        return  # the public names, each imported when first used
    assert room in MAY_IMPORT or room in LAZY_ROOMS, f"{room} is not in the import table of ARCHITECTURE.md"
    for imported, line, lazily in imported_rooms(ast.parse(path.read_text())):
        if imported in (room, "__version__"):
            continue
        if room in LAZY_ROOMS:
            assert lazily or imported in LAZY_ROOMS[room], f"line {line}: import masklet.{imported} inside the function"
        else:
            assert imported in MAY_IMPORT[room], f"line {line}: {room} may not import {imported}"


def test_the_table_has_no_cycle():
    done: set[str] = set()
    while len(done) < len(MAY_IMPORT):
        ready = {room for room, needs in MAY_IMPORT.items() if room not in done and needs <= done}
        assert ready, f"rooms import each other in a circle: {sorted(set(MAY_IMPORT) - done)}"
        done |= ready


def test_rooms_and_modules_are_named_for_what_they_hold():
    named = {part.removesuffix(".py") for path in FILES for part in path.relative_to(SOURCE).parts}
    assert not named & BANNED_NAMES


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_keep_one_purpose(path):
    """Long files have two purposes. (The five longest are a good place to start reading for what to split.)"""
    lines = len(path.read_text().splitlines())
    assert lines <= LONGEST_FILE, f"{path.relative_to(SOURCE)} has {lines} lines; split it by purpose"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_modules_say_what_they_are_for(path):
    assert ast.get_docstring(ast.parse(path.read_text())), "the module has no docstring"
