"""Formats with one file a picture: which files belong to a clip, and where the pictures themselves are."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from PIL import ExifTags, Image

from masklet.errors import InputError
from masklet.io.annotations import Annotations, Frame
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


def clip_losses(annotations: Annotations) -> list[str]:
    """The sentence for clips that `group_clips` would not know again in a folder, if there are any."""
    again = {
        name: {frame.clip for frame in group_clips([replace(frame, clip=None) for frame in frames], name)}
        for name, frames in annotations.clips.items()
    }
    apart = [name for name, clips in again.items() if None in clips or len(clips) > 1]
    if not apart:
        return []
    return [
        f"clips: {len(apart)} are read as single pictures or several clips again, such as {apart[0]}: their frames are "
        "not of one size, not in one folder, or not called by numbers alone"
    ]


class PictureFinder:
    """The pictures that label files below `root` belong to: looked for in `images`, beside them, in parallel folders.

    Parallel folders differ in one part of their path, as `labels` and `images`, or `Annotations` and `JPEGImages`.
    Every folder is listed once.
    """

    def __init__(self, root: Path, images: Path | None) -> None:
        self._root = root
        self._images = images
        self._listed: dict[Path, dict[str, list[Path]]] = {}

    def find(self, label: Path) -> Path | None:
        """The picture of a label file, or None; of several the one that is no file of the label's own kind."""
        for folder in self._folders(label):
            pictures = [
                picture
                for picture in self._pictures(folder).get(label.stem, ())
                if folder != label.parent or picture.suffix.lower() != label.suffix.lower()
            ]
            if pictures:
                return min(pictures, key=lambda picture: (picture.suffix.lower() == label.suffix.lower(), picture))
        return None

    def _folders(self, label: Path) -> list[Path]:
        below = label.parent.relative_to(self._root)
        if self._images is not None:
            return [self._images / below]
        parts = label.parent.parts
        for place in range(len(parts) - 1, -1, -1):
            if parts[place] in LABEL_FOLDERS:
                parallel = [Path(*parts[:place], name, *parts[place + 1 :]) for name in PICTURE_FOLDERS]
                return [label.parent, *parallel]
        return [label.parent, *(self._root.parent / name / below for name in PICTURE_FOLDERS)]

    def _pictures(self, folder: Path) -> dict[str, list[Path]]:
        """The pictures in a folder by their names without ending."""
        if folder not in self._listed:
            found: dict[str, list[Path]] = defaultdict(list)
            for file in folder.iterdir() if folder.is_dir() else ():
                if file.suffix.lower() in IMAGE_SUFFIXES:
                    found[file.stem].append(file)
            self._listed[folder] = found
        return self._listed[folder]


PNG_EXIF = (b"eXIf", b"Raw profile type exif")
"""What EXIF data begin with in PNG files, and as ImageMagick writes them there."""


def size_as_shown(picture: Image.Image, exif: Image.Exif) -> Size:
    """The size that a picture has once it is turned as its EXIF data say."""
    turned = exif.get(ExifTags.Base.Orientation, 1) in QUARTER_TURNS
    return Size(picture.width, picture.height) if turned else Size(picture.height, picture.width)


def picture_size(path: Path) -> Size:
    """The size of a picture file as it is shown, which its EXIF data may turn. Hardly any file is decoded for it.

    Raises `InputError`.
    """
    try:
        with Image.open(path) as picture:
            # A PNG file may have them behind its pixels, which Pillow then decodes.
            behind = picture.format == "PNG" and any(name in path.read_bytes() for name in PNG_EXIF)
            return size_as_shown(picture, picture.getexif() if behind else Image.Image.getexif(picture))
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise InputError(f"cannot read the picture {path}: {error}") from error
