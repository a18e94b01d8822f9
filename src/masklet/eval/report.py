"""What an evaluation found, whatever it measured: figures, rows and curves, as JSON, CSV and a table."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masklet.errors import InputError
from masklet.io.documents import member, read_json, write_json, write_text

if TYPE_CHECKING:
    from rich.table import Table


MAX_ROWS = 40
"""In a table on the terminal; all are in the files."""

PROTOCOL = ("counting", "prompt", "mode", "rounds", "clicks", "min_area", "whole")
"""Settings without which two reports' figures do not compare, whatever the models are."""


@dataclass(frozen=True)
class Row:
    """One object or picture with its figures, by column."""

    name: str
    values: dict[str, float]


@dataclass(frozen=True)
class Curve:
    """Lines over a common axis, each a list of (x, y)."""

    title: str
    x_label: str
    y_label: str
    lines: dict[str, list[tuple[float, float]]]


@dataclass(frozen=True)
class Report:
    """An evaluation's outcome.

    settings: what was measured and how; summary: the means, the figure that counts first; timing: what differs from run
    to run. Everything else is the same for the same settings, on however many processes.
    """

    title: str
    settings: dict[str, Any]
    summary: dict[str, float]
    rows: tuple[Row, ...]
    curves: tuple[Curve, ...] = ()
    timing: dict[str, float] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """The columns that any row has, in order."""
        return list(dict.fromkeys(column for row in self.rows for column in row.values))

    @property
    def label(self) -> str:
        """What tells this report from another in a comparison."""
        return str(self.settings.get("model") or self.settings.get("predicted") or self.title)


def write_report(report: Report, folder: Path) -> None:
    """Write `report.json` and `report.csv`. Raises `OutputError`."""
    write_json(folder / "report.json", asdict(report))
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(["name", *report.columns])
    for row in report.rows:
        writer.writerow([row.name, *(row.values.get(column, "") for column in report.columns)])
    writer.writerow(["mean", *(report.summary.get(column, "") for column in report.columns)])
    write_text(folder / "report.csv", lines.getvalue())


def read_report(path: str | Path) -> Report:
    """Read a `report.json`. Raises `InputError` where it is no such file."""
    contents = read_json(path)
    rows = member(contents, "rows", list, str(path))
    curves = member(contents, "curves", list, str(path))
    try:
        return Report(
            title=contents["title"],
            settings=contents["settings"],
            summary=contents["summary"],
            rows=tuple(Row(**row) for row in rows),
            curves=tuple(Curve(**curve) for curve in curves),
            timing=contents["timing"],
        )
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is not a report of masklet eval: {error}") from error


def unlike(report: Report, other: Report) -> str:
    """Why the figures of two reports are of different things, for a person; "" where nothing says that they are."""
    reasons = [
        f"{key} is {report.settings[key]!r} here, {other.settings[key]!r} there"
        for key in PROTOCOL
        if key in report.settings and key in other.settings and report.settings[key] != other.settings[key]
    ]
    ours, theirs = ({row.name for row in one.rows} for one in (report, other))
    if ours != theirs:
        reasons.append(f"of {len(ours)} rows here and {len(theirs)} there they share {len(ours & theirs)}")
    return f"not of the same things: {'; '.join(reasons)}" if reasons else ""


def summary_table(report: Report, other: Report | None = None) -> Table:
    """The means as a table for the terminal, beside another report's and the difference."""
    from rich.table import Table

    table = Table(title=report.title, title_justify="left", min_width=len(report.title))
    table.add_column("", no_wrap=True)
    alike = other is not None and other.label == report.label
    table.add_column(f"{report.label}, now" if alike else report.label, justify="right")
    if other is not None:
        table.add_column(f"{other.label}, then" if alike else other.label, justify="right")
        table.add_column("difference", justify="right")
        table.caption = unlike(report, other) or None
    for name, value in report.summary.items():
        cells = [name, f"{value:.4f}"]
        if other is not None:
            theirs = other.summary.get(name)
            cells += ["-", "-"] if theirs is None else [f"{theirs:.4f}", f"{value - theirs:+.4f}"]
        table.add_row(*cells)
    return table


def rows_table(report: Report) -> Table:
    """The rows as a table for the terminal, the worst `MAX_ROWS` by the first column where there are more."""
    from rich.table import Table

    columns = report.columns
    rows = sorted(report.rows, key=lambda row: row.values[columns[0]])[:MAX_ROWS] if columns else []
    note = "" if len(report.rows) <= MAX_ROWS else f", the {MAX_ROWS} worst of {len(report.rows)}"
    table = Table(title=f"by {columns[0] if columns else 'name'}{note}", title_justify="left")
    for heading in ("", *columns):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=not heading)
    for row in rows:
        table.add_row(row.name, *(f"{row.values[column]:.3f}" if column in row.values else "" for column in columns))
    return table
