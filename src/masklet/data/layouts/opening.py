"""Recognise how a folder or file of training data is laid out, and open it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import get_args

from masklet.data.clips import ClipDataset, Split
from masklet.data.layouts.annotated import AnnotatedPictures, find_picture
from masklet.data.layouts.artwork import ArtworkFolder, is_artwork
from masklet.data.layouts.clip_folders import ClipFolders
from masklet.data.layouts.pairs import MASK_SUFFIXES, SPLIT_FOLDERS, PairFolder, shown_files
from masklet.data.layouts.sa1b import Sa1bFolder, is_sa1b
from masklet.data.layouts.sav import SavFolder
from masklet.errors import InputError
from masklet.io import davis, sav_folder
from masklet.io.annotations import Annotations, Frame
from masklet.io.documents import read_json
from masklet.io.files import walk_files
from masklet.io.formats import coco, read_annotations, recognise, yolo
from masklet.io.images import IMAGE_SUFFIXES, ValueRange
from masklet.io.sav import Kind

LOOKED_FOR = (
    "JPEGImages and Annotations (DAVIS, MOSE, YouTube-VOS); ID.mp4 with ID_manual.json or ID_auto.json, or "
    "JPEGImages_24fps and Annotations_6fps (SA-V); sa_1.jpg with sa_1.json (SA-1B); a JSON file of COCO, YouTube-VIS "
    "or LabelMe; labels/NAME.txt with images/NAME.jpg (YOLO); NAME.jpg with NAME.png, or images and masks (plain); "
    "PNG files with a transparent ground (artwork)"
)

SPLITS: dict[Split, tuple[str, ...]] = {"train": ("train",), "val": ("val", "valid", "validation")}
"""The folders that YOLO data sets are split into, the year left out, by split; `test` may lie beside them."""

YAML_SUFFIXES = frozenset((".yaml", ".yml"))
"""Of the file by which YOLO tools know a data set; what it says of folders is not read."""

DIGITS = "0123456789"
"""Of the year in names such as train2017."""

NUM_COUNTED, NUM_NAMED = 100_000, 6
"""Files that are counted, and folders that are named, of what has no layout that is known."""

NUM_SOUGHT = 100
"""A folder holds the pictures of an annotation file if one of so many is there."""

FORMATS_WITH_IDENTITY = ("coco", "ytvis")
"""Where the same number on two frames of a clip means the same object."""


def open_dataset(
    path: str | Path,
    *,
    images: str | Path | None = None,
    max_stride: int = 1,
    kinds: Collection[Kind] = ("manual", "auto"),
    split: Split | None = "train",
    value_range: ValueRange | None = None,
) -> ClipDataset:
    """Open annotated pictures or clips of any layout known.

    path: a folder, a COCO, YouTube-VIS or LabelMe JSON file, or a YAML file in the folder of YOLO data; images: where
    the pictures of annotation files lie, if not beside them; max_stride: frames of clips are drawn up to so many
    annotated frames apart; kinds: of SA-V's annotations; split: of data that are parted, by DAVIS's lists of clips or,
    as those of YOLO and COCO files in several folders, by folders such as `train` and `val`, open only that part, None
    for all; value_range: the values that are black and white in pictures of 12 or 16 bits, see
    `masklet.io.images.read_image`.

    Raises `InputError`, which says what was looked for, for any other layout, and names the file that is missing or
    damaged.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"no such file or folder: {path}")
    if path.suffix.lower() in YAML_SUFFIXES:
        path = path.parent
    if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
        raise InputError(f"{path} is a picture: name the folder that holds it and its mask, or an annotation file")
    if path.is_file():
        return _open_annotations(path, images, max_stride, value_range)
    dataset = _open_folder(path, images, max_stride, kinds, split, value_range)
    if value_range is not None and not isinstance(dataset, AnnotatedPictures | ClipFolders | PairFolder):
        raise InputError(f"{path} holds 8-bit pictures or videos; leave out the range of values (--range)")
    if images is not None and not isinstance(dataset, AnnotatedPictures):
        raise InputError(
            f"{path} is no annotation file, nor a folder of them: its pictures lie beside their masks, not in "
            f"{images}; leave images (--images) out"
        )
    return dataset


def _open_folder(
    path: Path,
    images: str | Path | None,
    max_stride: int,
    kinds: Collection[Kind],
    split: Split | None,
    value_range: ValueRange | None,
) -> ClipDataset:
    if _is_clip_folders(path):
        return ClipFolders(path, max_stride=max_stride, split=split, value_range=value_range)
    if _is_sav(path):
        return SavFolder(path, kinds=kinds, max_stride=max_stride)
    if _is_sa1b(path):
        return Sa1bFolder(path)
    if _is_pairs(path):
        return PairFolder(path, value_range=value_range)
    documents = _documents(path)
    if (path / "labels").is_dir() or yolo.recognise(path, None):
        return _open_annotations(path, images, max_stride, value_range, split)
    if _beside_pictures(documents):
        return _open_annotations(path, images, max_stride, value_range)
    if len(documents) > 1:
        raise InputError(f"{path} has several annotation files, open one: {', '.join(map(str, documents[:6]))}")
    if documents:
        return _open_annotations(documents[0], images, max_stride, value_range)
    parts = [document for name in (SPLITS[split] if split else ()) for document in _documents(path / name)]
    if len(parts) == 1:
        return _open_annotations(parts[0], images, max_stride, value_range)
    labels = Path(*("labels" if part == "images" else part for part in path.parts))
    if labels != path and labels.is_dir():
        return _open_annotations(labels, images, max_stride, value_range)
    if any(is_artwork(file) for file in walk_files(path, ".png")):
        return ArtworkFolder(path)
    whole = next((parent for parent in path.absolute().parents if _is_clip_folders(parent)), None)
    if whole is not None:
        raise InputError(f"{path} is a part of {whole}, which is laid out as clips: name that folder")
    raise InputError(f"cannot tell the layout of {path}, which holds {_contents(path)}; looked for {LOOKED_FOR}")


def _contents(path: Path) -> str:
    """What a folder holds, in words: files by their endings, and the folders, one of which may be meant."""
    endings = Counter(file.suffix.lower() or "other" for file in islice(walk_files(path, ""), NUM_COUNTED))
    files = ", ".join(f"{count} {ending}" for ending, count in sorted(endings.items()))
    folders = sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not files:
        return "no files"
    named = ", ".join(folders[:NUM_NAMED]) + (", ..." if len(folders) > NUM_NAMED else "")
    return f"{files} and the folders {named}" if folders else files


def _open_annotations(
    path: Path,
    images: str | Path | None,
    max_stride: int,
    value_range: ValueRange | None,
    split: Split | None = None,
) -> AnnotatedPictures:
    format = recognise(path)
    annotations = read_annotations(path, format, images)
    if split:
        annotations = _part(annotations, split)
    folder = path if path.is_dir() else path.parent
    if images:
        places = [Path(images)]
    else:
        coco_split = folder.parent / path.stem.removeprefix("instances_")  # annotations/instances_val2017.json
        parallel = Path(*("images" if part == "labels" else part for part in folder.parts))  # labels/train
        usual = (folder, folder / "images", folder.parent / "images", folder.parent, coco_split, parallel)
        places = list(dict.fromkeys(usual))
    # Some pictures may be missing: those without objects for good, others as `AnnotatedPictures` says.
    sought = sorted(annotations.frames, key=lambda frame: not frame.masks)[:NUM_SOUGHT]
    for place in places:
        if any(find_picture(place, frame) for frame in sought):
            identity = format in FORMATS_WITH_IDENTITY
            return AnnotatedPictures(
                annotations,
                place,
                identity=identity,
                max_stride=max_stride,
                name=str(path),
                value_range=value_range,
            )
    missing = sought[0].path if sought else "(none annotated)"
    raise InputError(
        f"the picture {missing} of {path} is not in {', '.join(map(str, places))}; "
        "name the folder that holds it (images=..., --images)"
    )


def is_parted(path: str | Path, images: str | Path | None = None) -> bool:
    """Whether data have a part to be validated on that shares no picture with the one to be trained on, as
    `open_dataset` opens them. Raises `InputError` as that does."""
    train, val = (_pictures(open_dataset(path, images=images, split=split)) for split in SPLITS)
    return bool(train and val) and train.isdisjoint(val)


def _pictures(dataset: ClipDataset) -> set[Path]:
    """The pictures of data in layouts that may be parted."""
    if isinstance(dataset, ClipFolders):
        return {picture for clip in dataset.clips for picture, _ in clip}
    if isinstance(dataset, AnnotatedPictures):
        return {dataset.images / frame.path for entry in dataset.entries for frame in entry}
    return set()


def _part(annotations: Annotations, split: Split) -> Annotations:
    """Of data in folders such as `train` and `val` what is in those of a split, or all where there are none."""
    if not split_folders(annotations.frames):
        return annotations
    kept = tuple(frame for frame in annotations.frames if _folder(frame).rstrip(DIGITS) in SPLITS[split])
    return Annotations(kept, annotations.categories) if kept else annotations


def split_folders(frames: Iterable[Frame]) -> list[str]:
    """The folders that a data set is split into, if one is for training and others are not."""
    folders = sorted({_folder(frame) for frame in frames})
    kinds = {folder.rstrip(DIGITS) for folder in folders}
    return folders if kinds.intersection(SPLITS["train"]) and kinds.intersection((*SPLITS["val"], "test")) else []


def _folder(frame: Frame) -> str:
    return frame.path.partition("/")[0]


def _documents(path: Path) -> list[Path]:
    found = (file for pattern in ("*.json", "annotations/*.json") for file in path.glob(pattern))
    return sorted(file for file in found if not file.name.startswith("."))


def _beside_pictures(documents: list[Path]) -> bool:
    """Whether every JSON file belongs to one picture, as LabelMe's do."""
    return bool(documents) and all(
        any(file.with_suffix(suffix).is_file() for suffix in IMAGE_SUFFIXES) for file in documents
    )


def _is_clip_folders(path: Path) -> bool:
    return (path / davis.FRAME_FOLDER).is_dir() and (path / davis.MASK_FOLDER).is_dir()


def _is_sav(path: Path) -> bool:
    extracted = (path / sav_folder.FRAME_FOLDER).is_dir() and (path / sav_folder.MASK_FOLDER).is_dir()
    return extracted or _holds_other_than_coco(walk_files(path, *(f"_{kind}.json" for kind in get_args(Kind))))


def _is_sa1b(path: Path) -> bool:
    file = next((file for file in walk_files(path, ".json") if file.name.startswith("sa_")), None)
    return file is not None and is_sa1b(read_json(file))


def _holds_other_than_coco(files: Iterator[Path]) -> bool:
    """Whether there are such files, and the first is no COCO file that happens to be named so."""
    file = next(files, None)
    return file is not None and not coco.recognise(file, read_json(file))


def _is_pairs(path: Path) -> bool:
    if all((path / name).is_dir() for name in SPLIT_FOLDERS):
        return True
    pictures, masks = (
        {file.stem for file in shown_files(path, suffixes)}
        for suffixes in (IMAGE_SUFFIXES - MASK_SUFFIXES, MASK_SUFFIXES)
    )
    if not pictures or not masks:
        return False
    # PNG files may also be pictures that a JSON file annotates, or drawn by somebody beside them.
    return bool(pictures & masks) or not _documents(path)
