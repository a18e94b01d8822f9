"""Prompts from files: which object, on which frame, by what."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from masklet.errors import InputError, PromptError
from masklet.io.images import read_image
from masklet.io.palette import has_several_colours, is_shaded, read_index_png
from masklet.ops.index_masks import MAX_OBJECT_ID
from masklet.types import Prompt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

WHITE = 240
"""Brightness that the inside of a soft mask reaches."""
OPAQUE = 128
"""Half the range of brightness and opacity."""

_FIELDS = {"frame", "object", "points", "labels", "box", "mask"}


@dataclass(frozen=True, eq=False)
class PlacedPrompt:
    """A prompt with the frame it is given on, from 0, and the object it is for, from 1."""

    frame: int
    object_id: int
    prompt: Prompt


def read_prompts(path: str | os.PathLike[str]) -> list[PlacedPrompt]:
    """Read a JSON list of prompts, each an object with some of these fields:

        {"frame": 0, "object": 1, "points": [[x, y], ...], "labels": [1, ...], "box": [x0, y0, x1, y1],
         "mask": "file.png"}

    `frame` is 0 and `object`, at most 65535, is 1 where they are left out; a mask's path is relative to the JSON file.
    Raises `PromptError`, naming the file and the place in it.
    """
    path = Path(path)
    try:
        items = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise PromptError(f"no such prompts file: {path}") from error
    except (OSError, ValueError) as error:
        raise PromptError(f"cannot read {path} as JSON: {error}") from error
    if not isinstance(items, list) or not items:
        raise PromptError(f'{path} must hold a list of prompts, such as [{{"frame": 0, "object": 1, "box": [...]}}]')
    return [_placed(item, path, place) for place, item in enumerate(items)]


def place_prompt(
    frame: int,
    object_id: int,
    points: Sequence[tuple[float, float, int]] = (),
    box: Sequence[float] | None = None,
    mask: str | os.PathLike[str] | None = None,
) -> PlacedPrompt:
    """A prompt of points (x, y, label), a box, or a mask's file, on a frame. Raises `PromptError`, `InputError`."""
    prompt = Prompt.of(
        points=[(x, y) for x, y, _ in points] or None,
        labels=[label for _, _, label in points] or None,
        box=box,
        mask=None if mask is None else read_mask(mask, object_id),
    )
    return PlacedPrompt(frame, object_id, prompt)


def place_masks(frame: int, path: str | os.PathLike[str]) -> list[PlacedPrompt]:
    """A prompt for each object of a mask's file: by their numbers where it is an index mask of several, else object 1.

    Raises as `read_mask` does.
    """
    values = _index_values(Path(path))
    numbers = [] if values is None else np.unique(values[values > 0]).tolist()
    if values is None or len(numbers) < 2:
        return [place_prompt(frame, 1, mask=path)]
    return [PlacedPrompt(frame, number, Prompt.of(mask=values == number)) for number in numbers]


def read_mask(path: str | os.PathLike[str], object_id: int) -> NDArray[np.bool_]:
    """Read one object's mask [H, W] from a picture.

    Of an index mask with several objects (palette, 16-bit or small values) the pixels that equal `object_id` are
    taken; of one with a single object, all that are not 0; of a cut-out with transparency, what is opaque; of any other
    picture, the brighter half of the range. Raises `InputError` for an unreadable file, `PromptError` where the object
    is not in it.
    """
    values = _index_values(Path(path))
    present = [] if values is None else np.unique(values[values > 0]).tolist()
    if values is None:
        mask = _bright_or_opaque(Path(path))
    elif len(present) < 2:
        mask = values > 0
    elif object_id in present:
        mask = values == object_id
    else:
        raise PromptError(f"{path} holds objects {', '.join(map(str, present))}, but no object {object_id}")
    if not mask.any():
        raise PromptError(f"the mask {path} is empty")
    return mask


def _index_values(path: Path) -> NDArray[np.uint8] | NDArray[np.uint16] | None:
    """The pixel values of an index mask; None for a picture in brightnesses, such as a grey mask with soft edges.

    Object numbers take up many of the values up to the highest, and do not shade into each other. So may the
    brightnesses of a soft mask, but most of its inside is white, or they do.
    """
    try:
        with Image.open(path) as image:
            mode = image.mode
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return read_index_png(path)  # which says what is wrong
    if mode not in ("1", "P", "L") and not mode.startswith("I"):
        return None
    values = read_index_png(path)
    inside = values[values > 0]
    num_values = len(np.unique(inside))
    if mode != "L" or num_values < 2 or inside.max() < 128:
        return values
    soft = num_values <= inside.max() / 3 or (inside < WHITE).mean() <= 0.5 or is_shaded(values)
    return None if soft else values


def _bright_or_opaque(path: Path) -> NDArray[np.bool_]:
    """The opaque part of a cut-out [H, W]; of a picture that is opaque everywhere, the brighter half of the range.

    Raises `PromptError` for one of several colours, as which object has which is not said.
    """
    picture: NDArray[np.uint8] = read_image(path)  # which says what is wrong
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.mode in ("RGBA", "LA"):
            alpha = np.asarray(upright.getchannel("A"))
            if alpha.min() < OPAQUE <= alpha.max():
                return alpha >= OPAQUE
    if has_several_colours(picture):
        raise PromptError(
            f"{path} has several colours, one for each object or a photograph's; give a mask of one object, white on "
            "black, or object numbers as pixel values (a PNG with a palette, or grey)"
        )
    brightest: NDArray[np.uint8] = picture.max(-1)
    return brightest >= OPAQUE


def _placed(item: Any, path: Path, place: int) -> PlacedPrompt:
    where = f"{path}, prompt {place}"
    if not isinstance(item, dict):
        raise PromptError(f"{where}: a prompt is a JSON object with points, a box or a mask; got {item!r}")
    unknown = sorted(set(item) - _FIELDS)
    if unknown:
        raise PromptError(f"{where}: unknown field {unknown[0]!r}; known are {', '.join(sorted(_FIELDS))}")
    frame, object_id = _whole(item, "frame", 0, where), _whole(item, "object", 1, where, most=MAX_OBJECT_ID)
    try:
        mask = read_mask(path.parent / item["mask"], object_id) if item.get("mask") is not None else None
        prompt = Prompt.of(item.get("points"), item.get("labels"), item.get("box"), mask)
    except (InputError, TypeError) as error:
        raise PromptError(f"{where}: {error}") from error
    return PlacedPrompt(frame, object_id, prompt)


def _whole(item: dict[str, Any], name: str, least: int, where: str, most: int | None = None) -> int:
    value = item.get(name, least)
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or value < least or (most is not None and value > most):
        to = "" if most is None else f" to {most}"
        raise PromptError(f"{where}: {name} is a whole number from {least}{to}; got {value!r}")
    return value
