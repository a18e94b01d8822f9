"""Track through frames that come one at a time, as from a camera, in memory that does not grow.

    python examples/stream_frames.py clip.mp4 160 120

Any source of pictures will do in place of the file: each is an RGB array [H, W, 3].
"""

from __future__ import annotations

import argparse

import masklet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip")
    parser.add_argument("x", type=float)
    parser.add_argument("y", type=float)
    parser.add_argument("--model", default="nano")
    options = parser.parse_args()

    stream = masklet.Stream(masklet.load(options.model))
    for number, frame in enumerate(masklet.open_frames(options.clip)):
        masks = stream.step(frame)
        if number == 0:
            masks = stream.add(1, points=[(options.x, options.y)])
        print(f"frame {masks.frame}: {int(masks.areas[0])} pixels; {stream.history_bytes / 1e6:.1f} MB remembered")


if __name__ == "__main__":
    main()
