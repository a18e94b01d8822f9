"""Draw masks, points and boxes over pictures, for people to look at."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from masklet.errors import InputError
from masklet.ops.boxes import mask_boxes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

Colour = tuple[int, int, int]

# Neighbours differ in lightness as well as in hue, so that they stay apart for colour-blind eyes and on grey paper;
# after Okabe and Ito's set, a little more vivid to stand on photographs.
_COLOURS: tuple[Colour, ...] = (
    (0, 158, 255),
    (255, 159, 10),
    (0, 200, 140),
    (235, 80, 60),
    (250, 225, 60),
    (190, 110, 240),
    (110, 220, 255),
    (255, 130, 180),
)
_POSITIVE: Colour = (30, 190, 80)
_NEGATIVE: Colour = (230, 50, 50)
_WHITE: Colour = (255, 255, 255)
_SUBPIXEL_BITS = 4


def object_colour(object_id: int) -> Colour:
    """The RGB colour of an object: the same in every picture, and apart from those of its neighbours in number.

    The first eight are chosen by hand; the others walk round the colour circle by the golden angle.
    """
    if 1 <= object_id <= len(_COLOURS):
        return _COLOURS[object_id - 1]
    hue = (object_id * 0.618034) % 1.0 * 179
    lightness = (150, 185, 120)[object_id % 3]
    pixel = np.array([[[hue, lightness, 220]]], np.uint8)
    red, green, blue = cv2.cvtColor(pixel, cv2.COLOR_HLS2RGB)[0, 0].tolist()
    return red, green, blue


def draw_masks(
    image: NDArray[np.uint8],
    masks: NDArray[np.bool_],
    ids: Sequence[int],
    *,
    points: ArrayLike | None = None,
    boxes: ArrayLike | None = None,
    alpha: float = 0.45,
) -> NDArray[np.uint8]:
    """Draw masks over a picture, each tinted in its object's colour with a smooth outline, and what prompted them.

    image: uint8 RGB [H, W, 3]; masks: bool [n, H, W]; ids: n object ids, which choose the colours; points: [m, 3] rows
    of x, y, label in pixels, drawn as green stars (label 1) and red discs (label 0); boxes: [k, 4] as x0, y0, x1, y1,
    each in the colour of the object in its place where there are as many as masks, else white; alpha: strength of the
    tint, 0 to 1. Returns a new picture [H, W, 3]. Raises `InputError` for masks of another size or another number.
    """
    if not isinstance(image, np.ndarray):
        raise InputError(f"a picture to draw on is an array, such as open_frames(path)[0]; got {type(image).__name__}")
    masks = np.asarray(masks, bool)
    if masks.shape != (len(ids), *image.shape[:2]):
        raise InputError(
            f"{len(ids)} masks over a picture of {image.shape[1]} x {image.shape[0]} pixels (width x height) must have "
            f"shape {[len(ids), *image.shape[:2]]}; got {list(masks.shape)}"
            + (", which are several readings: give masks[:, 0]" if masks.ndim == 4 else "")
        )
    canvas = image.copy()
    line = _line_width(canvas)
    colours = [object_colour(object_id) for object_id in ids]
    for mask, colour in zip(masks, colours, strict=True):
        _draw_mask(canvas, mask, colour, alpha, line)
    frames = np.asarray(() if boxes is None else boxes, np.float32).reshape(-1, 4)
    for place, box in enumerate(frames):
        _draw_box(canvas, box, colours[place] if len(frames) == len(colours) else _WHITE, line)
    for x, y, label in np.asarray(() if points is None else points, np.float32).reshape(-1, 3):
        _draw_point(canvas, x, y, label > 0, line)
    return canvas


def _line_width(image: NDArray[np.uint8]) -> float:
    """About two pixels on a picture of 1,000; never less than one and a half."""
    return max(1.5, math.hypot(*image.shape[:2]) / 600)


def _draw_mask(canvas: NDArray[np.uint8], mask: NDArray[np.bool_], colour: Colour, alpha: float, line: float) -> None:
    """Tint `mask` on `canvas` in place and outline it: a coloured line just inside its edge, a faint dark one outside.

    Both are read off the signed distance to the edge, blurred a little, which is what makes them smooth.
    """
    if not mask.any():
        return
    window = _window(mask, margin=math.ceil(3 * line) + 3)
    distance = _signed_distance(mask[window], blur=0.35 + 0.35 * line)
    region = canvas[window].astype(np.float32)
    region = _mix(region, colour, alpha * _ramp(distance))
    region = _mix(region, (0, 0, 0), 0.35 * _ramp(distance + 1.5 * line) * _ramp(-distance))
    region = _mix(region, colour, _ramp(distance) * _ramp(line - distance))
    canvas[window] = np.rint(region).astype(np.uint8)


def _window(mask: NDArray[np.bool_], margin: int) -> tuple[slice, slice]:
    x0, y0, x1, y1 = mask_boxes(mask).astype(int).tolist()
    return slice(max(y0 - margin, 0), y1 + margin), slice(max(x0 - margin, 0), x1 + margin)


def _signed_distance(mask: NDArray[np.bool_], blur: float) -> NDArray[np.float32]:
    """Distance of each pixel to the edge of the mask, in pixels, positive inside."""
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    distance = np.where(mask, inside - 0.5, 0.5 - outside)
    return np.asarray(cv2.GaussianBlur(distance, (0, 0), blur), np.float32)


def _ramp(distance: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much of a pixel lies on the positive side of an edge `distance` away from its centre: 0 to 1."""
    return np.clip(distance + 0.5, 0, 1)


def _mix(region: NDArray[np.float32], colour: Colour, amount: NDArray[np.float32]) -> NDArray[np.float32]:
    return region + amount[..., None] * (np.array(colour, np.float32) - region)


def _draw_box(canvas: NDArray[np.uint8], box: NDArray[np.float32], colour: Colour, line: float) -> None:
    x0, y0, x1, y1 = box
    corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    for shade, width in (((0, 0, 0), line * 2), (colour, line)):
        thickness = max(1, round(width))
        cv2.polylines(canvas, [_fixed_point(corners)], True, shade, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


def _draw_point(canvas: NDArray[np.uint8], x: float, y: float, positive: bool, line: float) -> None:
    """A green star or a red disc with a white rim; their shapes tell them apart where colours do not."""
    radius = 5.0 * line
    for shade, reach in ((_WHITE, radius + 1.4 * line), (_POSITIVE if positive else _NEGATIVE, radius)):
        if positive:
            outline = _star(x, y, reach)
        else:
            angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
            outline = np.stack((x + 0.75 * reach * np.cos(angles), y + 0.75 * reach * np.sin(angles)), -1)
        cv2.fillPoly(canvas, [_fixed_point(outline)], shade, cv2.LINE_AA, _SUBPIXEL_BITS)


def _star(x: float, y: float, reach: float) -> NDArray[np.float64]:
    """The ten corners of a five-pointed star, one tip upwards."""
    angles = np.arange(10) * np.pi / 5 - np.pi / 2
    radii = np.where(np.arange(10) % 2, 0.5 * reach, reach * 1.1)
    return np.stack((x + radii * np.cos(angles), y + radii * np.sin(angles)), -1)


def _fixed_point(corners: NDArray[np.floating]) -> NDArray[np.int32]:
    """Corners as OpenCV takes them with sub-pixel precision."""
    return np.rint(corners * (1 << _SUBPIXEL_BITS)).astype(np.int32)
