"""`masklet sav`: work with the SA-V data set and with data in its format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True, help="SA-V: list, count, extract frames, draw, write your own, check a submission."
)

MOST_FAILURES = 10
"""Videos that cannot be extracted are named up to so many."""

Root = Annotated[
    Path, typer.Argument(help="Folder of SA-V: mp4 and JSON files, or JPEGImages_24fps and Annotations_6fps.")
]
Ids = Annotated[list[str] | None, typer.Option("--video", help="Only this video; may be given several times.")]


@app.command("list")
def list_videos(root: Root) -> None:
    """List the videos and how many masklets each has."""
    from masklet.io.sav_folder import count_video, find_videos

    for video in find_videos(root):
        count = count_video(video)
        typer.echo(f"{video.video_id}\t{count.frames} frames\t{count.manual} manual\t{count.auto} auto")


@app.command()
def count(root: Root) -> None:
    """Count videos, frames and masklets."""
    from masklet.io.sav_folder import SavCount, count_video, find_videos

    total = sum((count_video(video) for video in find_videos(root)), SavCount(videos=0))
    typer.echo(f"{total.videos} videos, {total.frames} frames ({total.annotated_frames} annotated)")
    typer.echo(f"{total.manual + total.auto} masklets ({total.manual} manual, {total.auto} auto)")


@app.command()
def frames(
    root: Root,
    out: Annotated[Path, typer.Option("--out", help="Folder for VIDEO/00000.jpg.")],
    fps: Annotated[int, typer.Option(help="24, or 6 for the annotated frames only.")] = 24,
    processes: Annotated[int, typer.Option(min=1, help="Videos extracted at the same time.")] = 1,
    video: Ids = None,
) -> None:
    """Extract frames as JPEG; what is there already is kept, what was broken off is done again."""
    from masklet.cli.progress import frame_progress
    from masklet.errors import InputError
    from masklet.io.processes import work_through
    from masklet.io.sav_folder import choose_videos, find_videos
    from masklet.io.sav_video import Extraction

    chosen = choose_videos(find_videos(root), video or [])
    files = [found.video for found in chosen if found.video is not None]
    if video and len(files) < len(chosen):
        lacking = next(found.video_id for found in chosen if found.video is None)
        raise InputError(f"{lacking} has no mp4 file in {root} to extract frames from")
    if not files:
        raise InputError(f"no mp4 files in {root} to extract frames from")
    written, failures = 0, []
    with frame_progress("extracting", quiet=False, unit="videos") as on_video:
        for done, (_, result) in enumerate(work_through(Extraction(out, fps).attempt, files, processes), 1):
            if isinstance(result, InputError):
                failures.append(result)
            else:
                written += result
            on_video(done, len(files))
    typer.echo(f"{written} frames of {len(files) - len(failures)} videos written to {out}")
    if failures:
        named = [*map(str, failures[:MOST_FAILURES]), *(["and more"] if len(failures) > MOST_FAILURES else [])]
        raise InputError(f"{len(failures)} of {len(files)} videos not extracted:\n" + "\n".join(named))


@app.command()
def draw(
    video: Annotated[Path, typer.Argument(help="The mp4 file.")],
    out: Annotated[Path, typer.Option("--out", help="The mp4 file to write.")],
    masklets: Annotated[
        list[Path] | None, typer.Option("--masklets", help="Annotation files; those beside the video if not given.")
    ] = None,
) -> None:
    """Draw a video's masklets on its annotated frames."""
    from masklet.errors import InputError
    from masklet.io.sav import read_sav
    from masklet.io.sav_video import draw_video

    beside = [video.with_name(f"{video.stem}_{kind}.json") for kind in ("manual", "auto")]
    files = masklets or [path for path in beside if path.is_file()]
    if not files:
        raise InputError(f"no annotations for {video}: looked for {beside[0].name} and {beside[1].name} beside it")
    typer.echo(f"{draw_video(video, [read_sav(path) for path in files], out)} frames drawn to {out}")


@app.command()
def write(
    frames: Annotated[Path, typer.Argument(help="Video file or folder of pictures.")],
    masks: Annotated[Path, typer.Argument(help="Its masks, in any format that `masklet convert` reads.")],
    out: Annotated[
        Path, typer.Option("--out", help="Folder for ID.mp4 and ID_manual.json (ID_auto.json of masks with scores).")
    ],
    video_id: Annotated[str, typer.Option("--id", help="The video's id.")],
) -> None:
    """Write a clip of your own in SA-V's format: an mp4 of 24 frames a second, and the masks of every fourth frame."""
    from masklet.io.formats import read_annotations
    from masklet.io.sav_video import write_sav_video

    for path in write_sav_video(frames, read_annotations(masks), out, video_id):
        typer.echo(str(path))


@app.command()
def check(
    data: Annotated[Path, typer.Option("--data", help="SA-V val or test: JPEGImages_24fps and Annotations_6fps.")],
    predicted: Annotated[Path, typer.Argument(help="Folder with VIDEO/OBJECT/00000.png.")],
) -> None:
    """Check a submission folder before it is sent."""
    from masklet.eval.layouts import open_clips
    from masklet.eval.submission import check_submission

    dataset = open_clips(data, "sav")
    problems = check_submission(dataset, predicted)
    for problem in problems:
        typer.echo(problem)
    typer.echo(f"{len(problems)} problems in {len(dataset.clips)} videos" if problems else "can be sent")
    raise typer.Exit(1 if problems else 0)
