"""The gate: nothing at all rather than what does not help."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from rag_compress import Context, ExtractiveCompressor, LexicalScorer, RelevanceGate
from rag_compress.errors import InvalidInput
from rag_compress.models.protocols import Passage


class Rivers:
    """Finds every passage that names a river relevant."""

    def relevance(self, queries: Sequence[str], passages: Sequence[Sequence[Passage]]) -> list[np.ndarray]:
        """Returns 0.9 or 0.01."""
        return [np.array([0.9 if "river" in p.text else 0.01 for p in group], np.float32) for group in passages]


def test_gate() -> None:
    """One document that helps lets all of them pass; without one everything is dropped, and the notes say so."""
    gate = RelevanceGate(Rivers(), threshold=0.5)
    helps, does_not = gate([Context.whole("q?", ["a river", "x"]), Context.whole("q?", ["bread", "x"])])
    assert len(helps.segments) == 2
    assert does_not.is_empty
    assert len(does_not.dropped) == 2
    assert does_not.notes["gate"] == {"relevance": 0.01, "passed": False}
    assert helps.notes["gate"]["passed"]


def test_what_passes_unasked() -> None:
    """A blank query passes, and so does an empty context; a document that was dropped before does not count."""
    gate = RelevanceGate(Rivers(), threshold=0.5)
    blank, empty = Context.whole(" ", ["bread"]), Context("q?")
    assert gate([blank, empty]) == [blank, empty]
    pipeline = ExtractiveCompressor(LexicalScorer()) >> gate
    assert not pipeline.compress("river?", ["a river"]).is_empty
    with pytest.raises(InvalidInput, match="threshold"):
        RelevanceGate(Rivers(), threshold=2)
