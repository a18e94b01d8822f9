"""Curves as SVG, for a page that needs nothing from elsewhere."""

from __future__ import annotations

from html import escape

from masklet.eval.report import Curve

WIDTH, HEIGHT = 620, 320
LEFT, RIGHT, TOP, BOTTOM = 54, 16, 16, 46
COLOURS = ("#2563eb", "#d97706", "#059669", "#db2777", "#7c3aed", "#0891b2", "#65a30d", "#dc2626")
NUM_TICKS = 5
MAX_DOTS = 12
"""Lines of at most this many points have each point marked."""


def curve_svg(curve: Curve, other: Curve | None = None) -> str:
    """The lines of a curve, the vertical axis from 0 to 1; those of another, of the same name, dashed beside them."""
    drawn = [
        (name, points, COLOURS[place % len(COLOURS)], "") for place, (name, points) in enumerate(curve.lines.items())
    ]
    if other is not None:
        drawn += [
            (f"{name} (other)", other.lines[name], colour, ' stroke-dasharray="6 5" opacity="0.75"')
            for name, _, colour, _ in list(drawn)
            if name in other.lines
        ]
    xs = [x for _, points, _, _ in drawn for x, _ in points]
    low, high = (min(xs), max(xs)) if xs else (0.0, 1.0)
    span = (high - low) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - low) / span * (WIDTH - LEFT - RIGHT)
        return round(across, 1), round(TOP + (1 - min(max(y, 0), 1)) * (HEIGHT - TOP - BOTTOM), 1)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(curve.title)}">']
    parts += _axes(curve, low, high)
    for _, points, colour, style in drawn:
        path = " ".join(f"{x},{y}" for x, y in (place(*point) for point in points))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5"{style}/>')
        if len(points) <= MAX_DOTS:
            dots = (place(*point) for point in points)
            parts += [f'<circle cx="{x}" cy="{y}" r="3.5" fill="{colour}"/>' for x, y in dots]
    parts.append("</svg>")
    keys = "".join(
        f'<span><i style="background:{colour}"></i>{escape(name)} {points[-1][1]:.3f}</span>'
        for name, points, colour, _ in drawn
        if points
    )
    return "".join(parts) + f'<p class="key">{keys}</p>'


def _axes(curve: Curve, low: float, high: float) -> list[str]:
    bottom = HEIGHT - BOTTOM
    parts = []
    for tick in range(NUM_TICKS + 1):
        y = tick / NUM_TICKS
        at = round(TOP + (1 - y) * (bottom - TOP), 1)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4}" text-anchor="end">{y:.1f}</text>')
    whole = high - low == int(high - low) <= 2 * NUM_TICKS and low == int(low)
    steps = int(high - low) if whole and high - low > 1 else NUM_TICKS
    for tick in range(steps + 1):
        x = low + (high - low) * tick / steps
        at = round(LEFT + tick / steps * (WIDTH - LEFT - RIGHT), 1)
        parts.append(f'<text x="{at}" y="{bottom + 18}" text-anchor="middle">{x:g}</text>')
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(curve.x_label)}</text>')
    return parts
