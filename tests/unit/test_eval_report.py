"""Reports: written and read again, and pages that show what they should and nothing that breaks them."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from rich.console import Console

from masklet.errors import InputError
from masklet.eval.charts import curve_svg
from masklet.eval.examples import Example, worst_of
from masklet.eval.page import write_page
from masklet.eval.report import Curve, Report, Row, read_report, rows_table, summary_table, unlike, write_report
from masklet.eval.running import WRITTEN, measure_all

CURVE = Curve("J&F by clicks", "clicks", "mean", {"J&F": [(1.0, 0.5), (2.0, 0.6), (3.0, 0.9)]})
ROWS = (Row("cat/1", {"J&F": 0.25, "J decay": 0.1}), Row("<b>dog</b>/1", {"J&F": 0.75, "J decay": 0.3}))
REPORT = Report("A <test>", {"model": "nano", "clips": ["cat"]}, {"J&F": 0.5, "J decay": 0.2}, ROWS, (CURVE,))
OTHER = replace(
    REPORT, settings={"model": "large"}, summary={"J&F": 0.75, "J decay": 0.3}, rows=(Row("cat/1", {"J&F": 0.5}),)
)


class Tags(HTMLParser):
    """Counts tags and sees that every one is closed."""

    VOID = frozenset({"meta", "img", "line", "circle", "polyline", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_figures_of_other_things_are_not_compared_without_a_word(tmp_path):
    same = replace(REPORT, settings={"model": "large", "clips": ["cat"]})
    assert unlike(REPORT, same) == ""
    assert unlike(REPORT, OTHER) == "not of the same things: of 2 rows here and 1 there they share 1"
    asked = [replace(REPORT, settings=REPORT.settings | {"prompt": prompt}) for prompt in ("mask", "3-click")]
    assert unlike(*asked) == "not of the same things: prompt is 'mask' here, '3-click' there"
    console = Console(file=io.StringIO(), width=200)
    console.print(summary_table(*asked))
    assert "not of the same things" in console.file.getvalue()
    write_page(asked[0], tmp_path / "report.html", (), asked[1])
    assert "prompt is &#x27;mask&#x27; here" in (tmp_path / "report.html").read_text()


def test_reports_are_read_as_they_were_written(tmp_path):
    write_report(REPORT, tmp_path)
    again = read_report(tmp_path / "report.json")
    assert again.rows == REPORT.rows and again.summary == REPORT.summary
    assert [tuple(point) for point in again.curves[0].lines["J&F"]] == CURVE.lines["J&F"]
    lines = (tmp_path / "report.csv").read_text().splitlines()
    assert lines[0] == "name,J&F,J decay" and lines[-1] == "mean,0.5,0.2"


def test_other_json_is_no_report(tmp_path):
    (tmp_path / "other.json").write_text(json.dumps({"rows": [], "curves": []}))
    with pytest.raises(InputError, match=r"other\.json is not a report"):
        read_report(tmp_path / "other.json")


def test_tables_show_differences_and_the_worst_first():
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(summary_table(REPORT, OTHER))
    console.print(rows_table(REPORT))
    text = console.export_text()
    assert "-0.2500" in text and "large" in text
    assert text.index("cat/1") < text.index("dog")


def test_pages_are_whole_and_escape_what_they_show(tmp_path):
    examples = [Example("cat & mouse", 0.1, b"jpeg")]
    write_page(REPORT, tmp_path / "page.html", examples, OTHER)
    page = (tmp_path / "page.html").read_text()
    tags = Tags()
    tags.feed(page)
    assert not tags.open
    assert tags.seen.count("tr") == 3 and tags.seen.count("img") == 1 and tags.seen.count("svg") == 1
    assert "&lt;b&gt;dog" in page and "cat &amp; mouse" in page and "A &lt;test&gt;" in page
    assert '<span class="down">-0.250</span>' in page, "J&F fell"
    assert '<span class="up">-0.100</span>' in page, "a decay that falls is for the better"


def test_curves_keep_to_their_frame_and_draw_the_other_dashed():
    svg = curve_svg(CURVE, replace(CURVE, lines={"J&F": [(1.0, -3.0), (3.0, 7.0)]}))
    points = [
        float(y) for line in svg.split('points="')[1:] for y in (p.split(",")[1] for p in line.split('"')[0].split())
    ]
    assert min(points) >= 0 and max(points) <= 320
    assert svg.count("stroke-dasharray") == 1
    assert svg.count("<circle") == 5, "short lines have their points marked"


def test_a_curve_of_one_point_can_be_drawn():
    assert "<circle" in curve_svg(Curve("t", "x", "y", {"a": [(1.0, 0.5)]}))


def test_the_worst_come_first():
    assert worst_of([(0.5, "b"), (0.1, "a"), (0.9, "c")], limit=2) == [(0.1, "a"), (0.5, "b")]


class Doubling:
    """A measure that can break off."""

    def __init__(self, broken: str | None = None) -> None:
        self.items = ["a", "b", "d"]
        self.settings = {"factor": 2, "masklet": "0"}
        self.stamp = ""
        self.broken = broken
        self.done: list[str] = []

    processes = 1
    written = WRITTEN

    def state(self, item: str) -> str:
        return self.stamp

    def is_kept(self, item: str) -> bool:
        return True

    def __call__(self, item: str) -> dict:
        if item == self.broken:
            raise InputError(f"{item} is damaged")
        self.done.append(item)
        return {"value": item * 2}


def test_what_is_done_is_kept_when_a_run_breaks_off(tmp_path):
    with pytest.raises(InputError, match="b is damaged"):
        measure_all(Doubling("b"), tmp_path, 1)
    again, told = Doubling(), []
    results, seconds = measure_all(again, tmp_path, 1, told.append)
    assert again.done == ["b", "d"]
    assert {item: result["value"] for item, result in results.items()} == {"a": "aa", "b": "bb", "d": "dd"}
    assert sorted(told) == ["a", "b", "d"] and seconds >= 0


def test_results_of_other_settings_are_not_mixed(tmp_path):
    measure_all(Doubling(), tmp_path, 1)
    other = Doubling()
    other.settings = {"factor": 3, "masklet": "0"}
    with pytest.raises(InputError, match="factor = 2, now it is 3"):
        measure_all(other, tmp_path, 1)


def test_an_item_that_changed_is_measured_again(tmp_path):
    measure_all(Doubling(), tmp_path, 1)
    changed = Doubling()
    changed.stamp = "newer"
    measure_all(changed, tmp_path, 1)
    assert changed.done == changed.items


def test_fewer_than_one_process_is_refused(tmp_path):
    with pytest.raises(InputError, match="at least 1, not -1"):
        measure_all(Doubling(), tmp_path, -1)
