"""Colour emoji as cut-outs, from a font with PNG strikes such as Noto Color Emoji (SIL Open Font License 1.1)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from masklet.data.synthetic.sprites import MARGIN, Sprite
from masklet.errors import InputError

STRIKE = 109
"""The one size in pixels that Noto Color Emoji holds."""

BLOCKS = (
    (0x1F300, 0x1F5FF),
    (0x1F600, 0x1F64F),
    (0x1F680, 0x1F6FF),
    (0x1F900, 0x1F9FF),
    (0x1FA70, 0x1FAFF),
    (0x2600, 0x27BF),
)
"""Ranges of Unicode that hold emoji."""

CODES = [code for first, last in BLOCKS for code in range(first, last + 1)]
GRINNING_FACE = 0x1F600

MIN_OPAQUE = 0.12
"""Glyphs that fill less of their box are missing or mere lines."""


class Glyphs:
    """Colour glyphs of the font at `path` (Debian: fonts-noto-color-emoji). Raises `InputError` where it has none."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._open()

    def sprite(self, generator: np.random.Generator) -> Sprite:
        """One glyph, each equally likely. Drawn when first wanted, then kept."""
        while True:
            code = CODES[generator.integers(len(CODES))]
            if code not in self._drawn:
                self._drawn[code] = self._draw(code)
            sprite = self._drawn[code]
            if sprite is not None:
                return sprite

    def __getstate__(self) -> dict[str, Any]:
        """Workers open the font anew: a font cannot be pickled."""
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path = state["path"]
        self._open()

    def _open(self) -> None:
        try:
            self._font = ImageFont.truetype(str(self.path), STRIKE)
        except OSError as error:
            raise InputError(f"{self.path} is not a font with glyphs of {STRIKE} pixels: {error}") from error
        self._drawn: dict[int, Sprite | None] = {}
        if self._draw(GRINNING_FACE) is None:
            raise InputError(f"{self.path} holds no colour emoji; give a font such as NotoColorEmoji.ttf")

    def _draw(self, code: int) -> Sprite | None:
        """One character, cropped; None where the font lacks it, or it is next to nothing, or has no colour."""
        canvas = Image.new("RGBA", (160, 160))
        ImageDraw.Draw(canvas).text((10, 10), chr(code), font=self._font, embedded_color=True)
        box = canvas.getbbox()
        if box is None:
            return None
        glyph = np.pad(np.array(canvas.crop(box)), ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)))
        opaque = glyph[..., 3] > 127
        if opaque.mean() < MIN_OPAQUE or not glyph[opaque][:, :3].any():
            return None
        alpha = np.ascontiguousarray(glyph[..., 3])
        # Pillow pastes what colours fonts hold onto clear black, so that they come darker the clearer they are.
        colour = np.minimum(glyph[..., :3] * (255 / np.maximum(alpha, 1))[..., None], 255).round().astype(np.uint8)
        return Sprite(colour, alpha)
