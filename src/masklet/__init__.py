"""Segment anything in pictures and track it through video: SAM 2, rebuilt as a small, typed, tested package.

Importing masklet is quick and does nothing else: what is named here is loaded when it is first used, torch with it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from masklet.checkpoints import load, save
    from masklet.config import CONFIGS, ModelConfig
    from masklet.errors import (
        BrokenVideo,
        CheckpointError,
        DeviceError,
        InputError,
        MaskletError,
        MaskletWarning,
        OutputError,
        PromptError,
    )
    from masklet.io.draw import draw_masks
    from masklet.io.frames import open_frames
    from masklet.model.compiled import compile_model
    from masklet.predict.everything import FoundMasks, everything
    from masklet.predict.everything_options import EverythingOptions
    from masklet.predict.everything_video import MaskletRules, everything_video
    from masklet.predict.image import ImageEmbedding, ImagePredictor
    from masklet.predict.mask_finder import FoundMask
    from masklet.predict.stream import Stream
    from masklet.predict.video import VideoSession
    from masklet.tracking.policy import TrackingPolicy
    from masklet.types import FrameMasks, ImageMasks, Prompt, Size

__version__ = "0.1.0"

_HOMES = {
    "BrokenVideo": "errors",
    "CONFIGS": "config",
    "CheckpointError": "errors",
    "DeviceError": "errors",
    "EverythingOptions": "predict.everything_options",
    "FoundMask": "predict.mask_finder",
    "FoundMasks": "predict.everything",
    "FrameMasks": "types",
    "ImageEmbedding": "predict.image",
    "ImageMasks": "types",
    "ImagePredictor": "predict.image",
    "InputError": "errors",
    "MaskletError": "errors",
    "MaskletWarning": "errors",
    "MaskletRules": "predict.everything_video",
    "ModelConfig": "config",
    "OutputError": "errors",
    "Prompt": "types",
    "PromptError": "errors",
    "Size": "types",
    "Stream": "predict.stream",
    "TrackingPolicy": "tracking.policy",
    "VideoSession": "predict.video",
    "compile_model": "model.compiled",
    "draw_masks": "io.draw",
    "everything": "predict.everything",
    "everything_video": "predict.everything_video",
    "load": "checkpoints",
    "open_frames": "io.frames",
    "save": "checkpoints",
}
"""The module each public name lives in."""

__all__ = [
    "CONFIGS",
    "BrokenVideo",
    "CheckpointError",
    "DeviceError",
    "EverythingOptions",
    "FoundMask",
    "FoundMasks",
    "FrameMasks",
    "ImageEmbedding",
    "ImageMasks",
    "ImagePredictor",
    "InputError",
    "MaskletError",
    "MaskletRules",
    "MaskletWarning",
    "ModelConfig",
    "OutputError",
    "Prompt",
    "PromptError",
    "Size",
    "Stream",
    "TrackingPolicy",
    "VideoSession",
    "__version__",
    "compile_model",
    "draw_masks",
    "everything",
    "everything_video",
    "load",
    "open_frames",
    "save",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'masklet' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(f"masklet.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
