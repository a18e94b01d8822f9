"""How good masks from a box and from 1, 3 and 5 clicks are, beside two baselines that need no model.

    python benchmarks/interactive_protocol.py --data DEV --model nano --json out.json

DEV holds folders of pictures `NAME.jpg` with index masks `NAME.png` (`cats`, `fashion`, ...) and `davis` in the DAVIS
layout, of which the first frame of each clip counts. The protocol has no chance in it:

- objects of at least 1,024 pixels; all garments of a `fashion` picture together are one person;
- box: the tight box, single mask; click: the point deepest inside the object, three masks, the best by predicted IoU
  (and, beside, the best by truth); 3 and 5 clicks: each next one deepest in the larger of the missed and the spilled
  area, the earlier logits fed back, single mask;
- baselines: the box filled, and OpenCV's GrabCut from the box, five iterations.

A set's figure is the mean IoU over its objects.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

import masklet
from masklet.data.prompts import deepest_point, tight_box
from masklet.data.reading import read_index_mask
from masklet.eval.metrics import region_j
from masklet.io.images import read_image
from sides import hardware

MIN_AREA = 1024
NUM_CLICKS = 5
GRABCUT_ITERATIONS = 5
COLUMNS = ("box", "click", "click_oracle", "clicks3", "clicks5", "box_filled", "grabcut")


@dataclass(frozen=True, eq=False)
class Case:
    """One picture [H W 3] and the masks [H W] of the objects that count."""

    name: str
    picture: NDArray[np.uint8]
    objects: list[NDArray[np.bool_]]


def read_cases(data: Path, name: str, limit: int | None) -> Iterator[Case]:
    """The pictures of a set in the order of their names, the first `limit` of them."""
    if name == "davis":
        annotations = data / name / "Annotations"
        firsts = [min(clip.glob("*.png")) for clip in sorted({path.parent for path in annotations.rglob("*.png")})]
        pictures = [data / name / "JPEGImages" / first.relative_to(annotations) for first in firsts]
        pairs = [(picture.with_suffix(".jpg"), first) for picture, first in zip(pictures, firsts)]
    else:
        pairs = [(mask.with_suffix(".jpg"), mask) for mask in sorted((data / name).glob("*.png"))]
    for picture_path, mask_path in pairs[:limit]:
        picture = read_image(picture_path)
        index = read_index_mask(mask_path, masklet.Size(*picture.shape[:2]))
        whole = [index > 0] if name == "fashion" else [index == number for number in np.unique(index) if number]
        objects = [mask for mask in whole if mask.sum() >= MIN_AREA]
        if objects:
            yield Case(str(picture_path), picture, objects)


def score_model(predictor: masklet.ImagePredictor, case: Case) -> list[dict[str, float]]:
    """IoU of the model's masks for each object of a picture."""
    embedding = predictor.embed(case.picture)
    rows = []
    for truth in case.objects:
        boxed = predictor.predict(embedding, box=tight_box(truth), multimask=False)
        rows.append({"box": region_j(truth, boxed.masks[0, 0]), **score_clicks(predictor, embedding, truth)})
    return rows


def score_clicks(
    predictor: masklet.ImagePredictor, embedding: masklet.ImageEmbedding, truth: NDArray[np.bool_]
) -> dict[str, float]:
    """IoU after 1, 3 and 5 clicks, and of the three masks of the first click the best by truth."""
    readings = predictor.predict(embedding, points=[deepest_point(truth)], labels=[1], multimask=True)
    oracle = max(region_j(truth, mask) for mask in readings.masks[0])
    ious = click_ious(predictor, embedding, truth)
    return {"click_oracle": oracle, "click": ious[0], "clicks3": ious[2], "clicks5": ious[4]}


def click_ious(
    predictor: masklet.ImagePredictor, embedding: masklet.ImageEmbedding, truth: NDArray[np.bool_]
) -> list[float]:
    """IoU with the truth [H, W] after each of five clicks.

    `masklet eval image` clicks where an error is deepest, be it the larger or not; this protocol stays as it was, so
    that figures from before compare.
    """
    points, labels = [deepest_point(truth)], [1]
    answer = predictor.predict(embedding, points=points, labels=labels, multimask=True).best()
    ious = [region_j(truth, answer.masks[0, 0])]
    while len(ious) < NUM_CLICKS:
        point, label = next_click(truth, answer.masks[0, 0])
        points.append(point)
        labels.append(label)
        answer = predictor.predict(embedding, points=points, labels=labels, mask_logits=answer.low_res, multimask=False)
        ious.append(region_j(truth, answer.masks[0, 0]))
    return ious


def next_click(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> tuple[tuple[int, int], int]:
    """The deepest point x, y of the missed or of the spilled area, whichever is larger, and its label.

    Missed in a tie. Where nothing is wrong it falls on the background, or on an object that fills the picture.
    """
    missed, spilled = truth & ~predicted, predicted & ~truth
    if not missed.any() and not spilled.any():
        missed, spilled = (truth, spilled) if truth.all() else (missed, ~truth)
    label = int(missed.sum() >= spilled.sum())
    return deepest_point(missed if label else spilled), label


def score_baselines(case: Case) -> list[dict[str, float]]:
    """IoU of the filled box and of GrabCut for each object of a picture."""
    rows = []
    for truth in case.objects:
        x0, y0, x1, y1 = tight_box(truth).astype(int)
        filled = np.zeros_like(truth)
        filled[y0:y1, x0:x1] = True
        rows.append({"box_filled": region_j(truth, filled), "grabcut": region_j(truth, grabcut(case.picture, filled))})
    return rows


def grabcut(picture: NDArray[np.uint8], box: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """OpenCV's GrabCut from a box given as a mask; the box itself where it leaves no background to learn from."""
    if box.all():
        return box
    labels = np.where(box, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    cv2.grabCut(
        np.ascontiguousarray(picture[..., ::-1]), labels, None, *models, GRABCUT_ITERATIONS, cv2.GC_INIT_WITH_MASK
    )
    return (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)


def score_set(predictor: masklet.ImagePredictor, data: Path, name: str, limit: int | None, baselines: bool) -> Any:
    """Means over the objects of one set."""
    rows: list[dict[str, float]] = []
    for case in read_cases(data, name, limit):
        scores = score_model(predictor, case)
        extra = score_baselines(case) if baselines else [{} for _ in scores]
        rows += [{**score, **more} for score, more in zip(scores, extra)]
    if not rows:
        raise SystemExit(f"{data / name} holds no picture with an object of {MIN_AREA} pixels")
    return {
        "objects": len(rows),
        **{key: float(np.mean([row[key] for row in rows])) for key in COLUMNS if key in rows[0]},
    }


def table(results: dict[str, dict[str, float]]) -> str:
    """The figures as text, one line for each set."""
    lines = ["set".ljust(10) + "objects".rjust(8) + "".join(column.rjust(13) for column in COLUMNS)]
    for name, row in results.items():
        figures = (f"{row[column]:.3f}" if column in row else "-" for column in COLUMNS)
        lines.append(name.ljust(10) + str(row["objects"]).rjust(8) + "".join(figure.rjust(13) for figure in figures))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds the sets")
    parser.add_argument("--sets", nargs="+", default=["cats", "fashion", "davis"])
    parser.add_argument("--model", default="nano", help="a model's name or a checkpoint's path")
    parser.add_argument("--image-size", type=int, help="side of the square picture the model sees")
    parser.add_argument("--no-close-look", action="store_true", help="see masks from afar only")
    parser.add_argument("--no-guided-edges", action="store_true", help="enlarge masks without regard to the picture")
    parser.add_argument("--limit", type=int, help="score only so many pictures of each set")
    parser.add_argument("--no-baselines", action="store_true", help="leave GrabCut out; it takes the most time")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    model = masklet.load(options.model, image_size=options.image_size)
    predictor = masklet.ImagePredictor(
        model,
        close_look=False if options.no_close_look else None,
        guided_edges=False if options.no_guided_edges else None,
    )
    begun = time.perf_counter()
    results = {
        name: score_set(predictor, options.data, name, options.limit, not options.no_baselines) for name in options.sets
    }
    print(table(results))
    if options.json:
        about = {
            "model": str(options.model),
            "image_size": model.config.image_size,
            "close_look": predictor.close_look,
            "guided_edges": predictor.guided_edges,
            "limit": options.limit,
            "seconds": round(time.perf_counter() - begun, 1),
            "machine": {**hardware(), "threads": torch.get_num_threads(), "torch": torch.__version__},
        }
        options.json.write_text(json.dumps({"about": about, "mean_iou": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
