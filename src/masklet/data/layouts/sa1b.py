"""SA-1B, the pictures of the first Segment Anything: `sa_1.jpg` with the masks in `sa_1.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from masklet.data.clips import Clip
from masklet.data.layouts.painting import Masklet, paint_in_turn, paint_masklets
from masklet.data.layouts.pairs import check_still
from masklet.errors import InputError
from masklet.io.annotations import checked_rle
from masklet.io.documents import member, read_json
from masklet.io.files import walk_files
from masklet.io.images import read_image
from masklet.types import Size


def is_sa1b(contents: Any) -> bool:
    """Whether the JSON of a file has SA-1B's layout, one `image` with its `annotations`."""
    return (
        isinstance(contents, dict)
        and isinstance(contents.get("image"), dict)
        and isinstance(contents.get("annotations"), list)
    )


class Sa1bFolder:
    """The stills of a folder of SA-1B, and of the folders below it.

    Raises `InputError` naming the annotation without its picture, or the folder without any. Source:
    https://ai.meta.com/datasets/segment-anything/ (`image`, and `annotations` with a COCO RLE `segmentation` each).
    """

    only_stills = True

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.files = sorted(file for file in walk_files(self.folder, ".json") if file.name.startswith("sa_"))
        if not self.files:
            raise InputError(f"{self.folder} is empty: looked for pictures sa_1.jpg with annotations sa_1.json")
        for file in self.files:
            if not file.with_suffix(".jpg").is_file():
                raise InputError(f"{file} has no picture {file.stem}.jpg beside it")

    def __len__(self) -> int:
        return len(self.files)

    def clip(self, index: int, generator: np.random.Generator, num_frames: int = 1) -> Clip:
        """Picture `index` with some of its masks: they overlap, so each time others are picked."""
        check_still(num_frames, self.folder)
        picture = self.files[index].with_suffix(".jpg")
        frame = read_image(picture)
        size = Size(*frame.shape[:2])
        return Clip(frame[None], paint_masklets(self._masklets(index, size), 1, size, generator), str(picture))

    def paintings(self, index: int, generator: np.random.Generator, most: int) -> list[Clip]:
        """See `Overlapping`."""
        picture = self.files[index].with_suffix(".jpg")
        frame = read_image(picture)
        size = Size(*frame.shape[:2])
        painted = paint_in_turn(self._masklets(index, size), size, generator, most)
        return [Clip(frame[None], masks, str(picture)) for masks in painted]

    def _masklets(self, index: int, size: Size) -> list[Masklet]:
        file = self.files[index]
        annotations = member(read_json(file), "annotations", list, str(file))
        return [
            [checked_rle(member(annotation, "segmentation", dict, str(file)), size, f"{file}, annotation {place}")]
            for place, annotation in enumerate(annotations)
        ]
