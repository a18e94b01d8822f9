"""The annotation files people use, read into and written from `masklet.io.annotations.Annotations`.

Every format is a module with the same three functions: `recognise`, `read` and `write`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from masklet.errors import InputError, OutputError
from masklet.io.annotations import Annotations
from masklet.io.documents import read_json
from masklet.io.files import files_below, walk_files
from masklet.io.formats import coco, davis, labelme, masklets, sav, yolo, ytvis
from masklet.io.formats.targets import target_files
from masklet.io.output import spare_files


class Format(Protocol):
    """What each format's module offers."""

    def recognise(self, path: Path, contents: Any) -> bool:
        """Whether `path` is of this format; contents: of its JSON file, or of the first in a folder, or None."""
        ...

    def read(self, path: Path, images: Path | None = None) -> Annotations:
        """Read all masks; images: where the pictures are, if the format needs them and they are elsewhere."""
        ...

    def write(self, annotations: Annotations, path: Path, polygons: bool = False) -> list[str]:
        """Write all masks, as outlines where asked for and possible, and return what could not be kept."""
        ...


FORMATS: dict[str, Format] = {
    "coco": coco,
    "ytvis": ytvis,
    "yolo": yolo,
    "davis": davis,
    "sav": sav,
    "labelme": labelme,
    "masklets": masklets,
}
"""Every format by its name on the command line."""

OUTLINED = ("coco", "labelme")
"""Those that can hold a mask as an outline or as it is. YOLO has outlines only."""


def recognise(path: str | Path) -> str:
    """The name of the format of a file or folder. Raises `InputError` saying what was looked for."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"no such file or folder: {path}")
    contents = None
    if path.is_dir():
        documents = files_below(path, ".json")
        contents = read_json(documents[0]) if documents else None
    elif path.suffix == ".json":
        contents = read_json(path)
    for name, module in FORMATS.items():
        if module.recognise(path, contents):
            return name
    raise InputError(
        f"cannot tell the format of {path}: looked for JSON of COCO (images, annotations), YouTube-VIS (videos, "
        "annotations), SA-V (masklet, video_id), LabelMe (shapes) or masklet itself (format), and for folders of such "
        f"files, of index PNGs (DAVIS) or of label text (YOLO); if it is one of {', '.join(FORMATS)}, name it"
    )


def read_annotations(path: str | Path, format: str | None = None, images: str | Path | None = None) -> Annotations:
    """Read annotations of any known format.

    path: a file or folder; format: a name from `FORMATS`, recognised by itself if None; images: the folder of the
    pictures, where the format does not hold their size (YOLO). Raises `InputError`.
    """
    module = _known(format or recognise(path))
    return module.read(Path(path), None if images is None else Path(images))


def write_annotations(
    annotations: Annotations,
    path: str | Path,
    format: str,
    *,
    polygons: bool = False,
    source: str | Path | None = None,
    replace: bool = True,
) -> tuple[str, ...]:
    """Write annotations as `format`, to a file (coco, ytvis) or a folder (the others).

    polygons: masks as outlines, in formats that hold either; source: the file or folder that they were read from, of
    which nothing is to be written over; replace: write over other files that are there already. Returns what the format
    could not hold, a sentence each. Raises `InputError` for an unknown format or content that it has no way to hold,
    `OutputError`.
    """
    module, path = _known(format), Path(path)
    if polygons and format not in OUTLINED:
        raise InputError(f"outlines instead of masks are an option of {' and '.join(OUTLINED)}; {format} has none")
    targets = target_files(annotations, path, format)
    if source is not None:
        source = Path(source)
        spare_files(walk_files(source, "") if source.is_dir() else [source], targets)
    if not replace and (there := next((target for target in targets if target.is_file()), None)):
        raise OutputError(f"{there} is there already; name another place, or write over it (replace=True, --replace)")
    return tuple(module.write(annotations, path, polygons))


def _known(format: str) -> Format:
    if format not in FORMATS:
        raise InputError(f"unknown format {format!r}; there are {', '.join(FORMATS)}")
    return FORMATS[format]
