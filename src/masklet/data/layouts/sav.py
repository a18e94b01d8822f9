"""SA-V: videos at 24 frames a second, of which every fourth frame has masks."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from masklet.data.clips import Clip, choose_shown_frames
from masklet.data.layouts.painting import Masklet, is_visible, paint_masklets
from masklet.data.reading import read_frames, read_index_mask
from masklet.errors import InputError
from masklet.io.frames import open_frames
from masklet.io.palette import read_index_png
from masklet.io.sav import ANNOTATION_STRIDE, Kind, read_sav
from masklet.io.sav_folder import SavVideo, find_videos
from masklet.ops.rle import encode_rle
from masklet.types import Size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from masklet.io.frame_source import FrameSource
    from masklet.io.sav import SavMasklets


class SavFolder:
    """The videos of a folder of SA-V: of the training set (mp4 and JSON), or of the extracted others (JPEG and PNG).

    kinds: which annotations count, of those a video has; max_stride: see `choose_frames`, in
    annotated frames. Raises `InputError` naming the annotation without its video, or the folder without any.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        kinds: Collection[Kind] = ("manual", "auto"),
        max_stride: int = 1,
    ) -> None:
        self.folder = Path(folder)
        self.kinds = tuple(kinds)
        self.max_stride = max_stride
        self.videos = [video for video in find_videos(self.folder) if self._annotations(video) or video.objects]
        if not self.videos:
            raise InputError(f"no video in {self.folder} has annotations ({' or '.join(self.kinds)})")
        for video in self.videos:
            if video.video is None and video.frames is None:
                raise InputError(f"{(self._annotations(video) or video.objects)[0]} has no video {video.video_id}")

    def __len__(self) -> int:
        return len(self.videos)

    def clip(self, index: int, generator: np.random.Generator, num_frames: int = 1) -> Clip:
        """A run of `num_frames` annotated frames of video `index`, with as many of its objects as do not overlap.

        If possible it begins with a frame that shows an object.
        """
        video = self.videos[index]
        read = self._read_training if video.video is not None else self._read_extracted
        frames, masklets = read(video, num_frames, generator)
        masks = paint_masklets(masklets, num_frames, Size(*frames.shape[1:3]), generator)
        return Clip(frames, masks, str(video.video or video.frames))

    def _annotations(self, video: SavVideo) -> list[Path]:
        files = {"manual": video.manual, "auto": video.auto}
        return [path for kind in self.kinds if (path := files[kind]) is not None]

    def _choose(
        self, annotated: int, num_frames: int, generator: np.random.Generator, shows: Callable[[int], bool]
    ) -> list[int]:
        return choose_shown_frames(
            range(annotated),
            num_frames,
            generator,
            shows,
            max_stride=self.max_stride,
        )

    def _read_training(
        self, video: SavVideo, num_frames: int, generator: np.random.Generator
    ) -> tuple[NDArray[np.uint8], list[Masklet]]:
        files = {path: read_sav(path) for path in self._annotations(video)}
        # A file without objects takes nothing away from the other.
        files = {path: masklets for path, masklets in files.items() if masklets.object_ids} or files
        found = list(files.values())
        source = open_frames(video.video)
        for path, masklets in files.items():
            _check_fits(path, masklets, source)
        annotated = min(len(masklets.masks) for masklets in found)

        def shows(number: int) -> bool:
            return any(is_visible(rle) for masklets in found for rle in masklets.masks[number])

        chosen = self._choose(annotated, num_frames, generator, shows)
        in_order = {number: source[number * ANNOTATION_STRIDE] for number in sorted(set(chosen))}
        objects: list[Masklet] = [
            [masklets.masks[number][place] for number in chosen]
            for masklets in found
            for place in range(len(masklets.object_ids))
        ]
        return np.stack([in_order[number] for number in chosen]), objects

    def _read_extracted(
        self, video: SavVideo, num_frames: int, generator: np.random.Generator
    ) -> tuple[NDArray[np.uint8], list[Masklet]]:
        assert video.frames is not None
        names = sorted({path.stem for folder in video.objects for path in folder.glob("[!.]*.png")})
        if not names:
            raise InputError(f"{video.frames} has no masks: there is no PNG in {', '.join(map(str, video.objects))}")

        def shows(place: int) -> bool:
            paths = (folder / f"{names[place]}.png" for folder in video.objects)
            return any(read_index_png(path).any() for path in paths if path.is_file())

        chosen = [names[place] for place in self._choose(len(names), num_frames, generator, shows)]
        frames = read_frames([video.frames / f"{name}.jpg" for name in chosen])
        size = Size(*frames.shape[1:3])
        objects: list[Masklet] = [
            [
                encode_rle(read_index_mask(path, size) > 0) if (path := folder / f"{name}.png").is_file() else None
                for name in chosen
            ]
            for folder in video.objects
        ]
        return frames, objects


def _check_fits(path: Path, masklets: SavMasklets, source: FrameSource) -> None:
    """Raise `InputError` where the annotation at `path` is not one of the video `source`."""
    size, count = masklets.size, len(masklets.masks)
    if not count:
        raise InputError(f"{path} annotates no frame")
    if size != source.size:
        raise InputError(
            f"{source.name} is {source.size.width} x {source.size.height} pixels (width x height), "
            f"its annotation {path} {size.width} x {size.height}"
        )
    if (count - 1) * ANNOTATION_STRIDE >= len(source):
        raise InputError(
            f"{source.name} ends after {len(source)} frames, and its annotation {path} has {count} of every "
            f"{ANNOTATION_STRIDE}th; the file may have been cut off"
        )
