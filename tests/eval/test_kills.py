"""The kill test itself."""

from __future__ import annotations

import random

import pytest

from eval.kills import MODES, Trial, _share_same, engine_ways


def test_share_of_the_same_rows() -> None:
    """A row that is lost, altered or there twice counts against the share."""
    rows = [{"id": i, "text": "x"} for i in range(4)]
    assert _share_same(rows, rows) == 100
    for found in (rows[:3], [*rows[:3], {"id": 3, "text": "y"}]):
        assert _share_same(found, rows) == 75
    assert _share_same([*rows, rows[3]], rows) == 80


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_a_small_trial(mode: str) -> None:
    """Runs over files are killed and resumed to the undisturbed result."""
    texts: dict[int, str | None] = {i: f"The program {i} returns an error. Bread is baked." for i in range(200)}
    with engine_ways("local") as ways:
        assert Trial("jsonl", texts, ways[:1], mode).killed(2, random.Random(0)) == 100
