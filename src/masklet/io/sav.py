"""One annotation file of SA-V: a video's masklets, made by people (`_manual.json`) or by the model (`_auto.json`).

Videos run at 24 frames a second, every fourth frame is annotated. Source: `sav_dataset/README.md` of the official
repository, and paper section 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pycocotools import mask as coco

from masklet.errors import InputError
from masklet.io.annotations import checked_rle
from masklet.io.documents import member, numbers_in, read_json, size_of, write_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from masklet.types import Size

VIDEO_FPS = 24
ANNOTATION_STRIDE = 4
"""Annotated frames are video frames 0, 4, 8, ...: six a second."""

MEDIUM_AREA, LARGE_AREA = 32**2, 96**2
"""Mean areas in pixels from which a masklet counts as medium and as large."""

Kind = Literal["manual", "auto"]


@dataclass(frozen=True, eq=False)
class SavMasklets:
    """All masklets of one kind of one video.

    masks: for each annotated frame, for each object, compressed RLE; an empty mask where the object is not to be seen;
    object_ids: [n]; num_frames: of the video, not only the annotated ones; edited: [n] on how many frames a person
    corrected the object; stability: [annotated frames][n], of automatic masklets only. Raises `InputError` where the
    lists' lengths differ.
    """

    video_id: str
    kind: Kind
    size: Size
    num_frames: int
    object_ids: tuple[int, ...]
    masks: tuple[tuple[dict[str, Any], ...], ...]
    edited: tuple[int, ...] = ()
    stability: tuple[tuple[float, ...], ...] | None = None
    environment: str = ""
    split: str = "train"

    def __post_init__(self) -> None:
        count = len(self.object_ids)
        for place, masks in enumerate(self.masks):
            if len(masks) != count:
                raise InputError(f"{self.video_id}: annotated frame {place} has {len(masks)} masks for {count} objects")
        if self.stability is not None and [len(row) for row in self.stability] != [count] * len(self.masks):
            raise InputError(
                f"{self.video_id}: stability scores must be there for each of {count} objects on each frame"
            )
        if self.edited and len(self.edited) != count:
            raise InputError(f"{self.video_id}: {len(self.edited)} counts of edited frames for {count} objects")
        if len(set(self.object_ids)) != count:
            raise InputError(f"{self.video_id}: masklet ids must differ; got {list(self.object_ids)}")

    @property
    def areas(self) -> NDArray[np.int64]:
        """Pixels of every mask, [annotated frames, n]."""
        areas = [[int(coco.area(rle)) for rle in masks] for masks in self.masks]
        return np.array(areas, np.int64).reshape(len(self.masks), len(self.object_ids))


@dataclass(frozen=True)
class MaskletFigures:
    """What SA-V states of each masklet, [n] each: computed from the masks, never taken from a file.

    mean_area: in pixels, over the frames where it is to be seen (0 if never); visibility_changes: how often it comes or
    goes after its first appearance; first_frame: its place among the annotated frames.
    """

    mean_area: tuple[float, ...]
    visibility_changes: tuple[int, ...]
    first_frame: tuple[int, ...]


def read_sav(path: str | Path) -> SavMasklets:
    """Read an annotation file. Raises `InputError` naming the key or mask that is missing or malformed."""
    path = Path(path)
    record = read_json(path)
    size = size_of(record, str(path), "video_height", "video_width")
    masks = member(record, "masklet", list, str(path))
    kinds = {str(kind) for kind in member(record, "masklet_type", list, str(path))}
    if len(kinds) > 1 or not kinds <= {"manual", "auto"}:
        raise InputError(f"{path}: masklet_type must be all manual or all auto; got {sorted(kinds)}")
    kind: Kind = "auto" if kinds == {"auto"} or (not kinds and path.stem.endswith("_auto")) else "manual"
    return SavMasklets(
        video_id=member(record, "video_id", str, str(path)),
        kind=kind,
        size=size,
        num_frames=int(member(record, "video_frame_count", (int, float), str(path))),
        object_ids=numbers_in(record, "masklet_id", str(path)),
        masks=tuple(_read_masks(frame, size, f"{path}, annotated frame {place}") for place, frame in enumerate(masks)),
        edited=numbers_in(record, "masklet_edited_frame_count", str(path)),
        stability=_read_stability(record, str(path)) if kind == "auto" else None,
        environment=str(record.get("video_environment", "")),
        split=str(record.get("video_split", "")),
    )


def write_sav(masklets: SavMasklets, path: str | Path) -> None:
    """Write an annotation file with every field that SA-V's own have. Raises `OutputError`."""
    figures = masklet_figures(masklets)
    count, pixels = len(masklets.object_ids), masklets.size.height * masklets.size.width
    record = {
        "video_id": masklets.video_id,
        "video_duration": masklets.num_frames / VIDEO_FPS,
        "video_frame_count": float(masklets.num_frames),
        "video_height": float(masklets.size.height),
        "video_width": float(masklets.size.width),
        "video_resolution": float(pixels),
        "video_environment": masklets.environment,
        "video_split": masklets.split,
        "masklet": [list(masks) for masks in masklets.masks],
        "masklet_id": list(masklets.object_ids),
        "masklet_size_rel": [area / pixels for area in figures.mean_area],
        "masklet_size_abs": list(figures.mean_area),
        "masklet_size_bucket": [size_bucket(area) for area in figures.mean_area],
        "masklet_visibility_changes": list(figures.visibility_changes),
        "masklet_first_appeared_frame": list(figures.first_frame),
        "masklet_frame_count": [len(masklets.masks)] * count,
        "masklet_edited_frame_count": list(masklets.edited) or [0] * count,
        "masklet_type": [masklets.kind] * count,
        "masklet_stability_score": [None] * count if masklets.stability is None else masklets.stability,
        "masklet_num": count,
    }
    write_json(path, record)


def masklet_figures(masklets: SavMasklets) -> MaskletFigures:
    """Sizes and appearances of each masklet."""
    areas = masklets.areas
    visible = areas > 0
    first = visible.argmax(0) if len(visible) else np.zeros(len(masklets.object_ids), int)
    changes = [int(np.count_nonzero(np.diff(column[start:]))) for column, start in zip(visible.T, first, strict=True)]
    return MaskletFigures(
        mean_area=tuple((areas.sum(0) / np.maximum(visible.sum(0), 1)).tolist()),
        visibility_changes=tuple(changes),
        first_frame=tuple(first.tolist()),
    )


def size_bucket(mean_area: float) -> str:
    """SA-V's word for a mean area in pixels: small, medium or large."""
    return "small" if mean_area < MEDIUM_AREA else "medium" if mean_area < LARGE_AREA else "large"


def _read_stability(record: Any, where: str) -> tuple[tuple[float, ...], ...] | None:
    rows = record.get("masklet_stability_score")
    if not rows:
        return None
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise InputError(f"{where}: masklet_stability_score must hold a list for each frame; got {str(rows)[:60]!r}")
    return tuple(tuple(row) for row in rows)


def _read_masks(masks: Any, size: Size, where: str) -> tuple[dict[str, Any], ...]:
    if not isinstance(masks, list):
        raise InputError(f"{where}: expected a list with one mask an object; got {str(masks)[:60]!r}")
    return tuple(checked_rle(rle, size, f"{where}, object {place}") for place, rle in enumerate(masks))
