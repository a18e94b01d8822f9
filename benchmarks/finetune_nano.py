"""Fine-tuning `nano` on twenty pictures teaches it one kind of thing.

    python benchmarks/finetune_nano.py --data DEV/fashion --kind 19 --json out.json

DATA holds pictures `NAME.jpg` with index masks `NAME.png`, in which a kind has the same number everywhere; 19 in
`fashion` is hair, 41 skin. Of the pictures that show the kind, twenty, evenly spaced through the sorted names, are
trained on; up to forty others are scored before and after, by the IoU of the mask from the tight box. The script fails
where the mean does not rise by at least MARGIN.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import masklet
from masklet.data.prompts import tight_box
from masklet.data.reading import read_index_mask
from masklet.eval.metrics import region_j
from masklet.io.images import read_image
from masklet.io.palette import write_index_png
from masklet.model.network import Network
from masklet.train.loop import Pace, begin
from masklet.train.recipes import finetune
from sides import hardware

NUM_TRAINED, NUM_SCORED = 20, 40
MIN_AREA = 256
MARGIN = 0.1
STEPS = 60


@dataclass(frozen=True, eq=False)
class Case:
    """A picture's file and the mask [H W] of the kind in it."""

    picture: Path
    truth: NDArray[np.bool_]


def read_cases(data: Path, kind: int) -> list[Case]:
    """Every picture on which the kind covers at least `MIN_AREA` pixels."""
    cases = []
    for path in sorted(data.glob("*.png")):
        picture = path.with_suffix(".jpg")
        truth = read_index_mask(path, masklet.Size(*read_image(picture).shape[:2])) == kind
        if truth.sum() >= MIN_AREA:
            cases.append(Case(picture, truth))
    if len(cases) <= NUM_TRAINED:
        raise SystemExit(f"{data} shows kind {kind} on {len(cases)} pictures; more than {NUM_TRAINED} are needed")
    return cases


def score(model: Network, cases: list[Case]) -> float:
    """Mean IoU of the masks from the tight boxes."""
    predictor = masklet.ImagePredictor(model)
    overlaps = []
    for case in cases:
        embedding = predictor.embed(case.picture)
        found = predictor.predict(embedding, box=tight_box(case.truth), multimask=False).masks[0, 0]
        overlaps.append(region_j(case.truth, found))
    return float(np.mean(overlaps))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--kind", type=int, required=True, help="its number in the masks")
    parser.add_argument("--model", default="nano", help="a model's name or a checkpoint's path")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    cases = read_cases(options.data, options.kind)
    chosen = set(np.linspace(0, len(cases) - 1, NUM_TRAINED).round().astype(int).tolist())
    scored = [case for place, case in enumerate(cases) if place not in chosen][:NUM_SCORED]
    before = score(masklet.load(options.model), scored)
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures"
        pictures.mkdir()
        for place in chosen:
            shutil.copy(cases[place].picture, pictures)
            mask = cases[place].truth.astype(np.uint8)
            write_index_png(pictures / f"{cases[place].picture.stem}.png", mask)
        begun = time.perf_counter()
        result = begin(finetune(pictures, options.model, steps=options.steps), Path(folder) / "run", Pace())
        seconds = time.perf_counter() - begun
        after = score(masklet.load(result), scored)
    print(f"box IoU on {len(scored)} held-out pictures: {before:.3f}, after {seconds:.0f} s of training {after:.3f}")
    if options.json:
        machine = {**hardware(), "threads": torch.get_num_threads(), "torch": torch.__version__}
        figures = {"before": before, "after": after, "steps": options.steps, "seconds": round(seconds, 1)}
        about = {"data": options.data.name, "kind": options.kind, "machine": machine}
        options.json.write_text(json.dumps(about | figures, indent=1) + "\n")
    if after - before < MARGIN:
        raise SystemExit(f"the mean rose by {after - before:.3f}, less than {MARGIN}")


if __name__ == "__main__":
    main()
