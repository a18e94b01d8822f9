"""One simulated annotation session on a batch of clips, through the same functions that track at inference.

The order is the official trainer's: the prompted frames first, then the others in time; each frame is conditioned
once and decoded once for its prompt and once for each correction click. Nothing is detached or stored at lower
precision, so gradients reach back through the memories. Source: paper section 4 and the official `SAM2Train`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from masklet.data.prompts import jittered_box, next_click
from masklet.errors import InputError
from masklet.ops.coordinates import BOTTOM_RIGHT, PAD, TOP_LEFT, Points
from masklet.ops.resize import resize_bilinear
from masklet.tracking.memory import FrameResult, RecallPlan, plan_recall
from masklet.tracking.step import Cue, commit, condition_frame, decode_frame, draft

if TYPE_CHECKING:
    from masklet.model.image_encoder import ImageFeatures
    from masklet.model.network import Decoded, Network

PromptKind = Literal["mask", "box", "click"]


@dataclass(frozen=True)
class Annotator:
    """How a session is prompted; the defaults are the paper's.

    mask_share and box_share: how often the first prompts are masks or boxes, otherwise clicks. Stills never get masks,
    and boxes and clicks in the same proportion as clips do.
    max_prompted and max_corrected: up to so many frames of a clip are prompted and get correction clicks, the prompted
    ones always; corrections: clicks on each of those; truth_share: how often a correction ignores the errors and falls
    anywhere on the object. second_looks: how often a correction adds no click, so that the model learns to better its
    own answer. box_jitter: how far an edge of a box may be off, as a part of the box's side, under a half. Raises
    `InputError` for shares outside 0 to 1 and counts out of range.
    """

    mask_share: float = 0.5
    box_share: float = 0.25
    max_prompted: int = 2
    max_corrected: int = 2
    corrections: int = 7
    truth_share: float = 0.1
    box_jitter: float = 0.1
    second_looks: float = 0.0

    def __post_init__(self) -> None:
        for name in ("mask_share", "box_share", "truth_share", "second_looks"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} lies in 0 to 1; got {getattr(self, name):g}")
        if self.mask_share + self.box_share > 1:
            raise InputError(
                f"mask_share and box_share are parts of one whole; got {self.mask_share:g} and {self.box_share:g}"
            )
        if not 0 <= self.box_jitter < 0.5:
            raise InputError(f"box_jitter lies in 0 to under 0.5; got {self.box_jitter:g}")
        if self.max_prompted < 1 or self.max_corrected < 0 or self.corrections < 0:
            raise InputError(
                "at least one frame is prompted and no count is below 0; got "
                f"max_prompted {self.max_prompted}, max_corrected {self.max_corrected}, corrections {self.corrections}"
            )


@dataclass(frozen=True)
class SessionPlan:
    """What one session does: the frames that are prompted, with what kind of prompt each, and those then corrected."""

    kinds: tuple[PromptKind, ...]
    prompted: tuple[int, ...]
    corrected: tuple[int, ...]

    def kind(self, frame: int) -> PromptKind | None:
        """What a frame is first prompted with, None for one that is tracked."""
        return self.kinds[self.prompted.index(frame)] if frame in self.prompted else None

    def order(self, num_frames: int) -> list[int]:
        """Every frame once, in the order of processing."""
        return [*self.prompted, *(frame for frame in range(num_frames) if frame not in self.prompted)]


def plan_session(
    annotator: Annotator, num_frames: int, generator: np.random.Generator, part: int = 0, parts: int = 1
) -> SessionPlan:
    """Draw a plan: masks on all prompted frames, or a box or a click on each. Where a batch gets several sessions,
    number `part` of `parts` draws its first kind from its own slice of the distribution, so that one batch sees
    different kinds.
    """
    masks = annotator.mask_share if num_frames > 1 else 0.0
    points = 1.0 - annotator.mask_share
    boxes = annotator.box_share / points if points else 0.0
    draw = (part + generator.random()) / parts
    if draw < masks:
        kind: PromptKind = "mask"
    else:
        kind = "box" if (draw - masks) / (1 - masks) < boxes else "click"
    # A frame that is given its mask teaches nothing itself: one at least is left to be tracked.
    most_prompted = min(annotator.max_prompted, num_frames - 1 if kind == "mask" else num_frames)
    num_prompted = int(generator.integers(1, most_prompted + 1))
    later = generator.permutation(np.arange(1, num_frames)).tolist()
    prompted = (0, *later[: num_prompted - 1])
    more: list[PromptKind] = [
        "mask" if kind == "mask" else "box" if generator.random() < boxes else "click" for _ in prompted[1:]
    ]
    most_corrected = max(num_prompted, min(annotator.max_corrected, num_frames))
    num_corrected = 0 if kind == "mask" else int(generator.integers(num_prompted, most_corrected + 1))
    return SessionPlan((kind, *more), prompted, (0, *later[: num_corrected - 1]) if num_corrected else ())


@dataclass(frozen=True, eq=False)
class TrainingDecoding:
    """One decoding of one frame in a session: `correction` counts the clicks after the first prompt."""

    frame: int
    correction: int
    decoded: Decoded


class Session:
    """r objects, each on its own clip, annotated and tracked through the clips' t frames.

    features: one `ImageFeatures` of batch r for each frame; masks: bool [r t S S], the truth.
    """

    def __init__(
        self,
        model: Network,
        features: Sequence[ImageFeatures],
        masks: Tensor,
        plan: SessionPlan,
        annotator: Annotator,
        generator: np.random.Generator,
    ) -> None:
        self.model = model
        self.features = features
        self.masks = masks
        self.plan = plan
        self.annotator = annotator
        self.generator = generator
        self.history: dict[int, FrameResult] = {}

    def decodings(self) -> Iterator[TrainingDecoding]:
        """Run the session; every decoding that a loss applies to, in order. Adopted masks need no loss."""
        order = self.plan.order(len(self.features))
        for position, frame in enumerate(order):
            if self.plan.kind(frame) == "mask":
                decoded = self._adopt(frame)
            else:
                for decoding in self._annotate(frame):
                    decoded = decoding.decoded
                    yield decoding
            if position + 1 < len(order):
                self.history[frame] = self._remember(frame, decoded)

    def _adopt(self, frame: int) -> Decoded:
        features = self.features[frame]
        truth = self.masks[:, frame, None].float()  # the mask is resized, which CPUs do not do in bfloat16
        return decode_frame(self.model, features, features.stride16, Cue(mask=truth))

    def _annotate(self, frame: int) -> Iterator[TrainingDecoding]:
        """Decode a frame from its prompt or its memories, then once for each correction."""
        prompted = frame in self.plan.prompted
        features = self.features[frame]
        recalls = [] if prompted else [(self.history, self._recall(frame))]
        conditioned = condition_frame(self.model, features, recalls)
        cue = Cue(points=self._first_points(frame) if prompted else None)
        decoded = self._decode(features, conditioned, cue)
        yield TrainingDecoding(frame, 0, decoded)
        for correction in range(self.annotator.corrections if frame in self.plan.corrected else 0):
            points = cue.points
            if points is None or not self._looks_again():
                click = self._correct(frame, decoded.logits)
                points = click if points is None else points.followed_by(click)
            cue = Cue(points=points, earlier_logits=decoded.logits)
            decoded = self._decode(features, conditioned, cue)
            yield TrainingDecoding(frame, correction + 1, decoded)

    def _decode(self, features: ImageFeatures, conditioned: Tensor, cue: Cue) -> Decoded:
        """One decoding at a time, each with a loss of its own; nothing is done over behind the loss's back."""
        return decode_frame(self.model, features, conditioned, cue, stability_fallback=False, second_look=False)

    def _looks_again(self) -> bool:
        share = self.annotator.second_looks
        return share > 0 and self.generator.random() < share

    def _recall(self, frame: int) -> RecallPlan:
        conditioning = {number for number, result in self.history.items() if result.conditioning}
        tracked = self.history.keys() - conditioning
        num_frames = len(self.features)
        return plan_recall(
            frame, conditioning=conditioning, tracked=tracked, num_frames=num_frames, coming_pointers=True
        )

    def _remember(self, frame: int, decoded: Decoded) -> FrameResult:
        """Encode what was decided on a frame. A corrected frame conditions those after it, as a prompted one does.

        Masks stay soft, as in the official trainer: binarising has no gradient.
        """
        conditioning = frame in self.plan.prompted or frame in self.plan.corrected
        result = draft(frame, decoded, conditioning=conditioning)
        return commit(self.model, self.features[frame], result, binarise=False, memory_dtype=None)

    def _first_points(self, frame: int) -> Points:
        """A box or a click for each object; where the object is absent, a click on what it is not."""
        boxed = self.plan.kind(frame) == "box"
        rows = []
        for truth in self.masks[:, frame].cpu().numpy():
            if boxed and truth.any():
                x0, y0, x1, y1 = jittered_box(truth, self.generator, self.annotator.box_jitter).tolist()
                rows.append([(x0, y0, TOP_LEFT), (x1, y1, BOTTOM_RIGHT)])
            else:
                x, y, label = next_click(truth, np.zeros_like(truth), self.generator)
                padding = [(0.0, 0.0, PAD)] if boxed else []
                rows.append([(x, y, label), *padding])
        return to_points(rows, self.masks.device)

    def _correct(self, frame: int, logits: Tensor) -> Points:
        """A click for each object, drawn from where the prediction is wrong, now and then from the whole object."""
        truths = self.masks[:, frame]
        resized = resize_bilinear(logits.detach().float(), *truths.shape[-2:])
        predictions = (resized[:, 0] > 0).cpu().numpy()
        rows = []
        for truth, predicted in zip(truths.cpu().numpy(), predictions):
            if self.generator.random() < self.annotator.truth_share:
                predicted = np.zeros_like(truth)
            x, y, label = next_click(truth, predicted, self.generator)
            rows.append([(x, y, label)])
        return to_points(rows, self.masks.device)


def to_points(rows: Sequence[Sequence[tuple[float, float, int]]], device: torch.device) -> Points:
    """r rows of n points (x, y, label) in model pixels."""
    table = torch.tensor(rows, dtype=torch.float32, device=device)
    return Points(xy=table[..., :2], label=table[..., 2].to(torch.int32))
