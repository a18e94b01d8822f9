"""The demonstration: real pictures segmented, three objects tracked through a clip, and how well that went."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from masklet.io.draw import draw_masks
from masklet.io.frames import open_frames
from masklet.io.output import make_folder
from masklet.io.palette import read_index_png
from masklet.ops.boxes import mask_boxes
from masklet.predict.demo_scene import DemoScene, demo_picture, demo_scene
from masklet.predict.image import ImagePredictor
from masklet.predict.prompt_files import PlacedPrompt
from masklet.predict.record import MENDED_AREA, OnFrame, Recorded, track_to_folder, write_picture
from masklet.types import Prompt

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from masklet.model.network import Network

AGAIN = 0.6
"""How far into the clip the saucer has hidden the astronaut's head and part of it is visible again."""

_SHEET_WIDTH = 1200
_SHEET_GAP = 8


@dataclass(frozen=True)
class DemoPicture:
    """A photograph by its name in scikit-image, and what to segment in it: a box each, or a click in the one box."""

    name: str
    boxes: tuple[tuple[float, float, float, float], ...]
    click: tuple[float, float] | None = None


PICTURES = (
    DemoPicture("astronaut", boxes=((18, 12, 370, 511), (353, 0, 460, 280))),
    DemoPicture("coffee", boxes=((74, 14, 482, 392),)),
    DemoPicture("chelsea", boxes=((2, 0, 380, 300),), click=(225, 150)),
    DemoPicture("rocket", boxes=((300, 125, 338, 412),)),
)


@dataclass(frozen=True)
class DemoReport:
    """Where the results are, each object's mean IoU with its true masks over the clip, by name, and the second frame on
    which they were prompted."""

    pictures: Path
    frames: Path
    clip: Recorded
    iou: dict[str, float]
    prompted_again: int

    @property
    def text(self) -> str:
        """The report in words."""
        reached = ", ".join(f"{name} {value:.2f}" for name, value in self.iou.items())
        return (
            f"pictures segmented:  {self.pictures}\n"
            f"clip tracked:        {self.clip.overlay}\n"
            f"six frames of it:    {self.frames}\n"
            f"masks, COCO RLE:     {self.clip.masks}, {self.clip.masklets}\n"
            f"each object got a box on frame 0, and once more on frame {self.prompted_again}\n"
            f"mean IoU over the clip with the true masks: {reached}"
        )


def run_demo(model: Network, out: str | os.PathLike[str], *, on_frame: OnFrame | None = None) -> DemoReport:
    """Run the demonstration and write its pictures into the folder `out`; nothing is fetched from anywhere.

    Raises `DeviceError` where scikit-image, whose photographs it uses, is missing, and `OutputError`.
    """
    folder = make_folder(out)
    pictures = [_segmented(model, picture) for picture in PICTURES]
    write_picture(folder / "pictures.png", _sheet(pictures, columns=2))
    scene = demo_scene()
    recorded = _track(model, scene, folder / "clip", on_frame)
    overlay = open_frames(recorded.overlay)
    picked = np.linspace(0, len(scene.frames) - 1, 6).round().astype(int).tolist()
    write_picture(folder / "frames.png", _sheet([overlay[number] for number in picked], columns=3))
    iou = _mean_iou(scene, recorded.masks)
    return DemoReport(folder / "pictures.png", folder / "frames.png", recorded, iou, _again(scene))


def _segmented(model: Network, picture: DemoPicture) -> NDArray[np.uint8]:
    """A photograph with what was asked for drawn over it."""
    image = demo_picture(picture.name)
    predictor = ImagePredictor(model, fill_hole_area=MENDED_AREA, remove_speck_area=MENDED_AREA)
    embedding = predictor.embed(image)
    if picture.click is None:
        masks = predictor.predict(embedding, boxes=picture.boxes, multimask=False).masks[:, 0]
        return draw_masks(image, masks, range(1, len(masks) + 1), boxes=picture.boxes)
    found = predictor.predict(embedding, points=[picture.click], box=picture.boxes[0], multimask=False)
    return draw_masks(image, found.masks[:, 0], [1], points=[(*picture.click, 1)], boxes=picture.boxes)


def _track(model: Network, scene: DemoScene, folder: Path, on_frame: OnFrame | None) -> Recorded:
    """Track all objects of the scene, from a tight box on the first frame and, after one has hidden others, again."""
    prompts = [
        PlacedPrompt(frame, object_id, Prompt.of(box=mask_boxes(scene.truth[frame] == object_id)))
        for frame in (0, _again(scene))
        for object_id in range(1, len(scene.names) + 1)
    ]
    return track_to_folder(model, scene.frames, prompts, folder, on_frame=on_frame)


def _again(scene: DemoScene) -> int:
    """The frame on which all objects are prompted once more, among those that are shown."""
    return round(AGAIN * (len(scene.frames) - 1))


def _mean_iou(scene: DemoScene, masks: Path) -> dict[str, float]:
    """Each object's IoU, the mean over the frames on which it or its predicted mask is to be seen."""
    files = sorted(masks.glob("*.png"))
    found = np.stack([read_index_png(file) for file in files[: len(scene.truth)]])
    means = {}
    for object_id, name in enumerate(scene.names, start=1):
        true, predicted = scene.truth == object_id, found == object_id
        union = (true | predicted).sum((1, 2))
        shared = (true & predicted).sum((1, 2))
        means[name] = float((shared[union > 0] / union[union > 0]).mean())
    return means


def _sheet(pictures: list[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Pictures in rows on white, each row as wide as the sheet."""
    rows = [_row(pictures[first : first + columns]) for first in range(0, len(pictures), columns)]
    gap = np.full((_SHEET_GAP, _SHEET_WIDTH, 3), 255, np.uint8)
    return np.concatenate([part for row in rows for part in (gap, row)][1:])


def _row(pictures: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Pictures side by side, all of the height at which they fill the sheet's width."""
    room = _SHEET_WIDTH - _SHEET_GAP * (len(pictures) - 1)
    height = round(room / sum(picture.shape[1] / picture.shape[0] for picture in pictures))
    row = np.full((height, _SHEET_WIDTH, 3), 255, np.uint8)
    left = 0
    for picture in pictures:
        width = min(round(picture.shape[1] * height / picture.shape[0]), _SHEET_WIDTH - left)
        row[:, left : left + width] = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        left += width + _SHEET_GAP
    return row
