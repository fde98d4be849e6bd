"""The report of a job."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from rag_compress.batch.folder import JobFolder
from rag_compress.batch.report import bars, render_report
from rag_compress.batch.tally import Finished, Tally


def test_report() -> None:
    """The report has figures, plots, rows to look at and errors, and text from documents cannot become markup."""
    rows = [
        Finished("a", (100, 10), None, 0.5, True, [(True, "kept <b>"), (False, "dropped")]),
        Finished("b", (0, 0), "failed <script>", 0.0, True, []),
        Finished("c", (50, 50), None, 0.1, False, []),
    ]
    html = render_report({"method": "lexical", "source": "a<b.jsonl"}, Tally.of(rows), [{"seconds": 3.0}])
    for text in ("40.0% of the tokens", "kept &lt;b&gt;", "failed &lt;script&gt;", "lexical over a&lt;b.jsonl"):
        assert text in html
    assert html.count("<svg") == 2
    assert "<script" not in html
    assert "http" not in html


@pytest.mark.parametrize("end", ["", "/", "//"])
def test_its_address(tmp_path: Path, end: str) -> None:
    """The report is found under the address that is told, however many slashes the folder was named with."""
    assert JobFolder(f"{tmp_path}{end}").write_report("<p>") == f"{tmp_path}/_job/report.html"
    assert JobFolder("memory://").address == "memory://"


def test_an_empty_job() -> None:
    """A job without rows has a report too."""
    assert "<svg" in render_report({"method": "m", "source": "s"}, Tally(), [])


def test_bars() -> None:
    """The highest bar fills the plot; the figure is well-formed."""
    figure = ET.fromstring(bars([[1, 2], [0, 4]], ["a", ""], "c & d"))  # noqa: S314 - our own
    heights = [float(bar.get("height") or 0) for bar in figure.iter("rect")]
    assert heights == [43.0, 86.0, 0.0, 172.0]


def test_tallies_merge() -> None:
    """Merged tallies are the tally of all rows, through JSON too."""
    rows = [Finished(str(i), (i, i // 2), "e" if i % 7 == 0 else None, i / 10, i % 2 == 0, []) for i in range(1, 60)]
    merged = Tally()
    for start in range(0, 60, 9):
        merged.merge(Tally.from_json(Tally.of(rows[start : start + 9]).to_json()))
    assert merged.slowest == Tally.of(rows).slowest
    assert merged.most_compressed == Tally.of(rows).most_compressed
    assert (merged.rows, merged.errors, merged.tokens_before) == (59, 8, sum(i for i in range(1, 60) if i % 7))
    assert merged.rates == Tally.of(rows).rates
    assert merged.sizes_before == Tally.of(rows).sizes_before
