"""Every error a caller of masklet is meant to see derives from `MaskletError`.

Messages name the value that was wrong and what to do instead. Input that is simply a bad value also derives
from `ValueError`, so that code written for NumPy-like libraries catches it where it expects to.
"""

from __future__ import annotations

import warnings
from typing import Any

_PLAIN_FORMAT = warnings.formatwarning


class MaskletError(Exception):
    """Base of all errors raised on purpose by masklet."""


class InputError(MaskletError, ValueError):
    """A picture, clip, frame, annotation or data file that cannot be used."""


class PromptError(InputError):
    """A point, box, mask or object id that cannot be used as a prompt."""


class TooEarly(PromptError, RuntimeError):
    """A call that needs a prompt or a picture first; a `RuntimeError` under the official names."""


class BrokenVideo(InputError):
    """A video, `name`, that breaks off or is damaged for a `reason` after `frame`, the last good one, -1 for none."""

    def __init__(self, name: str, frame: int, reason: str) -> None:
        after = f"after frame {frame}" if frame >= 0 else "before its first frame"
        super().__init__(
            f"{name} breaks off {after}: {reason}. Where more of it can be decoded, ffmpeg writes that to a file that "
            f"can be read through: ffmpeg -i {name} mended.mp4"
        )
        self.name, self.frame, self.reason = name, frame, reason

    def __reduce__(self) -> tuple[type[BrokenVideo], tuple[str, int, str]]:
        """Worker processes hand errors on by pickle, which would call the class with its message alone."""
        return BrokenVideo, (self.name, self.frame, self.reason)


class CheckpointError(MaskletError):
    """A checkpoint that is missing, damaged, unsafe, or of another architecture."""


class MissingCheckpoint(CheckpointError, FileNotFoundError):
    """No checkpoint is where one was named."""


class DeviceError(MaskletError, RuntimeError):
    """A named device, compiler or optional package that this machine does not have."""


class MaskletWarning(UserWarning):
    """What a caller of masklet should know of an input that is used all the same."""


def format_warning(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> str:
    """In place of `warnings.formatwarning`: what is said to users as a line, without the place in the code."""
    if issubclass(category, MaskletWarning):
        return f"masklet: {message}\n"
    return _PLAIN_FORMAT(message, category, *place, **more)


class OutputError(MaskletError, OSError):
    """A result that cannot be written: no permission, no space, not a folder."""


class DivergedError(MaskletError):
    """A loss or gradient in training that is not a finite number."""
