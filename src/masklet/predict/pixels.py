"""From uint8 pictures to what the network sees, and from its masks back to their size.

Pictures and clips are resized differently, as in the official code: its picture predictor resizes float tensors
bilinearly with antialiasing, its folder loader 8-bit images with Pillow's bicubic filter.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from masklet.errors import InputError
from masklet.model.image_encoder import ImageFeatures
from masklet.model.network import Network
from masklet.ops.guided import FINEST, resize_guided
from masklet.ops.pixels import normalise
from masklet.ops.resize import resize_bilinear
from masklet.types import Size


def picture_pixels(image: NDArray[np.uint8], image_size: int, device: torch.device) -> Tensor:
    """A picture, uint8 RGB [H W 3], as normalised pixels [1 3 S S]."""
    image = np.require(image, requirements=("C", "W"))  # PyTorch warns of arrays that are read-only, as frames are
    pixels = torch.from_numpy(image).to(device).permute(2, 0, 1)[None].float() / 255
    return normalise(resize_bilinear(pixels, image_size, image_size, antialias=True))


def frame_pixels(image: NDArray[np.uint8], image_size: int, device: torch.device) -> Tensor:
    """A video frame, uint8 RGB [H W 3], as normalised pixels [1 3 S S]."""
    resized = Image.fromarray(image).resize((image_size, image_size), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(resized)).to(device).permute(2, 0, 1)[None].float() / 255
    return normalise(pixels)


def encode_to_predict(model: Network, pixels: Tensor) -> ImageFeatures:
    """`model.encode`. Raises `InputError` for a model that it would change: one with batch statistics, in training."""
    parts = model.image_encoder.modules() if model.config.trunk.kind == "convnet" else ()
    if any(isinstance(part, nn.BatchNorm2d | nn.SyncBatchNorm) and part.training for part in parts):
        raise InputError(
            "the model is in training mode, in which its batch statistics would follow the pictures that it is shown; "
            "call model.eval() first"
        )
    return model.encode(pixels)


def at_full_size(logits: Tensor, size: Size, guide: NDArray[np.uint8] | None) -> Tensor:
    """Logits [b m h w] at the size of a picture, [b m H W]: along its edges where it is given, RGB [H W 3]."""
    if guide is None:
        return resize_bilinear(logits, *size)
    seen = shrunk_guide(guide, logits.shape[-2:])
    planes = torch.from_numpy(np.ascontiguousarray(seen.transpose(2, 0, 1))).to(logits.device)
    found = resize_guided(logits.flatten(0, 1)[:, None], planes.float() / 255, size)
    return found.reshape(*logits.shape[:2], *size)


def shrunk_guide(guide: NDArray[np.uint8], cells: Sequence[int]) -> NDArray[np.uint8]:
    """A picture [H W 3] with as many pixels as count where logits of (h, w) `cells` follow its edges, or fewer."""
    height, width = (min(FINEST * number, pixels) for number, pixels in zip(cells, guide.shape[:2]))
    if (height, width) == guide.shape[:2]:
        return guide
    # OpenCV shrinks bytes in a fraction of the time that floats take, which counts on every frame of a clip.
    return np.asarray(cv2.resize(guide, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
