"""Segment a picture or track a clip into a folder: an overlay to look at, index PNGs, and `masklets.json`."""

from __future__ import annotations

import os
import warnings
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from masklet.errors import MaskletWarning, OutputError, PromptError
from masklet.io.draw import draw_masks
from masklet.io.frame_source import FrameSource
from masklet.io.frames import open_frames, place_of
from masklet.io.images import Pages, ValueRange, read_image
from masklet.io.masklets import MaskletsWriter, Whose, read_index_masks, whose_masklets
from masklet.io.output import new_folder, spare_source, undivided
from masklet.io.palette import write_index_png
from masklet.io.video_writer import VideoWriter
from masklet.ops.index_masks import MAX_OBJECT_ID, index_map
from masklet.ops.rle import decode_rle, encode_rle
from masklet.predict.image import ImagePredictor
from masklet.predict.prompt_files import PlacedPrompt
from masklet.predict.video import VideoSession
from masklet.tracking.policy import DEFAULT, TrackingPolicy
from masklet.types import FrameMasks, Size

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from masklet.model.network import Network
    from masklet.predict.video import Direction

OnFrame = Callable[[int, "int | None"], None]
"""Called after each frame with how many are done and how many there will be, None where nobody knows."""

OVERLAY, MASKS = "overlay.mp4", "masks"
"""What is written of a clip: a file, and a folder."""

UNFINISHED = ".unfinished"
"""Names the index masks beside it, and what they are of, a line each, until `masklets.json` does: a process that is
killed leaves them."""

_WRITTEN_OVER = (
    "{} is not known to be of an earlier run, and would be written over; move it away, or name another folder"
)

VISIBLE = 0.5
"""Presence above which an object is taken to be visible. Its mask can be empty still, where others cover it."""

SCORE_DIGITS = 4
"""Of predicted IoUs and presences, behind the point."""

MENDED_AREA = 8
"""Holes filled and specks removed in pictures, in pixels of the model's masks (a quarter of its input size): as many as
the official package fills in video."""


@dataclass(frozen=True)
class Recorded:
    """Where results are: the overlay (PNG or mp4), the index mask or folder of them, and `masklets.json`.

    unseen: of a clip, by object, the runs of frames (first, last) on which it was tracked and found to be absent; iou:
    of a picture, by object, how well its mask is predicted to fit, 0 to 1.
    """

    overlay: Path
    masks: Path
    masklets: Path
    unseen: dict[int, list[tuple[int, int]]] = field(default_factory=dict, kw_only=True)
    iou: dict[int, float] = field(default_factory=dict, kw_only=True)


def segment_to_folder(
    model: Network,
    image: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    points: Sequence[Sequence[float]] = (),
    labels: Sequence[int] | None = None,
    boxes: Sequence[Sequence[float]] = (),
    value_range: ValueRange | None = None,
) -> Recorded:
    """Segment a picture and write `overlay.png`, `masks.png` and `masklets.json` into the folder `out`.

    points, labels, boxes: in pixels, as `ImagePredictor.predict` takes them. Several boxes are objects 1, 2, ...;
    otherwise all prompts are for object 1. A single click is ambiguous: of its three masks the one with the highest
    predicted IoU is taken. value_range: see `read_image`. Raises `InputError`, `PromptError`, `OutputError`.
    """
    folder = Path(out)
    recorded = Recorded(folder / "overlay.png", folder / "masks.png", folder / "masklets.json")
    spare_source(image, recorded.overlay, recorded.masks)
    whose = Whose("picture", Path(image).name, origin_of(image, folder))
    spare_others(folder, whose, recorded.overlay, recorded.masks)
    array = read_image(image, value_range)
    if (pages := len(Pages(image))) > 1:
        warnings.warn(
            f"{image} holds {pages} pictures, of which the first is segmented; `masklet track` follows objects through "
            "all of them",
            MaskletWarning,
            stacklevel=2,
        )
    predictor = ImagePredictor(model, fill_hole_area=MENDED_AREA, remove_speck_area=MENDED_AREA)
    several = len(boxes) > 1
    with new_folder(folder):
        found = predictor.predict(
            predictor.embed(array),
            points=points or None,
            labels=labels,
            box=None if several or not boxes else boxes[0],
            boxes=boxes if several else None,
        ).best()
    masks, iou = found.masks[:, 0], found.iou[:, 0].tolist()
    ids = list(range(1, len(masks) + 1))
    recorded.iou.update(zip(ids, iou, strict=True))
    remove_index_masks(folder)
    # First of all what tells these files as ours, should the others not come about.
    with MaskletsWriter(
        recorded.masklets,
        kind="picture",
        name=Path(image).name,
        size=Size(*array.shape[:2]),
        model=model.config.name,
        origin=whose.origin,
    ) as writer:
        for object_id, mask, score in zip(ids, masks, iou, strict=True):
            writer.add(0, object_id, mask, iou=round(score, SCORE_DIGITS))
    write_index_png(recorded.masks, index_map(masks, ids))
    write_picture(recorded.overlay, draw_masks(array, masks, ids, points=_marks(points, labels), boxes=boxes or None))
    return recorded


def track_to_folder(
    model: Network,
    source: Any,
    prompts: Sequence[PlacedPrompt],
    out: str | os.PathLike[str],
    *,
    direction: Direction = "forward",
    policy: TrackingPolicy = DEFAULT,
    value_range: ValueRange | None = None,
    on_frame: OnFrame | None = None,
) -> Recorded:
    """Track objects through a clip and write `overlay.mp4`, `masks/NAME.png` and `masklets.json` into the folder `out`.

    source, value_range: as of `open_frames`; direction: as of `VideoSession.propagate`; policy: of the session.
    Whatever ends the tracking early (a file that breaks off, Ctrl-C, an error), the three hold all frames done until
    then. They replace an earlier run's results once a frame is done: of the files in `masks`, those that its
    `masklets.json` names and no others; where another one has the name of a frame's mask, nothing is tracked.

    Clicks alone on a frame after an object's first, in the order of tracking, correct what was tracked there; all other
    prompts hold from the beginning. Forward takes constant memory. Backward holds every frame's masks as run lengths
    until the end, "both" every frame's memories as well, in main memory. Frames of an iterable that are needed again
    wait in a temporary file.
    Raises `InputError`, `PromptError`, `BrokenVideo` and `OutputError`.
    """
    _check_prompts(prompts)
    folder = Path(out)
    spare_source(source, folder / OVERLAY, folder / MASKS)
    corrections = _corrections(prompts, direction)
    firsts = [placed for placed in prompts if placed not in corrections.get(placed.frame, ())]
    in_passing = direction == "forward" and len({placed.frame for placed in firsts}) == 1
    frames = open_frames(source, revisit=not in_passing, value_range=value_range)
    if direction == "both":  # every frame's memories would fill a GPU in the end
        policy = replace(policy, offload=True)
    session = VideoSession(model, frames, keep="all" if direction == "both" else "window", policy=policy)
    origin, in_order = origin_of(source, folder), direction == "forward"
    with ClipRecorder(folder, frames, model.config.name, prompts, origin=origin, in_order=in_order) as recorder:
        for placed in prompts:
            placed.prompt.check_within(session.size)
        _place(session, sorted(firsts, key=lambda placed: placed.frame))  # so that each frame is encoded once
        if session.num_frames is not None:
            _check_frames(session, corrections)
        total = _num_frames_to_track(session, prompts, direction)
        for done, masks in enumerate(session.propagate(direction=direction), start=1):
            if masks.frame in corrections:
                _place(session, corrections.pop(masks.frame))
                masks = session.preview(masks.frame)
            recorder.add(masks)
            if on_frame is not None:
                on_frame(done, total)
        _check_frames(session, corrections)  # those left, where the end was not known
    return recorder.recorded


def write_picture(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an RGB picture [H, W, 3] in the format its suffix names. Raises `OutputError`."""
    try:
        Image.fromarray(image).save(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


class ClipRecorder:
    """Writes each frame's masks as they come, or, where frames do not come in order, all of them when it is closed.

    Once a frame is written, the index masks of an earlier run are removed, even of one that was killed, and no other
    file.
    """

    def __init__(
        self,
        folder: Path,
        frames: FrameSource,
        model: str,
        prompts: Sequence[PlacedPrompt] = (),
        *,
        origin: str | None,
        in_order: bool,
    ) -> None:
        self.recorded = Recorded(folder / OVERLAY, folder / MASKS, folder / "masklets.json")
        spare_others(folder, Whose("clip", frames.title, origin), self.recorded.overlay)
        self._spare_others_masks(frames)
        self._frames = frames
        self._origin = origin
        self._prompts = prompts
        self._in_order = in_order
        self._waiting: dict[int, dict[int, tuple[dict[str, Any], float]]] = defaultdict(dict)
        self._writer = MaskletsWriter(
            self.recorded.masklets, name=frames.title, size=frames.size, fps=frames.fps, model=model, origin=origin
        )
        self._video = VideoWriter(self.recorded.overlay, frames.size, frames.fps)
        self._open = ExitStack()
        self._names = self.recorded.masks / UNFINISHED

    def __enter__(self) -> ClipRecorder:
        self._open.enter_context(new_folder(self.recorded.masks))
        self._open.callback(self._note_finished)  # last of all
        self._open.enter_context(self._writer)
        self._open.enter_context(self._video)
        self._open.callback(self._write_waiting)
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    def add(self, found: FrameMasks) -> None:
        """Record one frame's masks, in `masks` and `masklets.json` or in neither; an overlay cannot be taken back."""
        masks, presences = found.masks, found.presence.float().sigmoid().tolist()
        with undivided():
            if self._in_order:
                self._write(found.frame, masks, found.object_ids, presences)
                return
            packed = ((encode_rle(mask), presence) for mask, presence in zip(masks, presences, strict=True))
            self._waiting[found.frame].update(zip(found.object_ids, packed, strict=True))

    def _write_waiting(self) -> None:
        for frame, packed in sorted(self._waiting.items()):
            masks = np.zeros((len(packed), *self._frames.size), bool)
            for place, (rle, _) in enumerate(packed.values()):
                masks[place] = decode_rle(rle)
            with undivided():
                self._write(frame, masks, list(packed), [presence for _, presence in packed.values()])

    def _write(self, frame: int, masks: NDArray[np.bool_], ids: Sequence[int], presences: Sequence[float]) -> None:
        """Draw first and record last, so that `masklets.json` names no frame whose mask could not be written."""
        file = self.recorded.masks / f"{self._frames.label(frame)}.png"
        index, picture = index_map(masks, ids), self._drawn(frame, masks, ids)
        try:
            self._note_unfinished(file.name)
            write_index_png(file, index)
            self._video.write(picture, self._frames.time(frame))
            for object_id, mask, presence in zip(ids, masks, presences, strict=True):
                self._writer.add(frame, object_id, mask, presence=round(presence, SCORE_DIGITS))
                if presence <= VISIBLE:
                    self._note_unseen(frame, object_id)
        except BaseException:
            self._writer.discard(frame)
            file.unlink(missing_ok=True)
            raise
        if not self._writer.index_masks:
            remove_index_masks(self.recorded.masklets.parent, but=file.name)
        self._writer.index_masks.append(file.name)
        if name := self._frames.file_name(frame):
            self._writer.files[frame] = name
        if (time := self._frames.time(frame)) is not None:
            self._writer.times[frame] = round(time, 3)

    def _spare_others_masks(self, frames: FrameSource) -> None:
        """Raise `OutputError` where a file in `masks` that no earlier run wrote has the name of a frame's mask."""
        earlier = _earlier_masks(self.recorded.masklets.parent)
        for file in sorted(self.recorded.masks.glob("*.png")):
            number = frames.number_of(file.stem)
            if file.name not in earlier and number is not None and frames.label(number) == file.stem:
                raise OutputError(_WRITTEN_OVER.format(file))

    def _note_unfinished(self, name: str) -> None:
        try:
            with self._names.open("a", encoding="utf-8", errors="surrogateescape") as names:
                names.write(f"{name}\t{self._frames.title}\t{self._origin or ''}\n")
        except OSError as error:
            raise OutputError(f"cannot write {self._names}: {error.strerror or error}") from error

    def _note_finished(self) -> None:
        if self._writer.index_masks == read_index_masks(self.recorded.masklets) != []:
            with suppress(OSError):  # on Windows another process may be reading it; it then says more than need be
                self._names.unlink()

    def _note_unseen(self, frame: int, object_id: int) -> None:
        runs = self.recorded.unseen.setdefault(object_id, [])
        if runs and runs[-1][1] == frame - 1:
            runs[-1] = (runs[-1][0], frame)
        else:
            runs.append((frame, frame))

    def _drawn(self, frame: int, masks: NDArray[np.bool_], ids: Sequence[int]) -> NDArray[np.uint8]:
        """The frame with its masks, and the prompts that were given on it."""
        given = [placed for placed in self._prompts if placed.frame == frame]
        points = [mark for placed in given for mark in _marks(placed.prompt.points, placed.prompt.labels)]
        boxes = {placed.object_id: placed.prompt.box for placed in given if placed.prompt.box is not None}
        return draw_masks(
            self._frames[frame], masks, ids, points=points, boxes=[boxes[number] for number in ids if number in boxes]
        )


def origin_of(source: Any, folder: Path) -> str | None:
    """Where a file or folder, or what a glob finds, lies, as seen from its results: eight hex digits, which tell nobody
    else where that is. None for what lies nowhere, such as an array."""
    if not isinstance(source, str | os.PathLike):
        return None
    place, seen_from = os.path.realpath(place_of(source)), os.path.realpath(folder)
    with suppress(ValueError):  # on another drive of Windows
        place = os.path.relpath(place, seen_from)
    return f"{zlib.crc32(os.fsencode(place)):08x}"


def spare_others(folder: Path, whose: Whose, *outputs: Path) -> None:
    """Raise `OutputError` where `folder` holds results for something else, or one of `outputs` that is no result of an
    earlier run."""
    earlier = whose_masklets(folder / "masklets.json") or next((killed for _, killed in _unfinished(folder)), None)
    if earlier is not None:
        ours = f"{whose.kind} {whose.name}"
        if (earlier.kind, earlier.name) != (whose.kind, whose.name):
            raise OutputError(
                f"{folder} holds the results for the {earlier.kind} {earlier.name}; name another folder for those for "
                f"the {ours}"
            )
        if earlier.origin and whose.origin and earlier.origin != whose.origin:
            raise OutputError(
                f"{folder} holds the results for another {ours}, which lies elsewhere, or lay there; name another "
                "folder (--out), or move those away"
            )
        return
    for output in (*outputs, folder / "masklets.json"):
        if output.exists():
            raise OutputError(_WRITTEN_OVER.format(output))


def remove_index_masks(folder: Path, but: str | None = None) -> None:
    """Remove the index masks of a clip that an earlier run left in `folder`, which new results replace."""
    names = _earlier_masks(folder)
    if but is None:
        (folder / MASKS / UNFINISHED).unlink(missing_ok=True)
    for name in names - {but}:
        try:
            (folder / MASKS / name).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"cannot remove the earlier mask {name}: {error.strerror or error}") from error


def _earlier_masks(folder: Path) -> set[str]:
    """The names of the index masks that earlier runs left in `folder`, those that were killed too."""
    killed = (name for name, _ in _unfinished(folder) if name == Path(name).name)
    return {*read_index_masks(folder / "masklets.json"), *killed}


def _unfinished(folder: Path) -> list[tuple[str, Whose]]:
    """The names of index masks that a killed run left, each with what it is of."""
    file = folder / MASKS / UNFINISHED
    # Names of files need not be text on Linux.
    lines = file.read_text(encoding="utf-8", errors="surrogateescape").splitlines() if file.is_file() else []
    noted = ((*line.split("\t"), "", "")[:3] for line in lines)
    return [(name, Whose("clip", title, origin or None)) for name, title, origin in noted]


def _check_prompts(prompts: Sequence[PlacedPrompt]) -> None:
    """Raise `PromptError` where nothing is prompted, or an object in a way that would not be what was meant.

    Its number has no room in an index mask; all that is said of it is where it is not, for which anything else would
    do; or it has two boxes on one frame, of which the second would take the place of the first.
    """
    if not prompts:
        raise PromptError("nothing to track: give a point, a box, a mask or a prompts file")
    for placed in prompts:
        if not 1 <= placed.object_id <= MAX_OBJECT_ID:
            raise PromptError(f"objects in index masks are numbered from 1 to {MAX_OBJECT_ID}; got {placed.object_id}")
    shown = {placed.object_id for placed in prompts if placed.prompt.is_positive}
    if denied := sorted({placed.object_id for placed in prompts} - shown):
        raise PromptError(
            f"the prompts of object {denied[0]} say only what it is not: add a point on it (label 1), a box or a mask"
        )
    boxed = Counter((placed.object_id, placed.frame) for placed in prompts if placed.prompt.box is not None)
    for (object_id, frame), number in boxed.items():
        if number > 1:
            raise PromptError(f"object {object_id} has {number} boxes on frame {frame}: two things need two numbers")


def _corrections(prompts: Sequence[PlacedPrompt], direction: Direction) -> dict[int, list[PlacedPrompt]]:
    """By frame, the clicks on objects that tracking brings there from a frame where they were shown before, and of
    which no box or mask there says anew what they are."""
    way = -1 if direction == "backward" else 1
    first: dict[int, int] = {}
    for placed in sorted(prompts, key=lambda placed: way * placed.frame):
        if placed.prompt.is_positive:
            first.setdefault(placed.object_id, placed.frame)
    anew = {(p.object_id, p.frame) for p in prompts if p.prompt.box is not None or p.prompt.mask is not None}
    found: dict[int, list[PlacedPrompt]] = defaultdict(list)
    for placed in prompts:
        is_later = way * placed.frame > way * first[placed.object_id]
        if is_later and (placed.object_id, placed.frame) not in anew:
            found[placed.frame].append(placed)
    return dict(found)


def _place(session: VideoSession, prompts: Sequence[PlacedPrompt]) -> None:
    for placed in prompts:
        session.place(placed.object_id, placed.frame, placed.prompt)


def _check_frames(session: VideoSession, frames: Iterable[int]) -> None:
    for frame in frames:
        session.check_frame(frame)


def _num_frames_to_track(session: VideoSession, prompts: Sequence[PlacedPrompt], direction: Direction) -> int | None:
    """How many frames `propagate` will yield; None where the clip's length is not known."""
    if direction == "backward":
        return max(placed.frame for placed in prompts) + 1
    if session.num_frames is None:
        return None
    firsts = [min(placed.frame for placed in prompts if placed.object_id == i) for i in session.object_ids]
    return session.num_frames - min(firsts) + (max(firsts) if direction == "both" else 0)


def _marks(points: ArrayLike | None, labels: ArrayLike | None) -> list[tuple[float, float, int]]:
    """Points and labels as `draw_masks` takes them."""
    xy = np.asarray(() if points is None else points, np.float32).reshape(-1, 2)
    signs = np.ones(len(xy)) if labels is None else np.asarray(labels).reshape(-1)
    return [(float(x), float(y), int(sign)) for (x, y), sign in zip(xy, signs, strict=True)]
