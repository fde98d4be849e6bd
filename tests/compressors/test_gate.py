"""The gate: nothing at all rather than what does not help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from rag_compress import Context, ExtractiveCompressor, LexicalScorer, RelevanceGate, Selection
from rag_compress.errors import InvalidInput
from rag_compress.models.protocols import Passage


class Rivers:
    """Finds every sentence that names a river relevant."""

    def score(self, queries: Sequence[str], passages: Sequence[Sequence[Passage]]) -> list[list[np.ndarray]]:
        """Returns 0.9 or 0.01."""
        return [[np.array([_relevance(p.text[a:b]) for a, b in p.sentences]) for p in group] for group in passages]


def _relevance(text: str) -> float:
    return 0.9 if "river" in text else 0.01


def test_gate() -> None:
    """One document that helps lets all of them pass; without one everything is dropped, and the notes say so."""
    gate = RelevanceGate(Rivers(), threshold=0.5)
    helps, does_not = gate([Context.whole("q?", ["a river", "x"]), Context.whole("q?", ["bread", "x"])])
    assert len(helps.segments) == 2
    assert does_not.is_empty
    assert len(does_not.dropped) == 2
    assert does_not.notes["gate"] == {"relevance": 0.01, "passed": False}
    assert helps.notes["gate"]["passed"]
    assert gate.compress("q?", [" \n"]).is_empty
    assert RelevanceGate(LexicalScorer(), threshold=0.05).compress("river?", ["bread"]).is_empty


def test_one_idea() -> None:
    """The gate opens where that of a selection with the same scorer and threshold does."""
    contexts = [Context.whole("q?", ["A fish. A river."]), Context.whole("q?", ["Bread. Salt."])]
    selection = ExtractiveCompressor(Rivers(), Selection(gate=0.5))
    assert [c.is_empty for c in RelevanceGate(Rivers(), 0.5)(contexts)] == [c.is_empty for c in selection(contexts)]


def test_what_passes_unasked() -> None:
    """A blank query passes, and so does an empty context; a document that was dropped before does not count."""
    gate = RelevanceGate(Rivers(), threshold=0.5)
    blank, empty = Context.whole(" ", ["bread"]), Context("q?")
    assert gate([blank, empty]) == [blank, empty]
    river = Context.whole("q?", ["a river", "bread"])
    (without,) = gate([replace(river, segments=river.segments[1:], dropped=river.segments[:1])])
    assert (without.segments, without.dropped) == ((), river.segments)
    with pytest.raises(InvalidInput, match="threshold"):
        RelevanceGate(Rivers(), threshold=float("nan"))
