"""Draw the curves of a training run as an SVG file, without any plotting package.

python benchmarks/plot_curves.py RUN/log.jsonl curves.svg --scalars iou/box0 iou/click0 iou/tracked
"""

from __future__ import annotations

import argparse
import json
from itertools import cycle
from pathlib import Path

WIDTH, HEIGHT, LEFT, BELOW, RIGHT, ABOVE = 860, 396, 48, 40, 120, 40
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
SMOOTHING = 0.8


def read_log(path: Path) -> list[dict[str, float]]:
    """One entry for each step noted, the later one where a resumed run noted a step again."""
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    return [entry for _, entry in sorted({entry["step"]: entry for entry in entries}.items())]


def smooth(values: list[float]) -> list[float]:
    """An exponential average."""
    result = values[:1]
    for value in values[1:]:
        result.append(SMOOTHING * result[-1] + (1 - SMOOTHING) * value)
    return result


def draw(log: list[dict[str, float]], scalars: list[str], earlier: int = 0) -> str:
    """The SVG. All scalars share an axis from 0 to 1, as IoU has; vertical lines mark where stages begin.

    earlier: steps trained before this run, which its own are counted on from.
    """
    last = log[-1]["step"]
    across, up = (WIDTH - LEFT - RIGHT) / last, HEIGHT - BELOW - ABOVE
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        '  font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for tenth in range(0, 11, 2):
        y = ABOVE + up * (1 - tenth / 10)
        lines.append(f'<path d="M{LEFT} {y:.0f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        lines.append(f'<text x="{LEFT - 8}" y="{y + 4:.0f}" text-anchor="end">{tenth / 10:.1f}</text>')
    starts = [entry for before, entry in zip([{}, *log], log) if entry["stage"] != before.get("stage")]
    for rank, entry in enumerate(starts):  # names in two rows, as short stages are narrower than theirs
        x = LEFT + entry["step"] * across
        lines.append(f'<path d="M{x:.0f} {ABOVE}V{HEIGHT - BELOW}" stroke="#aaa" stroke-dasharray="3 3"/>')
        lines.append(f'<text x="{x + 4:.0f}" y="{ABOVE - 8 - 14 * (rank % 2)}" fill="#555">{entry["stage"]}</text>')
    for name, colour in zip(scalars, cycle(COLOURS)):
        points = [(entry["step"], entry[name]) for entry in log if name in entry]
        if not points:
            raise SystemExit(f"no {name} in the log; there are {', '.join(sorted(set().union(*log)))}")
        heights = smooth([value for _, value in points])
        path = " ".join(f"{LEFT + s * across:.1f},{ABOVE + up * (1 - v):.1f}" for (s, _), v in zip(points, heights))
        lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        y = ABOVE + up * (1 - heights[-1])
        lines.append(f'<text x="{WIDTH - RIGHT + 6}" y="{y + 4:.0f}" fill="{colour}">{name} {heights[-1]:.2f}</text>')
    steps = f"steps {earlier + 1} to {earlier + last}"
    lines.append(f'<text x="{(WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 10}">{steps}</text>')
    return "\n".join([*lines, "</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("log", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--earlier", type=int, default=0, help="steps trained before this run")
    parser.add_argument("--scalars", nargs="+", default=["iou/box0", "iou/click0", "iou/tracked"])
    options = parser.parse_args()
    options.out.write_text(draw(read_log(options.log), options.scalars, options.earlier))


if __name__ == "__main__":
    main()
