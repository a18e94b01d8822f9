"""Time to encode a picture and to track a frame, beside the official package's.

    python benchmarks/encode_and_track_vs_official.py --official /path/to/python/with/sam2

Each package runs in a process of its own environment, and they take turns, so that a busy machine slows both; `nano`,
at the size it sees, takes its turn at frames too. Prints the median of each and of the ratios to the official package,
writes JSON with the hardware where asked to, and fails where ours is slower than `--most` or `nano` than `--most-nano`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from masklet.config import NANO
from one_side import WARM_FRAMES
from sides import Worker, config_file, hardware, seeded_checkpoint, write_clip


def take_turns(workers: dict[str, Worker], what: str, rounds: int) -> dict[str, list[float]]:
    """Seconds of each side, round by round; every other round begins with the other side."""
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    for turn in range(rounds):
        order = list(workers) if turn % 2 == 0 else list(workers)[::-1]
        for name in order:
            seconds[name].append(workers[name].ask(what))
    return seconds


def compare(seconds: dict[str, list[float]], name: str) -> dict[str, Any]:
    """One of our sides against the official one."""
    ours, official = seconds[name], seconds["official"]
    ratios = [mine / theirs for mine, theirs in zip(ours, official, strict=True)]
    medians = {"ours": statistics.median(ours), "official": statistics.median(official)}
    return {"seconds": {"ours": ours, "official": official}, "median": medians, "ratio": statistics.median(ratios)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--official", required=True, help="Python of an environment with the official package")
    parser.add_argument("--checkpoint", default="sam2.1_hiera_t", help="which seeded weights")
    parser.add_argument("--objects", type=int, default=1)
    parser.add_argument("--video-size", type=int, default=1024, help="side at which the model looks at a clip")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--most", type=float, default=1.05, help="largest median ratio allowed")
    parser.add_argument("--most-nano", type=float, default=1 / 40, help="the same for `nano`")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()

    workers = {
        "ours": Worker(sys.executable, "masklet.sam2", options.threads),
        "official": Worker(options.official, "sam2", options.threads),
    }
    with tempfile.TemporaryDirectory() as folder:
        model = {
            "config": config_file(options.checkpoint),
            "checkpoint": str(seeded_checkpoint(options.checkpoint, Path(folder))),
        }
        clip = write_clip(Path(folder) / "clip", WARM_FRAMES + options.rounds + 1)
        tracking = {"clip": str(clip), "num_objects": options.objects}
        for worker in workers.values():
            worker.ask("prepare_encode", **model)
            worker.ask("prepare_frame", **model, **tracking, image_size=options.video_size)
            print(f"{worker.versions['package']} is ready")
        encoding = take_turns(workers, "encode", options.rounds)
        workers["nano"] = Worker(sys.executable, "masklet.sam2", options.threads)
        nano = {"config": "nano", "checkpoint": None, "image_size": NANO.image_size}
        workers["nano"].ask("prepare_frame", **nano, **tracking)
        tracked = take_turns(workers, "frame", options.rounds)
    rows = {
        "encode": compare(encoding, "ours"),
        "frame": compare(tracked, "ours"),
        "frame with nano": compare(tracked, "nano"),
    }
    for worker in workers.values():
        worker.close()

    for what, row in rows.items():
        ours, official = row["median"]["ours"], row["median"]["official"]
        ratio = f"median ratio {row['ratio']:.4f} (1/{1 / row['ratio']:.1f})"
        print(f"{what:15}  ours {ours:7.3f} s   official {official:7.3f} s   {ratio}")
    report = {"hardware": hardware(), "versions": [worker.versions for worker in workers.values()], **vars(options)}
    if options.json:
        options.json.write_text(json.dumps({**report, "rows": rows}, indent=1, default=str))
    most = {"encode": options.most, "frame": options.most, "frame with nano": options.most_nano}
    sys.exit(any(row["ratio"] > most[what] for what, row in rows.items()))


if __name__ == "__main__":
    main()
