"""Formats with one file a picture: which files belong to a clip, and where the pictures themselves are."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from PIL import ExifTags, Image, UnidentifiedImageError

from masklet.errors import InputError
from masklet.io.annotations import Frame
from masklet.io.images import IMAGE_SUFFIXES
from masklet.types import Size

PICTURE_FOLDERS = ("images", "JPEGImages", "Images")
LABEL_FOLDERS = ("labels", "Annotations", "masks")
QUARTER_TURNS = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""


def group_clips(frames: list[Frame], root_name: str) -> tuple[Frame, ...]:
    """Tell clips from single pictures: a folder is a clip where its names are numbers only and its sizes one.

    `frames` come with their path below the root as their name and without a clip. The root itself may be a clip, and
    then is called `root_name`.
    """
    folders = defaultdict(list)
    for frame in frames:
        folders[frame.name.rpartition("/")[0]].append(frame)
    grouped = []
    for folder, members in folders.items():
        names = [frame.name.rpartition("/")[2] for frame in members]
        is_clip = all(Path(name).stem.isdigit() for name in names) and len({frame.size for frame in members}) == 1
        for name, frame in zip(names, members, strict=True):
            clip = folder or root_name
            grouped.append(Frame(name, frame.size, frame.masks, clip, frame.number) if is_clip else frame)
    return tuple(grouped)


def find_picture(label: Path, root: Path, images: Path | None) -> Path | None:
    """The picture that a label file belongs to, or None: looked for in `images`, beside it, and in parallel folders.

    Parallel folders differ in one part of their path, as `labels` and `images`, or `Annotations` and `JPEGImages`.
    """
    below = label.relative_to(root)
    candidates = [images / below] if images is not None else [label]
    if images is None:
        parts = label.parts
        for place in range(len(parts) - 2, -1, -1):
            if parts[place] in LABEL_FOLDERS:
                candidates += [Path(*parts[:place], name, *parts[place + 1 :]) for name in PICTURE_FOLDERS]
                break
        else:
            candidates += [root.parent / name / below for name in PICTURE_FOLDERS]
    for candidate in candidates:
        for suffix in sorted(IMAGE_SUFFIXES - {label.suffix}) + [label.suffix] * (candidate != label):
            picture = candidate.with_suffix(suffix)
            if picture.is_file():
                return picture
    return None


def picture_size(path: Path) -> Size:
    """The size of a picture file as it is shown, which its EXIF data may turn, without decoding it.

    Raises `InputError`.
    """
    try:
        with Image.open(path) as picture:
            turned = picture.getexif().get(ExifTags.Base.Orientation, 1) in QUARTER_TURNS
            return Size(picture.width, picture.height) if turned else Size(picture.height, picture.width)
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(f"cannot read the picture {path}: {error}") from error
