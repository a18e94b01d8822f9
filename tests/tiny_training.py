"""A training run small enough for tests: drawn shapes, a network of a few thousand weights."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from masklet.config import ConvNetConfig, HieraConfig, ModelConfig
from masklet.data.transforms import Augmentation
from masklet.io.palette import write_index_png
from masklet.train.losses import LossWeights
from masklet.train.optimiser import OptimiserConfig
from masklet.train.recipe import Part, Recipe, Source, Stage
from masklet.train.rollout import Annotator

SIZE = 64
PARTS = {"image_size": SIZE, "width": 64, "memory_width": 16, "memory_layers": 1, "feedforward": 64}
CONVNET = ModelConfig("tiny-convnet", ConvNetConfig((8, 16, 32, 32), (1, 1, 1, 1), global_blocks=1), **PARTS)
HIERA = ModelConfig("tiny-hiera", HieraConfig(16, 1, (1, 1, 1, 1), (2,)), **PARTS)


def draw_shapes(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A picture [H W 3] of three ellipses on a plain ground, with noise, and their index mask [H W]."""
    picture = np.full((SIZE, SIZE, 3), generator.integers(0, 256, 3), np.uint8)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    for number in range(1, 4):
        centre, axes = generator.integers(10, SIZE - 10, 2).tolist(), generator.integers(5, 16, 2).tolist()
        angle = float(generator.uniform(0, 180))
        cv2.ellipse(picture, centre, axes, angle, 0, 360, generator.integers(0, 256, 3).tolist(), -1)
        cv2.ellipse(mask, centre, axes, angle, 0, 360, number, -1)
    noise = generator.normal(0, 6, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8), mask


def write_stills(folder: Path, count: int, seed: int = 0) -> Path:
    """`count` pictures with masks beside them."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for number in range(count):
        picture, mask = draw_shapes(generator)
        cv2.imwrite(str(folder / f"{number:03}.jpg"), picture[..., ::-1])
        write_index_png(folder / f"{number:03}.png", mask)
    return folder


def write_clip(folder: Path, num_frames: int) -> Path:
    """One clip in the DAVIS layout, a disc that crosses a ground of stripes, and its masks in `truth.npy`."""
    for kind in ("JPEGImages", "Annotations"):
        (folder / kind / "disc").mkdir(parents=True)
    columns = np.arange(SIZE)
    truths = []
    ground = np.repeat(np.where(columns // 8 % 2, 60, 160).astype(np.uint8)[None], SIZE, 0)
    for number in range(num_frames):
        picture, mask = np.stack([ground] * 3, -1), np.zeros((SIZE, SIZE), np.uint8)
        centre = (18 + 8 * number, 20 + 7 * number)
        cv2.circle(picture, centre, 14, (220, 80, 30), -1)
        cv2.circle(mask, centre, 14, 1, -1)
        cv2.imwrite(str(folder / "JPEGImages" / "disc" / f"{number:05}.jpg"), picture)
        write_index_png(folder / "Annotations" / "disc" / f"{number:05}.png", mask)
        truths.append(mask > 0)
    np.save(folder / "truth.npy", np.stack(truths))
    return folder


def stills_recipe(data: Path, steps: int, model: ModelConfig = CONVNET, seed: int = 0) -> Recipe:
    """Boxes and clicks on stills, with a correction each, in two stages so that a run crosses from one to the next."""
    annotator = Annotator(mask_share=0.0, box_share=0.5, corrections=1)
    part = Part((Source(str(data), merge=0.2),), clips=4, sessions=2, objects=2, annotator=annotator)
    losses = LossWeights(focal=4.0)
    first = Stage(
        "first", steps // 2, 2e-3, (part,), Augmentation(SIZE, degrees=10), warmup=5, supervision=2, losses=losses
    )
    second = Stage("second", steps - steps // 2, 1e-3, (part,), Augmentation(SIZE), supervision=2, losses=losses)
    optimiser = OptimiserConfig(weight_decay=0.05, clip=1.0, ema=0.9)
    return Recipe("tiny", model, (first, second), optimiser, seed=seed)


def clip_recipe(data: Path, steps: int, num_frames: int) -> Recipe:
    """Tracking through one clip from a mask, a box or a click on its first frame."""
    annotator = Annotator(mask_share=0.4, box_share=0.3, max_prompted=1, max_corrected=1, corrections=1)
    part = Part((Source(str(data)),), frames=num_frames, sessions=1, objects=1, annotator=annotator)
    plain = Augmentation(SIZE, flip=0.0)
    stage = Stage("clip", steps, 3e-3, (part,), plain, warmup=10, losses=LossWeights(focal=4.0))
    return Recipe("overfit", CONVNET, (stage,), OptimiserConfig(weight_decay=0.0, clip=1.0))
