"""YOLO segmentation text: a line `class x0 y0 x1 y1 ...` for each object, as parts of the picture's width and height.

A text file for each picture, empty where it has no objects, and the classes' names in `data.yaml`. Source:
https://docs.ultralytics.com/datasets/segment/
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pycocotools import mask as coco

from masklet.errors import InputError, OutputError
from masklet.io.annotations import Annotations, Capacity, Category, Frame, ObjectMask, empty_losses, losses
from masklet.io.documents import member, read_text, write_text
from masklet.io.files import files_below, walk_files
from masklet.io.formats.folders import PictureFinder, picture_size
from masklet.io.formats.targets import frame_files
from masklet.io.polygons import fill_polygons, outline_whole
from masklet.types import Size

CAPACITY = Capacity(clips=False, identity=False, polygons=True)
DATA_FILE = "data.yaml"
NAME_FILES = (DATA_FILE, "data.yml", "dataset.yaml", "dataset.yml", "classes.txt")


def recognise(path: Path, contents: Any) -> bool:
    """Whether a text file of the folder begins with a class and coordinates; if others do not, reading names them."""
    if not path.is_dir():
        return False
    labels = _label_files(path)
    texts = (file.read_text(encoding="utf-8-sig", errors="replace") for file in labels[:20])
    lines = [line for text in texts for line in text.strip().splitlines()[:1]]
    if not lines:  # pictures without an object have empty files
        return bool(labels)
    return any(re.fullmatch(r"\d+(\s+[-+.\deE]+){4,}\s*", line) for line in lines)


def read(path: Path, images: Path | None = None) -> Annotations:
    """Read a folder of label files; their pictures must be there, for the labels do not hold the size.

    Raises `InputError` naming the file and line.
    """
    labels = _label_files(path)
    if not labels:
        raise InputError(f"no label files (*.txt) in {path} or the folders in it")
    root = path / "labels" if (path / "labels").is_dir() else path
    names = _read_names(path)
    pictures = PictureFinder(root, images)
    frames, largest = [], -1
    for file in labels:
        picture = pictures.find(file)
        if picture is None:
            raise InputError(
                f"{file} has no picture, of which YOLO labels need the size: looked in "
                f"{images or 'the same folder and in images beside labels'}; name the pictures' folder (images=..., "
                "--images)"
            )
        size = picture_size(picture)
        masks = _read_labels(file, size)
        largest = max([largest, *(int(mask.category) for mask in masks)])
        frames.append(Frame(_name(picture, file, root), size, tuple(masks)))
    names = names or {number: f"class {number}" for number in range(largest + 1)}
    named = [_named(frame, names, path) for frame in frames]
    categories = tuple(Category(number + 1, name) for number, name in sorted(names.items()))
    return Annotations(tuple(named), categories)


def write(annotations: Annotations, path: Path, polygons: bool = False) -> list[str]:
    """Write `labels/` and `data.yaml`; parts and holes of a mask are joined by cuts of no width.

    Returns what could not be kept. Raises `OutputError` where the folder has labels already, which would be mixed.
    """
    for earlier in (path / DATA_FILE, path / "labels"):
        if earlier.is_file() or any(walk_files(earlier, ".txt")):
            raise OutputError(f"{earlier} is there already, and labels would be mixed; name a new folder")
    classes = {category.name: place for place, category in enumerate(annotations.categories)}
    joined = num_empty = 0
    for file, frame in zip(frame_files(path / "labels", annotations.frames, ".txt"), annotations.frames, strict=True):
        lines = []
        for mask in frame.masks:
            if mask.polygons is not None and len(mask.polygons) == 1:
                outline = mask.polygons[0]
            elif coco.area(mask.rle):
                joined += mask.polygons is not None
                outline = tuple(outline_whole(mask.mask))
            else:
                num_empty += 1
                continue
            lines.append(_line(classes[mask.category], outline, frame.size))
        write_text(file, "".join(lines))
    # Without a `path`, which Ultralytics looks for in its own folder of data sets, the two start from this folder.
    data = {"train": "images", "val": "images", "names": list(classes)}
    write_text(path / DATA_FILE, yaml.safe_dump(data, allow_unicode=True, sort_keys=False))
    found = losses(annotations, CAPACITY)
    found.append("pictures: they are not copied; put them into images/ beside labels/, by the same names")
    found.append(f"splits: train and val name the same pictures in {DATA_FILE}; part them before you train")
    if joined:
        found.append(f"outlines: {joined} masks of several polygons become one polygon along their pixels")
    return found + empty_losses(num_empty)


def _label_files(path: Path) -> list[Path]:
    """The text files below; those beside the folders of labels are about the data set."""
    root = path / "labels" if (path / "labels").is_dir() else path
    files = [file for file in files_below(root, ".txt") if file.name not in NAME_FILES]
    in_folders = [file for file in files if "labels" in file.relative_to(root).parts]
    return in_folders or files


def _name(picture: Path, label: Path, root: Path) -> str:
    """What a picture is called: its path below the root or, where it lies apart from the labels, that of its label."""
    if "labels" in label.relative_to(root).parts and picture.is_relative_to(root):  # train/labels, train/images
        return picture.relative_to(root).as_posix()
    return label.relative_to(root).with_suffix(picture.suffix).as_posix()


def _line(number: int, outline: tuple[float, ...], size: Size) -> str:
    parts = (np.asarray(outline).reshape(-1, 2) / [size.width, size.height]).clip(0, 1)  # others refuse what is outside
    return " ".join([str(number), *(f"{value:.9g}" for value in parts.ravel())]) + "\n"


def _read_labels(file: Path, size: Size) -> list[ObjectMask]:
    """The masks of one label file, numbered by line, their category the class number as text."""
    masks = []
    for row, line in enumerate(read_text(file).splitlines(), 1):
        if not line.strip():
            continue
        where = f"{file}, line {row}"
        try:
            number, *values = line.split()
            category = str(int(number))
            corners = np.array(values, float)
        except ValueError as error:
            raise InputError(f"{where}: expected a class number and coordinates; got {line[:60]!r}") from error
        if len(corners) == 4:
            raise InputError(f"{where}: it has a box, not an outline; these are YOLO detection labels")
        if len(corners) % 2:
            raise InputError(f"{where}: {len(corners)} coordinates do not make pairs of x and y")
        polygon = (corners.reshape(-1, 2) * [size.width, size.height]).ravel().tolist()
        rle = fill_polygons([polygon], size, where)
        masks.append(ObjectMask(row, rle, category, polygons=(tuple(polygon),)))
    return masks


def _named(frame: Frame, names: dict[int, str], path: Path) -> Frame:
    masks = []
    for mask in frame.masks:
        if int(mask.category) not in names:
            raise InputError(f"{frame.path}, line {mask.object_id}: class {mask.category} has no name in {path}'s list")
        masks.append(ObjectMask(mask.object_id, mask.rle, names[int(mask.category)], polygons=mask.polygons))
    return Frame(frame.name, frame.size, tuple(masks))


def _read_names(path: Path) -> dict[int, str]:
    """The classes' names from `data.yaml` or `classes.txt` in the folder or the one above; empty without either."""
    for folder in (path, path.parent):
        for name in NAME_FILES:
            file = folder / name
            if file.is_file():
                text = read_text(file)
                return _listed_names(text) if file.suffix == ".txt" else _yaml_names(text, file)
    return {}


def _listed_names(text: str) -> dict[int, str]:
    """The lines of a text file; blank ones at its end name nothing."""
    return dict(enumerate(line.strip() for line in text.rstrip().splitlines()))


def _yaml_names(text: str, file: Path) -> dict[int, str]:
    """The `names` of a YOLO data file: a list, or a number for each. Raises `InputError` naming the file."""
    try:
        contents = yaml.load(text, yaml.BaseLoader)  # the safest, which also leaves a class called `no` its name
    except yaml.YAMLError as error:
        raise InputError(f"{file} is no YAML: {' '.join(str(error).split())}") from error
    found = member(contents, "names", (list, dict), str(file))
    names = found if isinstance(found, dict) else {str(number): name for number, name in enumerate(found)}
    for number, name in names.items():
        if not (isinstance(number, str) and number.isdecimal() and isinstance(name, str)):
            raise InputError(f"{file}: names must be text, each alone or after its number; got {number!r}: {name!r}")
    return {int(number): name for number, name in names.items()}
