"""Reads `matrix.toml`: which command measures which system on which data, and what it should give."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

MATRIX = Path(__file__).parent / "matrix.toml"


class Check(NamedTuple):
    """One figure held against what was expected; `measured` is `None` when the result lacks it."""

    name: str
    measured: float | None
    wanted: str
    holds: bool


@dataclass(frozen=True)
class Row:
    """One command and what its figures should be.

    Attributes:
        system: What is measured.
        data: What it is measured on.
        command: What to run from the root of the repository.
        result: The name of the result file that the command writes.
        expected: Figures by name.
        tolerance: How far a figure may be from the expected one, in its own unit.
        at_least: Lower bounds by name.
        at_most: Upper bounds by name.
        published: What others report for the same system and data; compared in the report, never checked.
    """

    system: str
    data: str
    command: str
    result: str
    expected: Mapping[str, float] = field(default_factory=dict)
    tolerance: float = 0.5
    at_least: Mapping[str, float] = field(default_factory=dict)
    at_most: Mapping[str, float] = field(default_factory=dict)
    published: Mapping[str, float] = field(default_factory=dict)

    def checks(self, scores: Mapping[str, float]) -> Iterator[Check]:
        """Yields every expectation held against the scores of a result."""
        for name, value in self.expected.items():
            measured = scores.get(name)
            holds = measured is not None and abs(measured - value) <= self.tolerance + 1e-9
            yield Check(name, measured, f"{value:g} ± {self.tolerance:g}", holds)
        for name, bound in self.at_least.items():
            measured = scores.get(name)
            yield Check(name, measured, f"≥ {bound:g}", measured is not None and measured >= bound)
        for name, bound in self.at_most.items():
            measured = scores.get(name)
            yield Check(name, measured, f"≤ {bound:g}", measured is not None and measured <= bound)


def read_matrix(file: Path = MATRIX) -> list[Row]:
    """Returns the rows in the order of the file."""
    return [Row(**row) for row in tomllib.loads(file.read_text(encoding="utf-8"))["row"]]
