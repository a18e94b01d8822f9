"""`masklets.json`: each object's masks through a clip, or on a picture, as COCO run lengths with their scores.

{"format": "masklets", "version": 1, "kind": "clip", "name": "dog.mp4", "size": [720, 1280], "fps": 29.97,
 "model": "nano", "masks": ["00000.png", ...], "files": {"0": "frame_1.jpg", ...},
 "objects": [{"id": 1, "frames": [{"frame": 0, "segmentation": {"size": [720, 1280], "counts": "..."},
                                   "area": 5120, "bbox": [x, y, width, height], "presence": 0.99}, ...]}, ...]}

`kind` is "clip" or "picture"; `masks` names the index PNGs written with it into the folder `masks`, where there are
any. By frame number, `files` names the file of each frame that has masks, where frames are files, and `times` tells the
second at which it is shown, where a video's rate varies: `fps` is the mean. `origin`, if there is one, differs between
files of one name that lie in different places.
"""

from __future__ import annotations

import json
import os
import tempfile
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from masklet.errors import OutputError
from masklet.io.output import atomic_file
from masklet.ops.boxes import mask_boxes
from masklet.ops.rle import encode_rle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from numpy.typing import NDArray

    from masklet.types import Size


Kind = Literal["clip", "picture"]


class MaskletsWriter:
    """Collects masks frame by frame and writes `masklets.json` when its block is left, by an error or Ctrl-C as well.

    Masks wait in a temporary file, so that memory does not grow with the clip, and the finished file takes its place
    in one step: a reader never meets half a file. A frame added again replaces what was there. A block that an error
    ends before anything was added leaves an earlier file as it is. `index_masks`, `files` and `times` (by frame number)
    are for its owner to fill.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        name: str,
        size: Size,
        kind: Kind = "clip",
        fps: float | None = None,
        model: str | None = None,
        origin: str | None = None,
    ) -> None:
        """path: of the json file; name, size, kind, fps: of the picture or clip; model: what made the masks; origin:
        what tells it from others of its name."""
        self._path = Path(path)
        self._header = {
            "format": "masklets",
            "version": 1,
            "kind": kind,
            "name": name,
            "size": list(size),
            "fps": fps,
            "model": model,
        }
        if origin is not None:
            self._header["origin"] = origin
        self.index_masks: list[str] = []
        self.files: dict[int, str] = {}
        self.times: dict[int, float] = {}
        # Of each object its frames, and where in the file the record of each is: 16 bytes for both.
        self._places: dict[int, tuple[array[int], array[int]]] = {}

    def __enter__(self) -> MaskletsWriter:
        self._waiting = tempfile.TemporaryFile()
        return self

    def add(self, frame: int, object_id: int, mask: NDArray[np.bool_], **scores: float) -> None:
        """Add the mask [H, W] of one object on one frame, with any scores (name to value)."""
        x0, y0, x1, y1 = mask_boxes(mask).tolist()
        record = {
            "frame": frame,
            "segmentation": encode_rle(mask),
            "area": int(mask.sum()),
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            **{name: float(value) for name, value in scores.items()},
        }
        try:
            place = self._waiting.seek(0, os.SEEK_END)
            self._waiting.write(json.dumps(record).encode() + b"\n")
        except OSError as error:
            raise OutputError(f"cannot hold the masks of frame {frame}: {error.strerror or error}") from error
        frames, places = self._places.setdefault(object_id, (array("q"), array("q")))
        frames.append(frame)
        places.append(place)

    def discard(self, frame: int) -> None:
        """Take back what was added of a frame."""
        for frames, places in self._places.values():
            while frame in frames:
                at = frames.index(frame)
                del frames[at], places[at]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None or self._places or self.index_masks:
                with atomic_file(self._path) as file:
                    file.writelines(self._lines())
        except OutputError:
            if kind is None:  # else the error that ended the block is the one to tell
                raise
        finally:
            self._waiting.close()

    def _lines(self) -> Iterator[str]:
        lists = {"masks": self.index_masks, "files": self.files, "times": self.times}
        yield (
            json.dumps(self._header | {name: entries for name, entries in lists.items() if entries})[:-1]
            + ', "objects": ['
        )
        objects = ((object_id, record) for object_id, record in sorted(self._places.items()) if record[0])
        for rank, (object_id, (frames, places)) in enumerate(objects):
            yield f'{"," if rank else ""}\n{{"id": {object_id}, "frames": ['
            latest = dict(zip(frames, places))
            for count, frame in enumerate(sorted(latest)):
                place = latest[frame]
                self._waiting.seek(place)
                record = self._waiting.readline().rstrip().decode()
                yield f"{',' if count else ''}\n{record}"
            yield "]}"
        yield "\n]}\n"


def read_index_masks(path: str | os.PathLike[str]) -> list[str]:
    """The names of the index PNGs written with a `masklets.json`; none where it is missing or not one of ours."""
    named = (_header(path) or {}).get("masks")
    names = map(str, named) if isinstance(named, list) else ()
    return [name for name in names if name.endswith(".png") and name == Path(name).name]


@dataclass(frozen=True)
class Whose:
    """What results are of: kind and name of a picture or clip, and what tells it from others of its name, if known."""

    kind: str
    name: str
    origin: str | None = None


def whose_masklets(path: str | os.PathLike[str]) -> Whose | None:
    """What the masks in a `masklets.json` are of; None where that is missing or not one of ours."""
    header = _header(path)
    return None if header is None else Whose(str(header.get("kind")), str(header.get("name")), header.get("origin"))


def _header(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """All but the objects, which is in the first line, so that the file of a long clip is not read whole."""
    try:
        with open(path, encoding="utf-8") as file:
            header = json.loads(file.readline() + "]}")
    except (OSError, ValueError):
        return None
    return header if isinstance(header, dict) and header.get("format") == "masklets" else None
