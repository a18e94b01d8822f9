"""A folder of SA-V: which videos it has, and how much is in them.

The training set holds `ID.mp4` with `ID_manual.json` and `ID_auto.json`, in any folders; the validation and test sets
`JPEGImages_24fps/ID/00000.jpg` and `Annotations_6fps/ID/OBJECT/00000.png`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from masklet.errors import InputError
from masklet.io.files import walk_files
from masklet.io.sav import Kind, SavMasklets, read_sav

if TYPE_CHECKING:
    from collections.abc import Sequence

FRAME_FOLDER, MASK_FOLDER = "JPEGImages_24fps", "Annotations_6fps"


@dataclass(frozen=True)
class SavVideo:
    """The files of one video: a training video has `video`, `manual` and `auto`, another `frames` and `objects`.

    video: the mp4 file; manual, auto: annotation files; frames: folder of JPEGs; objects: each one's folder of PNGs.
    """

    video_id: str
    video: Path | None = None
    manual: Path | None = None
    auto: Path | None = None
    frames: Path | None = None
    objects: tuple[Path, ...] = ()

    def masklets(self) -> list[SavMasklets]:
        """What its annotation files hold. Raises `InputError`."""
        return [read_sav(path) for path in (self.manual, self.auto) if path is not None]


@dataclass(frozen=True)
class SavCount:
    """How much there is: frames of the video (0 where unknown), annotated frames, and masklets of each kind."""

    videos: int = 1
    frames: int = 0
    annotated_frames: int = 0
    manual: int = 0
    auto: int = 0

    def __add__(self, other: SavCount) -> SavCount:
        return SavCount(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


def find_videos(root: str | Path) -> list[SavVideo]:
    """The videos of SA-V in a folder, by id. Raises `InputError` where there are none, or two of one id."""
    root = Path(root)
    if (root / FRAME_FOLDER).is_dir() or (root / MASK_FOLDER).is_dir():
        return _find_extracted(root)
    endings = {"video": ".mp4"} | {kind: f"_{kind}.json" for kind in get_args(Kind)}
    files: dict[str, dict[str, Path]] = {}
    for path in sorted(walk_files(root, *endings.values())):
        role, ending = next(item for item in endings.items() if path.name.lower().endswith(item[1]))
        found = files.setdefault(path.name[: -len(ending)], {})
        if role in found:
            raise InputError(f"{found[role]} and {path} are of one name, by which videos are told apart; rename one")
        found[role] = path
    if not files:
        raise InputError(
            f"no videos of SA-V in {root}: looked for ID.mp4, ID_manual.json and ID_auto.json, and for the folders "
            f"{FRAME_FOLDER} and {MASK_FOLDER}"
        )
    return [
        SavVideo(video_id, found.get("video"), found.get("manual"), found.get("auto"))
        for video_id, found in sorted(files.items())
    ]


def choose_videos(videos: Sequence[SavVideo], ids: Sequence[str]) -> list[SavVideo]:
    """The videos with these ids, all where none are given. Raises `InputError` for an unknown id."""
    known = {video.video_id: video for video in videos}
    missing = [video_id for video_id in ids if video_id not in known]
    if missing:
        raise InputError(f"no video {missing[0]!r} there; the first of {len(known)} are {sorted(known)[:5]}")
    return [known[video_id] for video_id in ids] if ids else list(videos)


def count_video(video: SavVideo) -> SavCount:
    """How much one video holds. Raises `InputError` for a damaged annotation file."""
    if video.frames is not None or video.objects:
        frames = sum(1 for _ in video.frames.glob("[!.]*.jpg")) if video.frames else 0
        annotated = {path.name for folder in video.objects for path in folder.glob("[!.]*.png")}
        return SavCount(frames=frames, annotated_frames=len(annotated), manual=len(video.objects))
    masklets = video.masklets()
    numbers: dict[Kind, int] = {found.kind: len(found.object_ids) for found in masklets}
    return SavCount(
        frames=max((found.num_frames for found in masklets), default=0),
        annotated_frames=max((len(found.masks) for found in masklets), default=0),
        manual=numbers.get("manual", 0),
        auto=numbers.get("auto", 0),
    )


def _find_extracted(root: Path) -> list[SavVideo]:
    ids = sorted(
        {path.name for name in (FRAME_FOLDER, MASK_FOLDER) for path in (root / name).glob("[!.]*") if path.is_dir()}
    )
    if not ids:
        raise InputError(f"{root / FRAME_FOLDER} and {root / MASK_FOLDER} hold no folders of videos")
    return [
        SavVideo(
            video_id,
            frames=root / FRAME_FOLDER / video_id if (root / FRAME_FOLDER / video_id).is_dir() else None,
            objects=tuple(sorted(path for path in (root / MASK_FOLDER / video_id).glob("[!.]*") if path.is_dir())),
        )
        for video_id in ids
    ]
