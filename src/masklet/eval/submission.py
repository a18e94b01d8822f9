"""Folders of predictions for benchmarks that score them on a server: checked before they are sent, and packed."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from masklet.errors import InputError, OutputError
from masklet.eval.truth import IndexClip
from masklet.io.davis import MASK_FOLDER
from masklet.io.output import make_folder
from masklet.io.palette import read_index_png

if TYPE_CHECKING:
    from masklet.eval.layouts import Dataset
    from masklet.eval.truth import AnnotatedClip

ZIP_FOLDERS = {"lvos": MASK_FOLDER, "youtube-vos": MASK_FOLDER}
"""By layout, the folder that a server wants around the clips' folders; the others want none."""

MAX_PROBLEMS_A_CLIP = 3
"""More of one clip are most often the same mistake again."""


def check_submission(data: Dataset, predicted: Path) -> list[str]:
    """What is wrong with a folder of predictions, a sentence each; an empty list where it can be sent.

    It must hold every clip of `data`, and in it a PNG of the right size for every frame that the benchmark scores (all
    frames where it does not tell which): for SA-V below a folder for each object, with at most one value beside 0; for
    DAVIS 2016 with such values; for the others an index PNG whose ids are among the objects given.
    """
    if not predicted.is_dir():
        raise InputError(f"no such folder: {predicted}")
    problems = []
    for clip in data.clips:
        found = _check_clip(clip, predicted / clip.name, layered=data.layout == "sav")
        problems += found[:MAX_PROBLEMS_A_CLIP]
        if len(found) > MAX_PROBLEMS_A_CLIP:
            problems.append(f"{clip.name}: {len(found) - MAX_PROBLEMS_A_CLIP} more problems")
    names = {clip.name for clip in data.clips}
    extra = sorted(path.name for path in predicted.glob("[!.]*") if path.is_dir() and path.name not in names)
    if extra:
        problems.append(f"{len(extra)} folders are no clips of this data set: {', '.join(extra[:3])}")
    return problems


def pack_submission(data: Dataset, predicted: Path, path: Path) -> int:
    """Pack checked predictions as a zip file and return how many files it holds, laid out as the server wants them.

    Raises `InputError` with the first problem where `check_submission` finds any, `OutputError`.
    """
    problems = check_submission(data, predicted)
    if problems:
        raise InputError(f"{predicted} cannot be sent, it has {len(problems)} problems; the first: {problems[0]}")
    folder = ZIP_FOLDERS.get(data.layout, "")
    files = [file for clip in data.clips for file in sorted((predicted / clip.name).rglob("[!.]*.png"))]
    waiting = make_folder(path.parent) / f".{path.name}.part"
    try:
        with zipfile.ZipFile(waiting, "w", zipfile.ZIP_STORED) as archive:
            for file in files:
                archive.write(file, folder / file.relative_to(predicted))
        waiting.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
    finally:
        waiting.unlink(missing_ok=True)
    return len(files)


def _check_clip(clip: AnnotatedClip, folder: Path, *, layered: bool) -> list[str]:
    if not folder.is_dir():
        return [f"{clip.name}: there is no folder {folder}"]
    first = next((object_id for object_id in clip.object_ids if clip.annotated_for(object_id)), None)
    if first is None:
        return [f"{clip.name}: the data set's own masks show no object"]
    size = clip.mask(first, clip.annotated_for(first)[0]).shape
    if not layered:
        frames = set(clip.annotated) if clip.has_truth else set(range(len(clip.names)))
        single = isinstance(clip, IndexClip) and clip.single  # whose object is 255 in DAVIS's files, 1 in others'
        return _check_files(clip, folder, frames, size, allowed=None if single else {0, *clip.object_ids})
    problems = []
    folders = {int(path.name): path for path in folder.iterdir() if path.is_dir() and path.name.isdigit()}
    strange = sorted(folders.keys() - set(clip.object_ids))
    if strange:
        problems.append(f"{clip.name}: object {strange[0]} is not in the data set, which has {list(clip.object_ids)}")
    for object_id in clip.object_ids:
        if object_id not in folders:
            problems.append(f"{clip.name}: object {object_id:03d} has no folder")
        else:
            problems += _check_files(clip, folders[object_id], set(clip.annotated_for(object_id)), size, allowed=None)
    return problems


def _check_files(
    clip: AnnotatedClip, folder: Path, frames: set[int], size: tuple[int, ...], allowed: set[int] | None
) -> list[str]:
    """Problems of the PNGs for `frames`; allowed: their values, or None for a binary picture of any value."""
    problems = []
    for frame in sorted(frames):
        file = folder / f"{clip.names[frame]}.png"
        if not file.is_file():
            problems.append(f"{clip.name}: there is no {file}")
            continue
        try:
            index = read_index_png(file)
        except InputError as error:
            problems.append(f"{clip.name}: {error}")
            continue
        if index.shape != size:
            problems.append(f"{file} is {index.shape[1]} x {index.shape[0]} pixels, the clip {size[1]} x {size[0]}")
        values = {int(value) for value in np.unique(index)}
        if allowed is None and len(values - {0}) > 1:
            problems.append(f"{file} has {len(values - {0})} values beside 0, where one object belongs")
        elif allowed is not None and not values <= allowed:
            problems.append(f"{file} has object {min(values - allowed)}, the data set {sorted(allowed - {0})}")
    return problems
