"""SA-V JSON as annotations: a file for each clip, its frames known by number, overlapping masks kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pycocotools import mask as coco

from masklet.errors import InputError
from masklet.io.annotations import (
    Annotations,
    Capacity,
    Frame,
    ObjectMask,
    losses,
    object_tracks,
    single_size,
    unread_fields,
)
from masklet.io.files import files_below
from masklet.io.formats.targets import clip_files
from masklet.io.sav import ANNOTATION_STRIDE, SavMasklets, read_sav, write_sav
from masklet.ops.rle import encode_rle

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_FRAMES = 100_000
"""An hour of video has fewer; a larger number is a time or a date."""

CAPACITY = Capacity(stills=False, categories=False, names=False)


def recognise(path: Path, contents: Any) -> bool:
    """Whether the file, or the first JSON file of the folder, has SA-V's layout."""
    return isinstance(contents, dict) and {"masklet", "video_id"} <= contents.keys()


def read(path: Path, images: Path | None = None) -> Annotations:
    """Read an annotation file, or a folder of them; stability scores become scores.

    A clip is called by its video's id, with the kind of its masklets behind where the folder has both kinds of it.
    Raises `InputError` naming the file.
    """
    files = files_below(path, ".json") if path.is_dir() else [path]
    if not files:
        raise InputError(f"no JSON files in {path} or the folders in it")
    videos = [read_sav(file) for file in files]
    ids = [video.video_id for video in videos]
    frames = []
    for video in videos:
        clip = video.video_id if ids.count(video.video_id) == 1 else f"{video.video_id}_{video.kind}"
        frames += _frames(video, clip)
    further = {
        "masklet_edited_frame_count": any(any(video.edited) for video in videos),
        "video_environment": any(video.environment for video in videos),
        "video_split": any(video.split not in ("", SavMasklets.split) for video in videos),
    }
    return Annotations(tuple(frames), unread=unread_fields([name for name, there in further.items() if there]))


def write(annotations: Annotations, path: Path, polygons: bool = False) -> list[str]:
    """Write a folder with `CLIP_manual.json` for each clip, or `CLIP_auto.json` where every mask has a score.

    Of clips whose frames are numbered one by one, or all by fours, frames 0, 4, 8, ... are kept; those of all others
    are counted 0, 4, 8, ... anew. Returns what could not be kept. Raises `InputError` for a clip of several sizes, or
    that has no mask on the frames kept.
    """
    unscored, renamed, dropped, counted = 0, False, 0, 0
    groups = annotations.groups
    for file, (_, frames) in zip(clip_files(path, groups, ""), groups, strict=True):
        name = frames[0].clip or frames[0].stem
        numbered = None if frames[0].clip is None else _by_number(frames)  # stills are numbered as they like
        if numbered:
            dropped += sum(number % ANNOTATION_STRIDE > 0 for number in numbered)
            num_frames = max(numbered) + 1
            frames = every_fourth(numbered, num_frames, name)
            video = replace(as_masklets(name, frames), num_frames=num_frames)
        else:
            counted += len(frames) > 1
            video = as_masklets(name, frames)
        unscored += sum(mask.score is not None for frame in frames for mask in frame.masks) * (video.kind == "manual")
        renamed |= any(frame.name != _frame_name(place) for place, frame in enumerate(frames))
        write_sav(video, file.with_name(f"{file.name}_{video.kind}.json"))
    found = losses(annotations, replace(CAPACITY, scores=True, names=not renamed))
    if dropped:
        found.append(f"frames: {dropped} are not kept, for SA-V annotates every fourth")
    if counted:
        found.append(
            f"frame numbers: those of {counted} clips are counted 0, 4, 8, ... anew, for they are numbered neither one "
            "by one nor by fours"
        )
    if unscored:
        found.append(f"scores: those of {unscored} masks are not kept, for not every mask of their clip has one")
    return found


def every_fourth(numbered: Mapping[int, Frame], num_frames: int, clip: str) -> tuple[Frame, ...]:
    """Of a clip's frames by number those numbered 0, 4, 8, ..., without masks where there is none.

    Raises `InputError` where only others have masks, or the clip has several sizes.
    """
    size = single_size(clip, tuple(numbered.values()))
    places = range(0, num_frames, ANNOTATION_STRIDE)
    kept = tuple(numbered.get(number, Frame(f"{number:05d}.jpg", size, (), clip)) for number in places)
    if any(frame.masks for frame in numbered.values()) and not any(frame.masks for frame in kept):
        raise InputError(f"{clip}: none of the frames 0, 4, 8, ..., which SA-V annotates, has a mask")
    return kept


def _by_number(frames: tuple[Frame, ...]) -> dict[int, Frame] | None:
    """Frames by the numbers that they are called, where these are of a video as SA-V has it: some follow one another
    without a gap, one by one or all by fours. Else, as with milliseconds or dates, None."""
    stems = [Path(frame.name).stem for frame in frames]
    if not all(stem.isdecimal() for stem in stems):
        return None
    numbered = {int(stem): frame for stem, frame in zip(stems, frames, strict=True)}
    by_fours = all(number % ANNOTATION_STRIDE == 0 for number in numbered)
    step = ANNOTATION_STRIDE if by_fours else 1
    is_video = any(number + step in numbered for number in numbered) or (by_fours and len(numbered) == 1)
    return numbered if is_video and max(numbered) < MAX_FRAMES else None


def _frame_name(place: int) -> str:
    return f"{place * ANNOTATION_STRIDE:05d}.jpg"


def _frames(video: SavMasklets, clip: str) -> list[Frame]:
    frames = []
    for place, rles in enumerate(video.masks):
        scores = video.stability[place] if video.stability else [None] * len(rles)
        masks = tuple(
            ObjectMask(object_id, rle, score=score)
            for object_id, rle, score in zip(video.object_ids, rles, scores, strict=True)
            if coco.area(rle)
        )
        frames.append(Frame(_frame_name(place), video.size, masks, clip))
    return frames


def as_masklets(name: str, frames: tuple[Frame, ...]) -> SavMasklets:
    """The frames of one clip, every fourth of its video, as SA-V's masklets. Raises `InputError` for several sizes."""
    size = single_size(name, frames)
    tracks = object_tracks(frames)
    scores = [mask.score for frame in frames for mask in frame.masks]
    scored = bool(scores) and None not in scores
    absent = ObjectMask(0, encode_rle(np.zeros(size, bool)), score=0.0)
    rows = [[track[place] or absent for track in tracks.values()] for place in range(len(frames))]
    return SavMasklets(
        video_id=name,
        kind="auto" if scored else "manual",
        size=size,
        num_frames=(len(frames) - 1) * ANNOTATION_STRIDE + 1,
        object_ids=tuple(tracks),
        masks=tuple(tuple(dict(mask.rle) for mask in row) for row in rows),
        stability=tuple(tuple(mask.score or 0.0 for mask in row) for row in rows) if scored else None,
    )
