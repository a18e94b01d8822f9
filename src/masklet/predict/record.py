"""Segment a picture or track a clip into a folder: an overlay to look at, index PNGs, and `masklets.json`."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from masklet.errors import OutputError, PromptError
from masklet.io.draw import draw_masks
from masklet.io.frame_source import FrameSource
from masklet.io.images import read_image
from masklet.io.masklets import MaskletsWriter
from masklet.io.output import make_folder, undivided
from masklet.io.palette import write_index_png
from masklet.io.video_writer import VideoWriter
from masklet.ops.masks import index_map
from masklet.ops.rle import decode_rle, encode_rle
from masklet.predict.image import ImagePredictor
from masklet.predict.prompt_files import PlacedPrompt
from masklet.predict.video import VideoSession
from masklet.types import FrameMasks, Size

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from masklet.model.network import Network
    from masklet.predict.video import Direction

OnFrame = Callable[[int, "int | None"], None]
"""Called after each frame with how many are done and how many there will be, None where nobody knows."""

MENDED_AREA = 8
"""Holes filled and specks removed in pictures, in pixels of the model's masks (a quarter of its input size): as many as
the official package fills in video."""


@dataclass(frozen=True)
class Recorded:
    """Where results are: the overlay (PNG or mp4), the index mask or folder of them, and `masklets.json`."""

    overlay: Path
    masks: Path
    masklets: Path


def segment_to_folder(
    model: Network,
    image: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    points: Sequence[Sequence[float]] = (),
    labels: Sequence[int] | None = None,
    boxes: Sequence[Sequence[float]] = (),
) -> Recorded:
    """Segment a picture and write `overlay.png`, `masks.png` and `masklets.json` into the folder `out`.

    points, labels, boxes: in pixels, as `ImagePredictor.predict` takes them. Several boxes are objects 1, 2, ...;
    otherwise all prompts are for object 1. A single click is ambiguous: of its three masks the one with the highest
    predicted IoU is taken. Raises `InputError`, `PromptError`, `OutputError`.
    """
    folder = make_folder(out)
    array = read_image(image)
    predictor = ImagePredictor(model, fill_hole_area=MENDED_AREA, remove_speck_area=MENDED_AREA)
    several = len(boxes) > 1
    found = predictor.predict(
        predictor.embed(array),
        points=points or None,
        labels=labels,
        box=None if several or not boxes else boxes[0],
        boxes=boxes if several else None,
        multimask=not boxes and len(points) == 1,
    ).best()
    masks, iou = found.masks[:, 0], found.iou[:, 0].tolist()
    ids = list(range(1, len(masks) + 1))
    recorded = Recorded(folder / "overlay.png", folder / "masks.png", folder / "masklets.json")
    write_index_png(recorded.masks, index_map(masks, ids))
    write_picture(recorded.overlay, draw_masks(array, masks, ids, points=_marks(points, labels), boxes=boxes or None))
    with MaskletsWriter(
        recorded.masklets, name=Path(image).name, size=Size(*array.shape[:2]), model=model.config.name
    ) as writer:
        for object_id, mask, score in zip(ids, masks, iou, strict=True):
            writer.add(0, object_id, mask, iou=score)
    return recorded


def track_to_folder(
    model: Network,
    source: Any,
    prompts: Sequence[PlacedPrompt],
    out: str | os.PathLike[str],
    *,
    direction: Direction = "forward",
    on_frame: OnFrame | None = None,
) -> Recorded:
    """Track objects through a clip and write `overlay.mp4`, `masks/NAME.png` and `masklets.json` into the folder `out`.

    source: whatever `open_frames` takes; direction: as of `VideoSession.propagate`. Whatever ends the tracking early (a
    file that breaks off, Ctrl-C, an error), the three hold all frames done until then. One direction takes constant
    memory. Raises `InputError`, `PromptError`, `BrokenVideo` and `OutputError`.
    """
    folder = make_folder(out)
    session = VideoSession(model, source, keep="all" if direction == "both" else "window")
    for placed in prompts:
        placed.prompt.check_within(session.size)
        session.prompt(placed.object_id, placed.frame, placed.prompt)
    total = _num_frames_to_track(session, prompts, direction)
    with ClipRecorder(folder, session.frames, model.config.name, prompts, in_order=direction == "forward") as recorder:
        for done, masks in enumerate(session.propagate(direction=direction), start=1):
            recorder.add(masks)
            if on_frame is not None:
                on_frame(done, total)
    return recorder.recorded


def write_picture(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an RGB picture [H, W, 3] in the format its suffix names. Raises `OutputError`."""
    try:
        Image.fromarray(image).save(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


class ClipRecorder:
    """Writes each frame's masks as they come; the pictures too where frames come in order, else when it is closed."""

    def __init__(
        self, folder: Path, frames: FrameSource, model: str, prompts: Sequence[PlacedPrompt] = (), *, in_order: bool
    ) -> None:
        self.recorded = Recorded(folder / "overlay.mp4", make_folder(folder / "masks"), folder / "masklets.json")
        self._frames = frames
        self._prompts = prompts
        self._in_order = in_order
        self._waiting: dict[int, dict[int, dict[str, Any]]] = defaultdict(dict)
        self._writer = MaskletsWriter(
            self.recorded.masklets, name=Path(frames.name).name, size=frames.size, fps=frames.fps, model=model
        )
        self._video = VideoWriter(self.recorded.overlay, frames.size, frames.fps)
        self._open = ExitStack()

    def __enter__(self) -> ClipRecorder:
        self._open.enter_context(self._writer)
        self._open.enter_context(self._video)
        self._open.callback(self._draw_waiting)
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    def add(self, found: FrameMasks) -> None:
        """Record one frame's masks, in all files or in none."""
        with undivided():
            self._add(found)

    def _add(self, found: FrameMasks) -> None:
        chances = found.presence.float().sigmoid().tolist()
        for object_id, mask, presence in zip(found.object_ids, found.masks, chances, strict=True):
            self._writer.add(found.frame, object_id, mask, presence=presence)
        if self._in_order:
            self._draw(found.frame, found.masks, found.object_ids)
        else:
            self._waiting[found.frame].update(
                (object_id, encode_rle(mask)) for object_id, mask in zip(found.object_ids, found.masks, strict=True)
            )

    def _draw_waiting(self) -> None:
        for frame, packed in sorted(self._waiting.items()):
            masks = np.zeros((len(packed), *self._frames.size), bool)
            for place, rle in enumerate(packed.values()):
                masks[place] = decode_rle(rle)
            self._draw(frame, masks, list(packed))

    def _draw(self, frame: int, masks: NDArray[np.bool_], ids: Sequence[int]) -> None:
        index = index_map(masks, ids)
        write_index_png(self.recorded.masks / f"{self._frames.label(frame)}.png", index)
        given = [placed.prompt for placed in self._prompts if placed.frame == frame]
        points = [mark for prompt in given for mark in _marks(prompt.points, prompt.labels)]
        boxes = [prompt.box for prompt in given if prompt.box is not None]
        self._video.write(draw_masks(self._frames[frame], masks, ids, points=points, boxes=boxes))


def _num_frames_to_track(session: VideoSession, prompts: Sequence[PlacedPrompt], direction: Direction) -> int | None:
    """How many frames `propagate` will yield; None where the clip's length is not known."""
    if not prompts:
        raise PromptError("nothing to track: give a point, a box, a mask or a prompts file")
    first, last = min(placed.frame for placed in prompts), max(placed.frame for placed in prompts)
    if direction == "backward":
        return last + 1
    if session.num_frames is None:
        return None
    return session.num_frames - first + (last if direction == "both" else 0)


def _marks(points: ArrayLike | None, labels: ArrayLike | None) -> list[tuple[float, float, int]]:
    """Points and labels as `draw_masks` takes them."""
    xy = np.asarray(() if points is None else points, np.float32).reshape(-1, 2)
    signs = np.ones(len(xy)) if labels is None else np.asarray(labels).reshape(-1)
    return [(float(x), float(y), int(sign)) for (x, y), sign in zip(xy, signs, strict=True)]
