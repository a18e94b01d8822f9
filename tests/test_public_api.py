"""The names `import masklet` promises, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import masklet


@pytest.mark.parametrize("name", masklet.__all__)
def test_every_public_name_is_there_and_documented(name):
    value = getattr(masklet, name)
    if callable(value):
        assert value.__doc__, f"masklet.{name} has no docstring"


def test_public_names_are_listed_by_dir():
    assert set(masklet.__all__) <= set(dir(masklet))


def test_public_names_match_their_homes():
    assert set(masklet.__all__) - {"__version__"} == set(masklet._HOMES)


def test_unknown_name_says_what_there_is():
    with pytest.raises(AttributeError, match="has no attribute 'segment'.*VideoSession"):
        masklet.segment  # noqa: B018


@pytest.mark.parametrize(
    "statement",
    [
        "import masklet",
        "import masklet.cli",
        "from masklet import Prompt",
        "import masklet.io.formats, masklet.io.sav_video, masklet.data.layouts",
    ],
)
def test_importing_loads_no_torch(statement):
    check = f"import sys; {statement}; sys.exit('torch was imported' if 'torch' in sys.modules else 0)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
