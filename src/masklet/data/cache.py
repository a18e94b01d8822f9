"""Still pictures prepared for training: shrunk once, packed in one file, decoded in well under a millisecond each.

A cache folder holds `pictures.bin`, the bytes of each picture's JPEG and then of its masks' PNGs one after another, and
`index.json` with each picture's name and the offsets at which its files begin and the last one ends.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from masklet.data.clips import Clip, ClipDataset, Overlapping, holds_stills, read_paintings
from masklet.data.layouts.pairs import check_still
from masklet.errors import InputError, OutputError
from masklet.io.documents import read_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

JPEG_QUALITY = 95
FORMAT = "masklet stills 1"

ABANDONED_SECONDS = 600.0
"""A cache half packed that nobody has written to for so long is nobody's."""

MOST_PAINTINGS = 4
"""Masks kept of a picture whose objects overlap; objects beyond what these show are never seen in a cache."""


def build_cache(
    dataset: ClipDataset,
    folder: str | Path,
    longest_side: int,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> CachedStills:
    """Read every still of `dataset` once, shrink it to `longest_side` pixels and pack it into `folder`.

    Where objects overlap, up to `MOST_PAINTINGS` masks are kept, which take turns. Other chance in the data set, such
    as that of `Merged`, is drawn once: merge the cache, not what is cached. A cache of the same side, count and number
    of masks that is there already is used as it is. on_progress: called with the count done and the total. Raises
    `InputError` for clips, `OutputError` where the folder cannot be written.
    """
    folder = Path(folder)
    if not holds_stills(dataset):
        raise InputError(
            f"cannot cache this {type(dataset).__name__} in {folder}: a cache keeps one frame of each entry, and this "
            "one holds clips, or does not say that all are stills (only_stills = True); use it without a cache"
        )
    most = MOST_PAINTINGS if isinstance(dataset, Overlapping) else 1
    if (ready := _ready(folder, longest_side, most, len(dataset))) is not None:
        return ready
    # Processes that train together on one machine may build one cache at once: each writes the same bytes to a folder
    # of its own, and moves them over those of the others.
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _clear_abandoned(folder)
        with tempfile.TemporaryDirectory(prefix="partial-", dir=folder) as partial:
            entries = _pack(dataset, Path(partial) / "pictures.bin", longest_side, most, on_progress)
            index = {"format": FORMAT, "longest_side": longest_side, "paintings": most, "entries": entries}
            (Path(partial) / "index.json").write_text(json.dumps(index))
            for name in ("pictures.bin", "index.json"):
                os.replace(Path(partial) / name, folder / name)
    except PermissionError as error:
        # Windows replaces no file that another process has open, as one that trains with us and was ready first.
        if (ready := _ready(folder, longest_side, most, len(dataset))) is None:
            raise OutputError(f"cannot write the cache {folder}: {error}") from error
        return ready
    except OSError as error:
        raise OutputError(f"cannot write the cache {folder}: {error}") from error
    return CachedStills(folder)


def _ready(folder: Path, longest_side: int, most: int, count: int) -> CachedStills | None:
    """The cache in `folder`, if there is one that is whole and as it is wanted."""
    try:
        ready = CachedStills(folder)
    except InputError:
        return None
    fits = (ready.longest_side, ready.most_paintings, len(ready)) == (longest_side, most, count)
    return ready if fits else None


def _fits(index: Any, size: int) -> bool:
    """Whether the index of a cache is of this version, and of a file of so many bytes."""
    try:
        entries = index["entries"]
        return index["format"] == FORMAT and index["longest_side"] > 0 and (not entries or entries[-1][-1] == size)
    except (KeyError, TypeError, IndexError):
        return False


def _clear_abandoned(folder: Path) -> None:
    """Remove what processes that were killed while packing left behind; one that lives writes all the time."""
    for partial in folder.glob("partial-*"):
        with suppress(FileNotFoundError):  # another process may finish meanwhile
            written = max((file.stat().st_mtime for file in partial.iterdir()), default=partial.stat().st_mtime)
            if time.time() - written > ABANDONED_SECONDS:
                shutil.rmtree(partial)


class CachedStills:
    """The stills that `build_cache` packed into `folder`; a `ClipDataset` of one-frame clips.

    most_paintings: masks that a picture may have, one of which is drawn each time. The file is mapped into memory when
    first used, in each process by itself. Raises `InputError` where `folder` holds no cache or a damaged one.
    """

    only_stills = True

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            index = read_json(self.folder / "index.json")
            size = (self.folder / "pictures.bin").stat().st_size
        except (OSError, InputError) as error:
            raise InputError(f"{self.folder} holds no cache of pictures; make it with build_cache ({error})") from error
        if not _fits(index, size):
            raise InputError(f"the cache {self.folder} is damaged or of another version; delete it and build it again")
        self.longest_side: int = index["longest_side"]
        # The first caches kept one mask of each picture, and did not say so.
        self.most_paintings: int = index.get("paintings", 1)
        self._names: list[str] = [entry[0] for entry in index["entries"]]
        self._offsets: list[list[int]] = [entry[1:] for entry in index["entries"]]
        self._bytes: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self._names)

    def clip(self, index: int, generator: np.random.Generator, num_frames: int = 1) -> Clip:
        """Picture `index` as a clip of one frame, with one of its masks.

        Raises `InputError` where more frames are asked for.
        """
        check_still(num_frames, self.folder)
        if self._bytes is None:
            self._bytes = np.memmap(self.folder / "pictures.bin", np.uint8, mode="r")
        offsets = self._offsets[index]
        masks = len(offsets) - 2
        drawn = 1 + (int(generator.integers(masks)) if masks > 1 else 0)
        frame = cv2.imdecode(self._bytes[offsets[0] : offsets[1]], cv2.IMREAD_COLOR)
        mask = cv2.imdecode(self._bytes[offsets[drawn] : offsets[drawn + 1]], cv2.IMREAD_UNCHANGED)
        if frame is None or mask is None:
            raise InputError(f"picture {index} of the cache {self.folder} is damaged; delete it and build it again")
        rgb = np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)
        return Clip(rgb[None], mask[None], self._names[index])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_bytes": None}


def shrink(clip: Clip, longest_side: int) -> Clip:
    """`clip` with its longer side at most `longest_side` pixels, aspect kept; a smaller clip stays as it is."""
    height, width = clip.size
    scale = longest_side / max(height, width)
    if scale >= 1:
        return clip
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    frames = [np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8) for frame in clip.frames]
    masks = [cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT) for mask in clip.masks]
    return Clip(np.stack(frames), np.stack(masks), clip.name)


def _pack(
    dataset: ClipDataset, path: Path, longest_side: int, most: int, on_progress: Callable[[int, int], None] | None
) -> list[tuple[str | int, ...]]:
    """Write all pictures, each with up to `most` masks, to `path`; the name and the offsets of each."""
    entries: list[tuple[str | int, ...]] = []
    generator = np.random.default_rng(0)
    with open(path, "wb") as file:
        for index in range(len(dataset)):
            clips = [shrink(clip, longest_side) for clip in read_paintings(dataset, index, generator, most)]
            offsets = [file.tell()]
            file.write(_encoded(".jpg", clips[0].frames[0][..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]))
            for clip in clips:
                offsets.append(file.tell())
                file.write(_encoded(".png", clip.masks[0], [cv2.IMWRITE_PNG_COMPRESSION, 3]))
            entries.append((clips[0].name, *offsets, file.tell()))
            if on_progress:
                on_progress(index + 1, len(dataset))
    return entries


def _encoded(suffix: str, array: NDArray[Any], options: list[int]) -> bytes:
    done, data = cv2.imencode(suffix, array, options)
    assert done, "OpenCV encodes every uint8 picture and every uint8 or uint16 mask"
    return data.tobytes()
