"""Track two objects through a clip, correct one on the way, and print where they are.

    python examples/track_clip.py clip.mp4 --first 40,30,120,90 --second 200,60
"""

from __future__ import annotations

import argparse

import masklet


def numbers(text: str) -> list[float]:
    return [float(number) for number in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", help="a video file, or a folder of pictures")
    parser.add_argument("--first", type=numbers, required=True, help="x0,y0,x1,y1 of object 1 on frame 0")
    parser.add_argument("--second", type=numbers, required=True, help="x,y on object 2 on frame 0")
    parser.add_argument("--model", default="nano")
    options = parser.parse_args()

    session = masklet.VideoSession(masklet.load(options.model), options.clip)
    session.add(1, frame=0, box=options.first)
    session.add(2, frame=0, points=[options.second])
    last = None
    for masks in session.propagate():
        print(masks.frame, dict(zip(masks.object_ids, masks.areas.tolist(), strict=True)))
        last = masks
    assert last is not None, "a clip has at least one frame"

    # A click that says "not here" on the last frame; what it changes holds when the clip is tracked again.
    x0, y0, _, _ = last.boxes[0]
    session.add(1, frame=last.frame, points=[(x0, y0)], labels=[0])
    num_frames = sum(1 in masks.object_ids for masks in session.propagate(direction="backward"))
    print(f"corrected on frame {last.frame}; tracked back over {num_frames} frames")


if __name__ == "__main__":
    main()
