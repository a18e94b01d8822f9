"""The memory bank of one object: what is kept, what a frame recalls, what may be let go.

`plan_recall` deals in whole numbers only, `gather` in tensors only, so that each can be read and tested alone.
Source: SAM 2 paper, section 4 and appendix D.1; official `sam2_base.py`, `_prepare_memory_conditioned_features`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Container, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from masklet.model.layers import to_tokens
from masklet.model.memory_attention import MemoryTokens
from masklet.model.network import NUM_TEMPORAL_SLOTS, Network

MAX_POINTERS = 16
"""Object pointers reach this many frames back, the present frame counted."""


@dataclass(frozen=True, eq=False)
class FrameResult:
    """What is known of an object (or of b objects in step) on one frame.

    logits: [b 1 4h 4w], None once let go; pointer: [b c]; presence: [b 1] logits; memory: [b m h w], None
    before it is committed and once let go; conditioning: whether frames far away recall it too.
    """

    frame: int
    logits: Tensor | None
    pointer: Tensor
    presence: Tensor
    memory: Tensor | None = None
    conditioning: bool = False

    def row(self, index: int) -> FrameResult:
        """One object of several in step, b = 1, in storage of its own, so that the others can be let go."""
        return self._each(lambda tensor: tensor[index : index + 1].clone())

    def to(self, device: torch.device) -> FrameResult:
        """The same on another device."""
        return self._each(lambda tensor: tensor.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> FrameResult:
        return replace(
            self,
            logits=None if self.logits is None else change(self.logits),
            pointer=change(self.pointer),
            presence=change(self.presence),
            memory=None if self.memory is None else change(self.memory),
        )

    @property
    def num_bytes(self) -> int:
        """Bytes its tensors hold, exactly."""
        tensors = (self.logits, self.pointer, self.presence, self.memory)
        return sum(tensor.untyped_storage().nbytes() for tensor in tensors if tensor is not None)


NUM_RECENT = NUM_TEMPORAL_SLOTS - 1
"""Slots for the frames before; the other one is the conditioning frames'."""

History = Mapping[int, FrameResult]


@dataclass(frozen=True)
class RecallPlan:
    """Which memories a frame sees.

    maps: (frame, temporal slot) of whole memories; pointers: (frame, offset in frames) of object pointers; longest: the
    offset that counts as one unit of pointer time.
    """

    maps: tuple[tuple[int, int], ...]
    pointers: tuple[tuple[int, int], ...]
    longest: int


def plan_recall(
    frame: int,
    *,
    conditioning: Collection[int],
    tracked: Container[int],
    num_frames: int | None,
    reverse: bool = False,
    stride: int = 1,
    coming_pointers: bool = False,
    max_conditioning: int | None = None,
    recent: int = NUM_RECENT,
) -> RecallPlan:
    """Which of the frames at hand `frame` recalls.

    conditioning, tracked: frame numbers with a memory, disjoint. num_frames: length of the video, None where it has no
    known end; pointer time is normalised by it while it is under `MAX_POINTERS`, a stream taking a long video's rule.
    reverse: tracking towards frame 0. stride: of the recalled frames but for the nearest. recent: of how many
    frames back the whole memory is recalled, at most one for each slot; of those farther back pointers alone.

    All conditioning frames are recalled, the future's too, but only the pointers of those already passed; with
    `coming_pointers` all pointers, as in training, with a negative offset where the frame is yet to come. Where they
    are more than `max_conditioning`, the nearest are, and the others count as tracked (official
    `max_cond_frames_in_attn`).
    """
    known = nearest_frames(frame, conditioning, max_conditioning)
    others = frozenset(conditioning).difference(known)
    maps = [(past, 0) for past in known]
    for slot in range(NUM_TEMPORAL_SLOTS - recent, NUM_TEMPORAL_SLOTS):
        past = _recent_frame(frame, NUM_TEMPORAL_SLOTS - slot, reverse, stride)
        if past in tracked or past in others:
            maps.append((past, slot))

    count = MAX_POINTERS if num_frames is None else min(num_frames, MAX_POINTERS)
    offsets = {past: past - frame if reverse else frame - past for past in known}
    pointers = [(past, offset) for past, offset in offsets.items() if offset >= 0 or coming_pointers]
    for offset in range(1, count):
        past = frame + offset if reverse else frame - offset
        if past in tracked or past in others:
            pointers.append((past, offset))
    return RecallPlan(tuple(maps), tuple(pointers), longest=count - 1)


def nearest_frames(frame: int, numbers: Collection[int], most: int | None) -> list[int]:
    """Of frame `numbers` the `most` nearest to `frame`, ascending; among them always the last before it and the first
    from it on. None for all. Source: official `select_closest_cond_frames`.
    """
    known = sorted(numbers)
    if most is None or len(known) <= most:
        return known
    at = bisect_left(known, frame)
    either_side = known[max(at - 1, 0) : at + 1]
    farther = sorted(set(known).difference(either_side), key=lambda number: (abs(number - frame), number))
    return sorted([*either_side, *farther[: most - len(either_side)]])


def _recent_frame(frame: int, distance: int, reverse: bool, stride: int) -> int:
    """The `distance`-th most recent memory frame: the neighbour, then multiples of `stride`."""
    if reverse:
        return -_recent_frame(-frame, distance, False, stride)
    if distance == 1:
        return frame - 1
    return ((frame - 2) // stride - (distance - 2)) * stride


def gather(model: Network, history: History, plan: RecallPlan) -> MemoryTokens:
    """The memories of a plan as tokens, on the model's device and in its dtype; differentiable. The plan has maps."""
    kept = [recalled(history[frame].memory, frame) for frame, _ in plan.maps]
    # Where they are kept elsewhere they travel as small as they are, and become larger here.
    memories = [memory.to(model.device).to(model.dtype) for memory in kept]
    batch, width, map_height, map_width = memories[0].shape
    tokens = [to_tokens(memory) for memory in memories]
    positions = [model.memory_positions(map_height, map_width, [slot for _, slot in plan.maps])]
    num_pointer_tokens = 0
    if plan.pointers:
        pointers = torch.stack([history[frame].pointer for frame, _ in plan.pointers], dim=1)
        # A pointer is wider than a memory: it is cut into several tokens, which share a time.
        parts = pointers.shape[-1] // width
        tokens.append(pointers.to(model.device).to(model.dtype).reshape(batch, -1, width))
        offsets = torch.tensor([offset for _, offset in plan.pointers], device=model.device)
        positions.append(model.pointer_positions(offsets, plan.longest).repeat_interleave(parts, dim=0))
        num_pointer_tokens = len(plan.pointers) * parts
    return MemoryTokens(
        tokens=torch.cat(tokens, dim=1),
        position=torch.cat(positions).expand(batch, -1, -1),
        num_pointer_tokens=num_pointer_tokens,
    )


def recalled(memory: Tensor | None, frame: int) -> Tensor:
    """A memory that must be there: plans name only frames that were committed and not let go."""
    assert memory is not None, f"frame {frame} is planned for recall but holds no memory"
    return memory


def stack_memories(memories: Sequence[MemoryTokens]) -> MemoryTokens:
    """Memories of several objects, of one shape, along the batch."""
    if len(memories) == 1:
        return memories[0]
    return MemoryTokens(
        tokens=torch.cat([memory.tokens for memory in memories]),
        position=torch.cat([memory.position for memory in memories]),
        num_pointer_tokens=memories[0].num_pointer_tokens,
    )


def let_go(
    history: MutableMapping[int, FrameResult],
    frame: int,
    *,
    reverse: bool = False,
    stride: int = 1,
    max_conditioning: int | None = None,
    recent: int = NUM_RECENT,
) -> None:
    """Drop, now that `frame` is committed, whatever neither it nor a later frame of the same pass will recall.

    By frame number, not by count: of conditioning frames the memory stays or, with `max_conditioning`, that of so many
    passed last, while the others become tracked ones; of tracked frames the memory stays while one of the `recent`
    slots can name it, the pointer while it is within reach. What `frame` itself recalled stays too, since it may be
    decoded again for a correction.
    """
    sign = -1 if reverse else 1
    oldest_map = _recent_frame(sign * frame, recent, False, stride)
    passed = [past for past, result in history.items() if result.conditioning and sign * past <= sign * frame]
    lasting = frozenset(nearest_frames(frame, passed, max_conditioning))
    for past in list(history):
        result = history[past]
        place, age = sign * past, sign * (frame - past)
        if age <= 0:
            continue
        if result.conditioning and past in lasting:
            history[past] = replace(result, logits=None)
            continue
        if age == 1 or (place >= oldest_map and place % stride == 0):
            history[past] = replace(result, logits=None, conditioning=False)
        elif age < MAX_POINTERS:
            history[past] = replace(result, logits=None, conditioning=False, memory=None)
        else:
            del history[past]
