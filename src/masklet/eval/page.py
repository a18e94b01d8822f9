"""A report as one HTML file that needs nothing else: figures, curves, the worst results as pictures, every row."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from masklet.eval.charts import curve_svg
from masklet.eval.examples import Example
from masklet.eval.report import Report, Row, unlike
from masklet.io.documents import write_text

STYLE_FILE = "page.css"


def write_page(report: Report, path: Path, examples: Sequence[Example] = (), other: Report | None = None) -> None:
    """Write the page; with another report, differences are shown beside. Raises `OutputError`."""
    style = resources.files("masklet.eval").joinpath(STYLE_FILE).read_text(encoding="utf-8")
    sections = [
        _cards(report, other),
        _curves(report, other),
        _pictures(examples),
        _rows(report, other),
        _settings(report),
    ]
    beside = ""
    if other is not None:
        warning = unlike(report, other)
        beside = f", compared with {escape(other.label)}{escape(f' ({warning})' if warning else '')}"
    write_text(
        path,
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(report.title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{style}</style></head><body><main><h1>{escape(report.title)}</h1>"
        f'<p class="lead">{escape(report.label)}{beside}</p>{"".join(sections)}</main></body></html>\n',
    )


def _cards(report: Report, other: Report | None) -> str:
    cards = []
    for name, value in report.summary.items():
        beside = ""
        if other is not None and name in other.summary:
            beside = _difference(value - other.summary[name], name)
        cards.append(f'<div class="card"><small>{escape(name)}</small><b>{value:.3f}</b>{beside}</div>')
    return f'<div class="cards">{"".join(cards)}</div>'


def _curves(report: Report, other: Report | None) -> str:
    if not report.curves:
        return ""
    others = {curve.title: curve for curve in other.curves} if other is not None else {}
    figures = [
        f"<figure><figcaption><b>{escape(curve.title)}</b>, {escape(curve.y_label)}</figcaption>"
        f"{curve_svg(curve, others.get(curve.title))}</figure>"
        for curve in report.curves
    ]
    return f'<h2>Curves</h2><div class="curves">{"".join(figures)}</div>'


def _pictures(examples: Sequence[Example]) -> str:
    if not examples:
        return ""
    figures = [
        f'<figure><img alt="{escape(example.caption)}" src="data:image/jpeg;base64,'
        f'{base64.b64encode(example.jpeg).decode("ascii")}"><figcaption><b>{example.score:.3f}</b> '
        f"{escape(example.caption)}</figcaption></figure>"
        for example in examples
    ]
    return (
        "<h2>Worst results</h2><p class='lead'>Tinted: what was predicted. White outline: the truth.</p>"
        f'<div class="pictures">{"".join(figures)}</div>'
    )


def _rows(report: Report, other: Report | None) -> str:
    columns = report.columns
    if not columns:
        return ""
    theirs = {row.name: row for row in other.rows} if other is not None else {}
    heads = "".join(f"<th>{escape(column)}</th>" for column in columns)
    heads += "<th>difference</th>" if other is not None else ""
    ordered = sorted(report.rows, key=lambda row: row.values.get(columns[0], 0.0))
    body = "".join(_row(row, columns, theirs.get(row.name), other is not None) for row in ordered)
    table = f"<table><tr><th></th>{heads}</tr>{body}</table>"
    return f'<h2>Every result, the worst first</h2><div class="scroll">{table}</div>'


def _row(row: Row, columns: list[str], theirs: Row | None, compared: bool) -> str:
    cells = "".join(f"<td>{row.values[c]:.3f}</td>" if c in row.values else "<td></td>" for c in columns)
    if compared:
        known = theirs is not None and columns[0] in theirs.values and columns[0] in row.values
        beside = _difference(row.values[columns[0]] - theirs.values[columns[0]], columns[0]) if known and theirs else ""
        cells += f"<td>{beside}</td>"
    return f"<tr><td>{escape(row.name)}</td>{cells}</tr>"


def _difference(value: float, name: str) -> str:
    """A signed difference, coloured by whether it is for the better: decay is better when it falls."""
    better = value < 0 if "decay" in name else value > 0
    kind = "" if abs(value) < 5e-4 else "up" if better else "down"
    return f'<span class="{kind}">{value:+.3f}</span>'


def _settings(report: Report) -> str:
    entries = report.settings | {name: f"{value:.1f}" for name, value in report.timing.items()}
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(_plain(value))}</dd>" for name, value in entries.items())
    return f"<h2>What was measured</h2><dl>{items}</dl>"


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        value = [f"{name}: {entry}" for name, entry in value.items()] or None
    return ", ".join(map(str, value)) if isinstance(value, list) else "default" if value is None else str(value)
