"""Endless training clips with perfect masks, painted from cut-outs that move over photographs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from masklet.data.clips import Clip, ClipDataset
from masklet.data.colours import ColourJitter
from masklet.data.synthetic.finish import FinishRange
from masklet.data.synthetic.layers import Layer, Shadow, prepare_rgba
from masklet.data.synthetic.motion import MotionRange, draw_camera, draw_elastic, draw_path
from masklet.data.synthetic.parts import recolour_parts
from masklet.data.synthetic.sprites import MovingSource, Sprite, SpriteSource, draw_still, shares_of
from masklet.data.synthetic.textures import draw_texture
from masklet.data.transforms import warp_mask, warp_picture

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class SceneRange:
    """What scenes are drawn from.

    objects: least and most things pasted; sides: their longer side as a share of the frame; twin: probability that a
    thing comes twice, a second one for trackers to confuse it with; squash: aspect ratio, up to this factor both
    ways for backgrounds and its square root for things, since pictures are squashed to a square; view: the share of a
    background picture's sides that is seen; plain, scenic: probability of a procedural background, and of scenery if
    there is any; soft_body, shadow, blend, recolour: probability that a thing bends, casts a shadow, takes on the
    background's colours, has parts of other colours.
    """

    objects: tuple[int, int] = (1, 6)
    sides: tuple[float, float] = (0.12, 0.75)
    twin: float = 0.15
    squash: float = 1.8
    view: tuple[float, float] = (0.45, 1.0)
    plain: float = 0.06
    scenic: float = 0.3
    soft_body: float = 0.5
    shadow: float = 0.25
    blend: float = 0.5
    recolour: float = 0.0
    colour: ColourJitter = field(default=ColourJitter(0.25, 0.25, 0.4, 0.04, 0.03, 1.3))
    motion: MotionRange = field(default=MotionRange())
    finish: FinishRange = field(default=FinishRange())


class SyntheticClips:
    """Clips (or stills) of `size` x `size` pixels: things moved over pictures by a moving camera.

    backgrounds: pictures; their own objects, if they have masks, stay objects of the scene. sprites: sources of things
    with the weight of each. scenery: pictures of places, which take the background's place now and then. Entry `index`
    takes that picture as the background; all else is drawn, so that the same entry is another clip every time.
    """

    def __init__(
        self,
        backgrounds: ClipDataset,
        sprites: Sequence[tuple[SpriteSource | MovingSource, float]],
        size: int,
        scene: SceneRange | None = None,
        scenery: ClipDataset | None = None,
    ) -> None:
        self.backgrounds = backgrounds
        self.sources = tuple(source for source, _ in sprites)
        self.shares = shares_of([weight for _, weight in sprites], "synthetic clips")
        self.size = size
        self.scene = scene or SceneRange()
        self.scenery = scenery

    def __len__(self) -> int:
        return len(self.backgrounds)

    def clip(self, index: int, generator: np.random.Generator, num_frames: int = 1) -> Clip:
        """A new clip over background `index`; every frame has perfect masks."""
        background = self._background(index, generator)
        times = np.linspace(0, 1, num_frames) if num_frames > 1 else np.zeros(1)
        camera = draw_camera(times, generator, self.scene.motion)
        frames, masks = film(background, camera, self.size, self.scene, generator)
        taken = int(masks.max())
        for layer in self._layers(camera, times, frames[0], taken + 1, generator):
            for k in range(num_frames):
                layer.paint(frames[k], masks[k], k)
        finish = self.scene.finish.draw(num_frames, self.size, generator)
        finished = np.stack([finish.apply(frame, k, generator) for k, frame in enumerate(frames)])
        return Clip(finished, masks, f"synthetic over {background.name}")

    def _background(self, index: int, generator: np.random.Generator) -> Clip:
        draw = generator.random()
        if draw < self.scene.plain:
            picture = draw_texture(self.size, self.size, generator)
            return Clip(picture[None], np.zeros((1, self.size, self.size), np.uint8), "a texture")
        if self.scenery is not None and draw < self.scene.plain + self.scene.scenic:
            return draw_still(self.scenery, generator)
        return self.backgrounds.clip(index, generator, 1)

    def _layers(
        self,
        camera: NDArray[np.float64],
        times: NDArray[np.floating],
        picture: NDArray[np.uint8],
        first_id: int,
        generator: np.random.Generator,
    ) -> list[Layer]:
        """The things of one scene, from the farthest to the nearest."""
        number = int(generator.integers(self.scene.objects[0], self.scene.objects[1] + 1))
        things: list[_Thing] = []
        while len(things) < number:
            twin = bool(things) and generator.random() < self.scene.twin
            things.append(things[-1] if twin else self._thing(picture, len(times), generator))
        stretch = _stretch(self.scene.squash, generator)
        return [
            self._layer(thing, camera, times, first_id + place, stretch, generator)
            for place, thing in enumerate(things)
        ]

    def _thing(self, picture: NDArray[np.uint8], num_frames: int, generator: np.random.Generator) -> _Thing:
        source = self.sources[generator.choice(len(self.sources), p=self.shares)]
        side = float(np.exp(generator.uniform(*np.log(self.scene.sides))))
        if isinstance(source, MovingSource):
            sprites = source.poses(generator, num_frames)
        else:
            sprites = [source.sprite(generator)]
        sprites = [sprite.shrunk(side * self.size * self.scene.motion.growth) for sprite in sprites]
        sprites = self._recoloured(sprites, picture, generator)
        soft = generator.random() < self.scene.soft_body
        poses = np.stack([prepare_rgba(sprite, soft_body=soft) for sprite in sprites])
        if generator.random() < 0.5:
            poses = np.ascontiguousarray(poses[:, :, ::-1])
        return _Thing(poses, side, soft)

    def _recoloured(
        self, sprites: list[Sprite], picture: NDArray[np.uint8], generator: np.random.Generator
    ) -> list[Sprite]:
        """The poses of one thing in other colours, all alike."""
        colour = np.concatenate([sprite.colour for sprite in sprites])
        alpha = np.concatenate([sprite.alpha for sprite in sprites])
        colour = self.scene.colour.draw(generator).apply(colour)
        if generator.random() < self.scene.blend:
            colour = _harmonise(colour, alpha, picture, float(generator.uniform(0.1, 0.7)))
        recoloured = [Sprite(part, sprite.alpha) for part, sprite in zip(np.split(colour, len(sprites)), sprites)]
        if self.scene.recolour and generator.random() < self.scene.recolour:
            return recolour_parts(recoloured, picture, generator)
        return recoloured

    def _layer(
        self,
        thing: _Thing,
        camera: NDArray[np.float64],
        times: NDArray[np.floating],
        object_id: int,
        stretch: NDArray[np.float64],
        generator: np.random.Generator,
    ) -> Layer:
        motion = self.scene.motion
        path = draw_path(times, generator, motion, side=thing.side, centre=generator.uniform(0.1, 0.9, 2))
        height, width = thing.poses.shape[1:3]
        longest = max(height, width)
        to_box = np.array([[1 / longest, 0, -width / 2 / longest], [0, 1 / longest, -height / 2 / longest], [0, 0, 1]])
        casts = generator.random() < self.scene.shadow
        return Layer(
            poses=thing.poses,
            paths=np.diag([self.size, self.size, 1.0]) @ camera @ path @ stretch @ to_box,
            object_id=object_id,
            elastic=draw_elastic(times, generator, motion.elastic) if thing.soft else None,
            softness=float(generator.uniform(0, 0.9)),
            shutter=float(generator.uniform(0, 0.8)) if generator.random() < 0.4 else 0.0,
            shadow=_shadow(thing.side * self.size, generator) if casts else None,
        )


@dataclass(frozen=True, eq=False)
class _Thing:
    """A sprite made ready: uint8 [p h w 4], its longer side as a share of the frame, whether it bends."""

    poses: NDArray[np.uint8]
    side: float
    soft: bool


def film(
    background: Clip, camera: NDArray[np.float64], size: int, scene: SceneRange, generator: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """A still picture filmed by a moving camera: frames [t size size 3] and index masks [t size size], uint16 1..n.

    camera: [t 3 3] the scene's movement in shares of the frame. The part of the picture that is filmed is laid so that
    no frame looks beyond the picture's edge.
    """
    seen = np.linalg.inv(camera)
    corners = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]], np.float64) @ seen.transpose(0, 2, 1)
    low, high = corners[..., :2].min((0, 1)), corners[..., :2].max((0, 1))
    share = generator.uniform(*scene.view)
    aspect = np.exp(generator.uniform(-0.5, 0.5) * np.log(scene.squash))
    sides = np.clip(share * np.array([aspect, 1 / aspect]), 0.2, 1.0)
    start = generator.uniform(0, 1, 2) * (1 - sides)
    scale = sides / (high - low)
    lay = np.array(
        [[scale[0], 0, start[0] - low[0] * scale[0]], [0, scale[1], start[1] - low[1] * scale[1]], [0, 0, 1]]
    )
    if generator.random() < 0.5:
        lay = np.array([[-1, 0, 1], [0, 1, 0], [0, 0, 1]]) @ lay
    height, width = background.size
    maps = np.diag([width, height, 1.0]) @ lay @ seen @ np.diag([1 / size, 1 / size, 1.0])
    frames = np.stack([warp_picture(background.frames[0], matrix, size) for matrix in maps])
    objects = renumber(background.masks[0])
    return frames, np.stack([warp_mask(objects, matrix, size) for matrix in maps])


def renumber(mask: NDArray[Any]) -> NDArray[np.uint16]:
    """An index mask [H W] with its objects as 1..n in their order: things to come find numbers above, up to 65535."""
    present = np.bincount(mask.ravel()) > 0
    present[0] = False
    return np.where(present, np.cumsum(present), 0).astype(np.uint16)[mask]


def _stretch(factor: float, generator: np.random.Generator) -> NDArray[np.float64]:
    """The squash of a scene's things, each along its own axes and kept to the same area."""
    aspect = np.exp(generator.uniform(-0.25, 0.25) * np.log(factor))
    return np.diag([aspect, 1 / aspect, 1.0])


def _shadow(side: float, generator: np.random.Generator) -> Shadow:
    offset = generator.normal(0, 0.08 * side, 2)
    return Shadow(
        (float(offset[0]), float(abs(offset[1]))), float(generator.uniform(1, 5)), float(generator.uniform(0.15, 0.55))
    )


def _harmonise(
    colour: NDArray[np.uint8], alpha: NDArray[np.uint8], picture: NDArray[np.uint8], amount: float
) -> NDArray[np.uint8]:
    """Move the mean and spread of a thing's colours towards the picture's by `amount` (1 is all the way)."""
    mean, spread = (value.ravel() for value in cv2.meanStdDev(colour, mask=(alpha > 127).astype(np.uint8)))
    aim_mean, aim_spread = (value.ravel() for value in cv2.meanStdDev(picture))
    gain = 1 + amount * (np.clip(aim_spread / np.maximum(spread, 4), 0.5, 2) - 1)
    shift = mean + amount * (aim_mean - mean) - mean * gain
    return np.clip(colour * gain.astype(np.float32) + shift.astype(np.float32), 0, 255).astype(np.uint8)
