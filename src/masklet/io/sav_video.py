"""Videos in SA-V's manner: their frames as pictures, their masklets drawn, and data of your own written as SA-V."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from masklet.errors import InputError, MaskletWarning, OutputError
from masklet.io.annotations import Annotations, Frame
from masklet.io.draw import draw_masks
from masklet.io.formats.sav import as_masklets, every_fourth
from masklet.io.frame_source import FrameSource
from masklet.io.frames import open_frames
from masklet.io.output import make_folder, spare_source
from masklet.io.sav import ANNOTATION_STRIDE, VIDEO_FPS, SavMasklets, write_sav
from masklet.io.video_writer import VideoWriter
from masklet.ops.rle import decode_rle, encode_rle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from masklet.types import Size

JPEG_QUALITY = 95
AUTO_ID_OFFSET = 1000
"""Added to the ids of automatic masklets where both kinds are drawn, so that colours differ."""


@dataclass(frozen=True)
class Extraction:
    """Frames of videos as JPEG files in `folder/VIDEO/00000.jpg`, at 24 a second or 6 (numbers 0, 4, 8, ...).

    Called with a video file; a callable object, so that worker processes can be handed it.
    """

    folder: Path
    fps: int

    def __post_init__(self) -> None:
        if self.fps not in (VIDEO_FPS, VIDEO_FPS // ANNOTATION_STRIDE):
            raise InputError(f"SA-V's frames are extracted at 24 or 6 a second, not {self.fps}")

    def target(self, video: Path) -> Path:
        """Where a video's frames go."""
        return self.folder / video.stem

    def __call__(self, video: Path) -> int:
        """Extract one video and return how many frames were written, 0 where they are there already.

        The folder appears under its name only when it is whole: what was broken off is done again. Raises `InputError`
        for a damaged video, `OutputError`.
        """
        target = self.target(video)
        if target.is_dir():
            self._check_rate(target)
            return 0
        partial = target.with_name(f".{target.name}.part")
        shutil.rmtree(partial, ignore_errors=True)  # it may hold frames of another rate
        make_folder(partial)
        stride = VIDEO_FPS // self.fps
        count = 0
        for number, frame in enumerate(open_frames(video)):
            if number % stride == 0:
                _save_jpeg(frame, partial / f"{number:05d}.jpg")
                count += 1
        partial.rename(target)
        return count

    def attempt(self, video: Path) -> int | InputError:
        """The same, but hands back what is wrong with a video, so that others can go on. Raises `OutputError`."""
        try:
            return self(video)
        except InputError as error:
            return error

    def _check_rate(self, target: Path) -> None:
        """Raise `InputError` where the frames in a finished folder were taken at the other rate."""
        all_frames = (target / "00001.jpg").is_file()
        if (target / f"{ANNOTATION_STRIDE:05d}.jpg").is_file() and all_frames != (self.fps == VIDEO_FPS):
            rate = VIDEO_FPS if all_frames else VIDEO_FPS // ANNOTATION_STRIDE
            raise InputError(f"{target} holds frames at {rate} a second; name another folder for {self.fps}")


def draw_video(video: str | Path, masklets: Sequence[SavMasklets], out: str | Path) -> int:
    """Write an mp4 of the annotated frames, six a second, with all masklets drawn; returns how many frames.

    Warns where they are of another video's id than the file is called by. Raises `InputError` where they are of another
    size or have frames that the video has not, `OutputError` where `out` cannot be written or is the video itself.
    """
    spare_source(video, Path(out))
    source = open_frames(video)
    for found in masklets:
        if found.size != source.size:
            raise InputError(
                f"the masklets are of a video of {found.size.width} x {found.size.height} pixels, {video} has "
                f"{source.size.width} x {source.size.height}"
            )
        if found.video_id != Path(video).stem:
            warnings.warn(
                f"{video} gets the {found.kind} masklets of {found.video_id}: is it that video?",
                MaskletWarning,
                stacklevel=2,
            )
    annotated = max((len(found.masks) for found in masklets), default=0)
    with VideoWriter(out, source.size, VIDEO_FPS / ANNOTATION_STRIDE) as writer:
        for place in range(annotated):
            try:
                frame = source[place * ANNOTATION_STRIDE]
            except IndexError as error:
                raise InputError(f"{video} ends before annotated frame {place}; they do not belong together") from error
            writer.write(draw_masks(frame, *_masks_at(masklets, place, frame.shape[:2])))
    return annotated


def write_sav_video(source: Any, annotations: Annotations, folder: str | Path, video_id: str) -> tuple[Path, Path]:
    """Write a clip of your own as SA-V has them: `ID.mp4` at 24 frames a second and `ID_manual.json`
    (or `_auto`, where every mask has a score).

    source: the frames, whatever `open_frames` takes; annotations: of this clip alone, its frames being called by their
    numbers or, where the source is pictures, as these are. Every fourth frame's masks are kept, as SA-V annotates. A
    clip with an odd side is one row or column larger as a video, and so are its masks. Returns the two paths. Raises
    `InputError` where the id is no file's name, sizes or names do not fit the video, or no frame 0, 4, 8, ... is
    annotated, and `OutputError` where a video or its annotations of that id are there already.
    """
    if not video_id or Path(video_id).name != video_id:
        raise InputError(f"a video's id becomes the name of its files; it cannot be {video_id!r}")
    folder = make_folder(folder)
    video = folder / f"{video_id}.mp4"
    for path in (video, *(folder / f"{video_id}_{kind}.json" for kind in ("manual", "auto"))):
        if path.exists():
            raise OutputError(f"{path} is there already; choose another id or folder")
    frames = open_frames(source)
    waiting = folder / f".{video_id}.part"  # takes its name once the masks are known to fit
    try:
        count, size = _write_mp4(frames, waiting)
        masklets = _as_large_as(size, sav_masklets(annotations, video_id, frames, count))
        document = folder / f"{video_id}_{masklets.kind}.json"
        write_sav(masklets, document)
        waiting.replace(video)
    finally:
        waiting.unlink(missing_ok=True)
    return video, document


def sav_masklets(annotations: Annotations, video_id: str, frames: FrameSource, num_frames: int) -> SavMasklets:
    """The masks on frames 0, 4, 8, ... of the only clip in `annotations` as SA-V's masklets.

    frames, num_frames: of the video, among which the annotations' names are looked for. Raises `InputError`.
    """
    if len(annotations.clips) != 1:
        raise InputError(f"masks of one clip are needed, there are {sorted(annotations.clips) or 'none'}")
    numbered = {_frame_number(frame, frames): frame for frame in annotations.frames if frame.clip is not None}
    if max(numbered) >= num_frames:
        raise InputError(f"frame {max(numbered)} is annotated, but the video has {num_frames} frames")
    kept = every_fourth(numbered, num_frames, video_id)
    masklets = replace(as_masklets(video_id, kept), num_frames=num_frames)
    if masklets.size != frames.size:
        raise InputError(
            f"the masks are of size {tuple(masklets.size)} (height, width), the video's {tuple(frames.size)}"
        )
    return masklets


def _as_large_as(size: Size, masklets: SavMasklets) -> SavMasklets:
    """Masks for a video of which odd sides were made even, as `VideoWriter` does: the last row or column once more."""
    if masklets.size == size:
        return masklets
    below, beside = size.height - masklets.size.height, size.width - masklets.size.width
    rows = tuple(
        tuple(encode_rle(np.pad(decode_rle(rle), ((0, below), (0, beside)), "edge")) for rle in row)
        for row in masklets.masks
    )
    return replace(masklets, size=size, masks=rows)


def _masks_at(masklets: Sequence[SavMasklets], place: int, size: tuple[int, int]) -> tuple[np.ndarray, list[int]]:
    ids, masks = [], []
    for found in masklets:
        if place >= len(found.masks):  # one file may be annotated for longer than the other
            continue
        offset = AUTO_ID_OFFSET * (found.kind == "auto" and len(masklets) > 1)
        ids += [object_id + offset for object_id in found.object_ids]
        masks += [decode_rle(rle) for rle in found.masks[place]]
    return np.array(masks, bool).reshape(-1, *size), ids


def _write_mp4(frames: Any, path: Path) -> tuple[int, Size]:
    """Copy a file that is an mp4 of 24 frames a second already, else encode anew, which makes odd sides even.

    Returns the number of frames and their size.
    """
    if Path(frames.name).suffix == ".mp4" and frames.fps and abs(frames.fps - VIDEO_FPS) < 0.05:
        count = sum(1 for _ in frames)  # one that breaks off says so
        try:
            shutil.copyfile(frames.name, path)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}") from error
        return count, frames.size
    count = 0
    with VideoWriter(path, frames.size, VIDEO_FPS) as writer:
        for frame in frames:
            writer.write(frame)
            count += 1
    return count, writer.size


def _frame_number(frame: Frame, frames: FrameSource) -> int:
    number = frames.number_of(Path(frame.name).stem)
    if number is None:
        raise InputError(
            f"{frame.path} is no frame of {frames.name}: the name must be that of the frame's file or, in a video, its "
            "number, such as 00004"
        )
    return number


def _save_jpeg(frame: np.ndarray, path: Path) -> None:
    try:
        Image.fromarray(frame).save(path, quality=JPEG_QUALITY)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
