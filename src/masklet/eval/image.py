"""Interactive segmentation of pictures: mean IoU from a box, and after each of k clicks.

The first click falls where the object is deepest, and of the three masks the one with the best predicted IoU counts;
each next click falls where a missed or spilled pixel lies deepest, the logits before it being fed back. Sources: paper
section 6.3, the appendix of "Segment Anything" (Kirillov et al., 2023), and for the clicks RITM (Sofiiuk et al., 2021)
and the official `sample_one_point_from_error_center`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from masklet.data.clips import holds_stills, read_paintings
from masklet.data.layouts.annotated import AnnotatedPictures
from masklet.data.layouts.opening import open_dataset, split_folders
from masklet.data.prompts import deeper_error_click, deepest_point, tight_box
from masklet.errors import InputError
from masklet.eval.examples import Example, render, worst_of
from masklet.eval.metrics import region_j
from masklet.eval.report import Curve, Report, Row
from masklet.eval.running import SETTINGS_FILE, WRITTEN, ModelChoice, ModelMeasure, is_claimed, model_settings
from masklet.eval.truth import stamp_of
from masklet.io.files import walk_files
from masklet.io.frames import is_picture
from masklet.ops.rle import decode_rle, encode_rle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from masklet.data.clips import ClipDataset
    from masklet.io.images import ValueRange
    from masklet.predict.image import ImageEmbedding, ImagePredictor

NUM_CLICKS = 5
SEED = 0
"""Chooses the frame where a data set has clips."""


MOST_PAINTINGS = 64
"""Index masks that a picture's objects are spread over; those of SA-1B need a few."""


@dataclass(frozen=True, eq=False)
class Picture:
    """pixels: uint8 RGB [H, W, 3]; objects: bool [H, W] by number."""

    name: str
    pixels: NDArray[np.uint8]
    objects: dict[int, NDArray[np.bool_]]


@dataclass(frozen=True)
class ImageRun(ModelMeasure):
    """A model on annotated pictures.

    data: any layout that training reads, a clip counting as one picture; images: where annotation files' pictures are;
    clicks: how many; min_area: objects of fewer pixels are left out; whole: all objects of a picture are one; limit:
    only so many pictures, spread evenly. Raises `InputError`.
    """

    data: Path
    model: ModelChoice
    images: Path | None = None
    clicks: int = NUM_CLICKS
    min_area: int = 1
    whole: bool = False
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.clicks < 1 or self.min_area < 1 or (self.limit is not None and self.limit < 1):
            raise InputError(
                f"clicks, min_area and limit must be at least 1; got {self.clicks}, {self.min_area} and {self.limit}"
            )

    @property
    def items(self) -> list[str]:
        count = len(self._dataset)
        wanted = count if self.limit is None else min(self.limit, count)
        return [f"{index:06d}" for index in np.linspace(0, count - 1, wanted).astype(int)]

    @property
    def settings(self) -> dict[str, Any]:
        chosen = {"clicks": self.clicks, "min_area": self.min_area, "whole": self.whole, "limit": self.limit}
        images = None if self.images is None else str(self.images)
        return {"data": str(self.data), "images": images} | model_settings(self.model) | chosen

    def state(self, item: str) -> str:
        """What tells whether anything in the data was changed: pictures are known by their place among the others."""
        return self._stamp

    @cached_property
    def _stamp(self) -> str:
        """Of every file that the data may be read from, but for results that were put among them."""
        files = [] if self.data.is_dir() else [self.data]
        if self.data.is_dir():
            files += walk_files(self.data, "")
        if self.images is not None or self.data.is_file():  # whose pictures may lie anywhere beside it
            beside = walk_files(self.images or self.data.parent, "")
            files += (file for file in beside if is_picture(file) or file.name == SETTINGS_FILE)
        claimed = [file.parent for file in files if file.name == SETTINGS_FILE and is_claimed(file.parent)]
        results = {folder / name for folder in claimed for name in WRITTEN}
        read = (file for file in files if not _is_a_systems_own(file) and results.isdisjoint((file, *file.parents)))
        return stamp_of(file for file in read if file.is_file())

    @property
    def _dataset(self) -> ClipDataset:
        return _opened(self.data, self.images, self.model.value_range, self._stamp)

    def picture(self, item: str) -> Picture:
        """The picture of an item, with the mask of each object that counts."""
        dataset, generator = self._dataset, np.random.default_rng([SEED, int(item)])
        if holds_stills(dataset):  # whose objects may overlap, so that one index mask does not show them all
            paintings = read_paintings(dataset, int(item), generator, MOST_PAINTINGS)
        else:
            paintings = [dataset.clip(int(item), generator, 1)]
        masks: dict[int, NDArray[np.bool_]] = {}
        for clip in paintings:
            index = clip.masks[0]
            for number in (int(value) for value in np.unique(index) if value):
                masks.setdefault(number, index == number)
        if self.whole and masks:
            masks = {1: np.any(list(masks.values()), 0)}
        large = {number: mask for number, mask in sorted(masks.items()) if np.count_nonzero(mask) >= self.min_area}
        return Picture(paintings[0].name, paintings[0].frames[0], large)

    def __call__(self, item: str) -> dict[str, Any]:
        """The IoU of each object of one picture from a box and after each click."""
        from masklet.predict.image import ImagePredictor

        picture = self.picture(item)
        with self.model.loaded() as model:
            predictor = ImagePredictor(model)
            embedding = predictor.embed(picture.pixels)
            objects = picture.objects.items()
            records = [self._segment(predictor, embedding, number, truth) for number, truth in objects]
        return {"name": picture.name, "objects": records}

    def _segment(
        self, predictor: ImagePredictor, embedding: ImageEmbedding, number: int, truth: NDArray[np.bool_]
    ) -> dict[str, Any]:
        boxed = predictor.predict(embedding, box=tight_box(truth), multimask=False).masks[0, 0]
        return {
            "object_id": number,
            "area": int(np.count_nonzero(truth)),
            "box": region_j(truth, boxed),
            "clicks": click_ious(predictor, embedding, truth, self.clicks),
            "rle": encode_rle(boxed),
        }


def click_ious(
    predictor: ImagePredictor, embedding: ImageEmbedding, truth: NDArray[np.bool_], num_clicks: int
) -> list[float]:
    """IoU with the truth [H, W] after each of `num_clicks` clicks, the last of them not made once nothing is wrong."""
    points, labels = [deepest_point(truth)], [1]
    answer = predictor.predict(embedding, points=points, labels=labels, multimask=True).best()
    ious = [region_j(truth, answer.masks[0, 0])]
    while len(ious) < num_clicks and ious[-1] < 1:
        click = deeper_error_click(truth, answer.masks[0, 0])
        points.append((click.x, click.y))
        labels.append(click.label)
        answer = predictor.predict(embedding, points=points, labels=labels, mask_logits=answer.low_res, multimask=False)
        ious.append(region_j(truth, answer.masks[0, 0]))
    return ious + ious[-1:] * (num_clicks - len(ious))


def image_report(run: ImageRun, results: dict[str, dict[str, Any]], seconds: float) -> Report:
    """Mean IoU over all objects, a row for each, and the curve over clicks. Raises `InputError` without any object."""
    root = f"{run.data}/"
    rows = tuple(
        Row(f"{result['name'].removeprefix(root)}/{record['object_id']}", _figures(record))
        for result in results.values()
        for record in result["objects"]
    )
    if not rows:
        raise InputError(f"no object of at least {run.min_area} pixels in {run.data}")
    summary = {column: float(np.mean([row.values[column] for row in rows])) for column in rows[0].values}
    clicks = [(float(number), summary[_column(number)]) for number in range(1, run.clicks + 1)]
    box = [(x, summary["box"]) for x, _ in clicks]
    curve = Curve("IoU by clicks", "clicks", "mean over objects", {"clicks": clicks, "box": box})
    counts = {"pictures": len(results), "objects": len(rows)}
    title = "Interactive segmentation of pictures"
    return Report(title, run.settings | counts, summary, rows, (curve,), {"seconds": seconds})


def worst_pictures(run: ImageRun, results: dict[str, dict[str, Any]]) -> list[Example]:
    """The objects with the lowest IoU from their box."""
    candidates = [(record["box"], (item, record)) for item, result in results.items() for record in result["objects"]]
    examples = []
    for score, (item, record) in worst_of(candidates):
        picture = run.picture(item)
        truth = picture.objects[record["object_id"]]
        jpeg = render(picture.pixels, truth, decode_rle(record["rle"]), record["object_id"])
        examples.append(Example(f"{Path(picture.name).name}, object {record['object_id']}, from its box", score, jpeg))
    return examples


@lru_cache(maxsize=1)
def _opened(data: Path, images: Path | None, value_range: ValueRange | None, stamp: str) -> ClipDataset:
    """stamp: of what lies there, which is opened anew once it has changed."""
    dataset = open_dataset(data, images=images, split=None, value_range=value_range)
    if isinstance(dataset, AnnotatedPictures):
        parts = split_folders(frame for entry in dataset.entries for frame in entry)
        if parts:
            places = data / "images" if (data / "images" / parts[0]).is_dir() else data
            raise InputError(
                f"{data} holds pictures to train on and others: name those to measure on, of "
                f"{', '.join(str(places / part) for part in parts)}"
            )
    return dataset


def _column(number: int) -> str:
    return "1 click" if number == 1 else f"{number} clicks"


def _figures(record: dict[str, Any]) -> dict[str, float]:
    return {"box": record["box"]} | {_column(number): iou for number, iou in enumerate(record["clicks"], 1)}


def _is_a_systems_own(file: Path) -> bool:
    """Whether a file is what macOS or Windows leave in folders that are looked at."""
    return file.name.startswith(".") or file.name in ("Thumbs.db", "desktop.ini")
