"""Tables of the report."""

from __future__ import annotations

from eval.markdown import interval_cell, p_cell, table
from eval.results import Result


def test_numbers_have_one_decimal_and_missing_ones_are_dashes():
    """Words stay as they are."""
    assert table(["set", "EV"], [["squad", 12.34], ["wtq", None]]).splitlines() == [
        "| set | EV |",
        "| --- | ---: |",
        "| squad | 12.3 |",
        "| wtq | – |",
    ]


def test_small_p_values_are_bounds():
    """A p-value is never shown as zero."""
    assert p_cell(0.0001) == "p < 0.001"
    assert p_cell(0.0421) == "p 0.042"


def test_an_interval_stands_behind_its_figure():
    """Single figures are shares; the interval is in per cent."""
    assert interval_cell(Result("true", {"EV@20": 50.0}, samples={"EV@20": [0.5, 0.5]}), "EV@20") == "50.0 [50.0, 50.0]"
