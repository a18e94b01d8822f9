"""Things put together: a rider on a machine, a figure in a boat, a load on a back, seen as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from masklet.data.synthetic.sprites import Sprite, SpriteSource, clear_margin, continue_colours, shares_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

RELATIVE_SIDE = (0.35, 1.1)
"""The second thing's longer side as a share of the first's."""


class Assemblies:
    """Two things from other sources as one, the second on some part of the first, before it or behind it.

    sources: of still sprites, with the weight of each. Raises `InputError` where there is none.
    """

    def __init__(self, sources: Sequence[tuple[SpriteSource, float]]) -> None:
        self.sources = tuple(source for source, _ in sources)
        self.shares = shares_of([weight for _, weight in sources], "assemblies")

    def sprite(self, generator: np.random.Generator) -> Sprite:
        """One assembly, as large as its two things need."""
        first, second = (self._part(generator) for _ in range(2))
        second = _sized(second, first.longest_side * float(np.exp(generator.uniform(*np.log(RELATIVE_SIDE)))))
        if generator.random() < 0.5:
            second = Sprite(np.ascontiguousarray(second.colour[:, ::-1]), np.ascontiguousarray(second.alpha[:, ::-1]))
        holds = np.argwhere(first.alpha > 127)
        if not len(holds):
            return first
        offset = holds[generator.integers(len(holds))] - np.array(second.alpha.shape) // 2
        return put_together(first, second, offset, in_front=bool(generator.random() < 0.6))

    def _part(self, generator: np.random.Generator) -> Sprite:
        part = self.sources[generator.choice(len(self.sources), p=self.shares)].sprite(generator)
        return Sprite(continue_colours(part.colour, part.alpha), part.alpha)


def put_together(first: Sprite, second: Sprite, offset: NDArray[np.integer], *, in_front: bool) -> Sprite:
    """Both on one canvas, the upper left corner of the second `offset` rows and columns from the first's."""
    places = np.stack([np.zeros(2, np.int64), offset])
    places -= places.min(0)
    height, width = (places + np.array([first.alpha.shape, second.alpha.shape])).max(0)
    colour, alpha = np.zeros((height, width, 3), np.float32), np.zeros((height, width, 1), np.float32)
    parts = [(first, places[0]), (second, places[1])]
    for part, (top, left) in parts if in_front else reversed(parts):
        window = np.s_[top : top + part.alpha.shape[0], left : left + part.alpha.shape[1]]
        cover = part.alpha[..., None].astype(np.float32) / 255
        beneath = alpha[window] * (1 - cover)
        alpha[window] = cover + beneath
        # Where nothing is opaque yet, colours count as they stand: they are what soft edges are made of.
        share = np.divide(cover, alpha[window], out=np.ones_like(cover), where=alpha[window] > 0)
        colour[window] += share * (part.colour - colour[window])
    return Sprite(colour.round().astype(np.uint8), clear_margin((alpha[..., 0] * 255).round().astype(np.uint8)))


def _sized(sprite: Sprite, side: float) -> Sprite:
    """A sprite with a longer side of about `side` pixels."""
    scale = side / sprite.longest_side
    height, width = (max(1, round(length * scale)) for length in sprite.alpha.shape)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    colour, alpha = (cv2.resize(part, (width, height), interpolation=how) for part in (sprite.colour, sprite.alpha))
    return Sprite(np.asarray(colour, np.uint8), np.asarray(alpha, np.uint8))
