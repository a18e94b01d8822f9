"""Fine-tune a model on pictures and clips of your own, then segment a picture with it.

    python examples/finetune.py my-pictures my-clips photo.jpg 320 240 --out runs/mine

docs/training-data.md says how the two folders may be laid out. What was stopped goes on with
`masklet train resume runs/mine`.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from PIL import Image

import masklet
from masklet.train import recipes
from masklet.train.loop import Pace, begin
from masklet.train.recipe import Recipe


def mixed(pictures: Path, clips: Path, model: str, steps: int, device: str) -> Recipe:
    """Two batches of pictures to each of clips, which are learned from in runs of four frames."""
    of_pictures, of_clips = (
        recipes.finetune(data, model, steps=steps, frames=frames, precision=recipes.precision_on(device))
        for data, frames in ((pictures, 1), (clips, 4))
    )
    (stills,), (tracked,) = (recipe.stages[0].parts for recipe in (of_pictures, of_clips))
    # `sources` of a part may list several folders: Source(path, weight=...) says how often one is drawn from.
    parts = (replace(stills, weight=2.0), replace(tracked, weight=1.0))
    # Everything else is the clips' way, which is the more careful one.
    return replace(of_clips, name="mine", stages=(replace(of_clips.stages[0], parts=parts),))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path)
    parser.add_argument("clips", type=Path)
    parser.add_argument("picture", help="to be segmented in the end, from a click at x, y")
    parser.add_argument("x", type=float)
    parser.add_argument("y", type=float)
    parser.add_argument("--model", default="nano", help="to start from")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("runs/mine"))
    options = parser.parse_args()

    # The recipe is kept with the run, which may be gone on with from another folder: hence whole paths.
    folders = options.pictures.resolve(), options.clips.resolve()
    recipe = mixed(*folders, options.model, options.steps, options.device)
    trained = begin(recipe, options.out, Pace(save_every=100), options.device)

    predictor = masklet.ImagePredictor(masklet.load(trained))
    found = predictor.predict(predictor.embed(options.picture), points=[(options.x, options.y)]).best()
    Image.fromarray(found.masks[0, 0]).save(options.out / "mask.png")
    print(f"{trained}: predicted IoU {float(found.iou[0, 0]):.2f}, {int(found.areas[0, 0])} pixels")


if __name__ == "__main__":  # needed: the process that prepares the batches imports this file, too
    main()
