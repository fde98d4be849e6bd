"""Writes tables and their cells in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eval.results import Result
from eval.significance import bootstrap_interval


def table(header: Sequence[str], rows: Iterable[Sequence[str | float | None]]) -> str:
    """Returns a table: numbers with one decimal and to the right, `None` as a dash."""
    lines = [header, ["---" if i == 0 else "---:" for i in range(len(header))]]
    lines += [[_cell(value) for value in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def interval_cell(result: Result, figure: str) -> str:
    """Returns a figure with the 95% bootstrap interval of its single questions, as percentages."""
    low, high = bootstrap_interval(result.samples[figure])
    return f"{result.scores[figure]:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def p_cell(p: float) -> str:
    """Returns a p-value with three decimals."""
    return "p < 0.001" if p < 0.001 else f"p {p:.3f}"


def _cell(value: str | float | None) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else f"{value:.1f}"
