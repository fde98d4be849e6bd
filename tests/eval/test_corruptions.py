"""Spoiled sentences, and what the grounding check makes of them."""

from __future__ import annotations

import random

import pytest

from eval.corruptions import CORRUPTIONS, Material
from eval.grounding import corrupted, unsupported_share
from eval.summaries import SummaryRow

SENTENCE = 'In May 1999 Alice was seen 5 km from Paris with Bob Jones, "in a good mood".'
SOURCE = f"{SENTENCE} Then Carol came to Berlin."


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_each_kind_changes_the_sentence(kind):
    """Something is different afterwards, and the same seed makes the same of it."""
    first, second = (
        CORRUPTIONS[kind](SENTENCE, Material(SOURCE, "We saw Dora in Rome.", random.Random(3))) for _ in "ab"
    )
    assert first == second
    assert first
    assert first != SENTENCE


def test_what_is_changed():
    """A number keeps its length, exchanged names stay, a new name is of the right text, a negation comes or goes."""
    material = Material(SOURCE, "We saw Dora in Rome.", random.Random(0))
    number = CORRUPTIONS["number changed"](SENTENCE, material)
    assert sum(a != b for a, b in zip(number, SENTENCE, strict=True)) == 1
    assert sorted(CORRUPTIONS["names exchanged"](SENTENCE, material)) == sorted(SENTENCE)
    assert " miles from" in CORRUPTIONS["unit changed"](SENTENCE, material)
    assert "In May" not in CORRUPTIONS["date changed"](SENTENCE, material)
    assert "in a good mood" not in CORRUPTIONS["quotation changed"](SENTENCE, material)
    assert {"Dora", "Rome"} & set(CORRUPTIONS["name from elsewhere"](SENTENCE, material).replace(".", "").split())
    assert CORRUPTIONS["negated"]("It was red.", material) == "It was not red."
    assert CORRUPTIONS["negated"]("It was not red.", material) == "It was red."
    assert CORRUPTIONS["number changed"]("It was red.", material) is None


def test_rows():
    """Each kind is made once at most of each summary, and never the sentence as it was."""
    rows = [SummaryRow(str(i), "", f"{SOURCE} {i}", (SENTENCE, "x"), "CC0") for i in range(4)]
    found = list(corrupted(rows))
    assert {kind for kind, _, _ in found} >= {"number changed", "names exchanged", "negated"}
    assert all(text != SENTENCE for _, _, text in found)
    assert len(found) == len({(kind, row.id) for kind, row, _ in found})


def test_unsupported_words():
    """The share of words that are not in the source, whatever their case."""
    assert unsupported_share(["The Loire flows."], ["the loire is long"]) == pytest.approx(100 / 3)
    assert unsupported_share([""], ["x"]) == 0
