"""Find everything in a picture or a clip and write it into a folder, in the files that `segment` and `track` write."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from masklet.io.draw import draw_masks
from masklet.io.frames import open_frames
from masklet.io.images import ValueRange, read_image
from masklet.io.masklets import MaskletsWriter, Whose
from masklet.io.output import new_folder, spare_source
from masklet.io.palette import write_index_png
from masklet.model.network import Network
from masklet.predict.everything import everything
from masklet.predict.everything_video import MaskletRules, everything_video
from masklet.predict.record import (
    MASKS,
    OVERLAY,
    SCORE_DIGITS,
    ClipRecorder,
    OnFrame,
    Recorded,
    origin_of,
    remove_index_masks,
    spare_others,
    write_picture,
)


@dataclass(frozen=True)
class RecordedEverything(Recorded):
    """Where results are, and how many objects were found in all."""

    num_objects: int


def everything_to_folder(
    model: Network,
    image: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    value_range: ValueRange | None = None,
    **options: Any,
) -> RecordedEverything:
    """Find everything in a picture and write `overlay.png`, `masks.png` and `masklets.json` into the folder `out`.

    value_range: see `read_image`; options: preset, changes and `on_points`, as of `masklet.everything`. Masks are
    numbered from 1, best first; where they overlap, `masks.png` and the overlay show the smallest, `masklets.json`
    holds each whole. Raises `InputError`, `OutputError`.
    """
    picture = read_image(image, value_range)
    folder = Path(out)
    spare_source(image, folder / "overlay.png", folder / "masks.png")
    whose = Whose("picture", Path(image).name, origin_of(image, folder))
    spare_others(folder, whose, folder / "overlay.png", folder / "masks.png")
    with new_folder(folder):
        found = everything(picture, model, **options)
    recorded = RecordedEverything(
        folder / "overlay.png", folder / "masks.png", folder / "masklets.json", num_objects=len(found)
    )
    remove_index_masks(folder)
    with MaskletsWriter(
        recorded.masklets,
        kind="picture",
        name=Path(image).name,
        size=found.size,
        model=model.config.name,
        origin=whose.origin,
    ) as writer:
        for number, mask in enumerate(found, start=1):
            scores = {"iou": mask.iou, "stability": mask.stability}
            writer.add(0, number, mask.mask, **{name: round(value, SCORE_DIGITS) for name, value in scores.items()})
    labels = found.label_map()
    write_index_png(recorded.masks, labels)
    overlay = picture
    # One by one: hundreds of masks of a large photograph side by side would fill the memory.
    for number in range(1, len(found) + 1):
        overlay = draw_masks(overlay, (labels == number)[None], [number])
    write_picture(recorded.overlay, overlay)
    return recorded


def everything_video_to_folder(
    model: Network,
    source: Any,
    out: str | os.PathLike[str],
    *,
    rules: MaskletRules | None = None,
    value_range: ValueRange | None = None,
    on_frame: OnFrame | None = None,
    **options: Any,
) -> RecordedEverything:
    """Find and track everything in a clip and write `overlay.mp4`, `masks/NAME.png` and `masklets.json` into `out`.

    source, value_range: as of `open_frames`; rules, options: as of `masklet.everything_video`. Whatever ends it early
    (a file that breaks off, Ctrl-C, an error), the three hold all frames done until then; memory is constant. Raises
    `InputError`, `BrokenVideo` and `OutputError`.
    """
    spare_source(source, Path(out) / OVERLAY, Path(out) / MASKS)
    frames = open_frames(source, revisit=False, value_range=value_range)
    results = everything_video(frames, model, rules=rules, **options)
    try:
        total: int | None = len(frames)
    except TypeError:
        total = None
    num_objects = 0
    origin = origin_of(source, Path(out))
    with ClipRecorder(Path(out), frames, model.config.name, origin=origin, in_order=True) as recorder:
        for done, masks in enumerate(results, start=1):
            recorder.add(masks)
            num_objects = max((num_objects, *masks.object_ids))
            if on_frame is not None:
                on_frame(done, total)
    return RecordedEverything(**vars(recorder.recorded), num_objects=num_objects)
