"""`check_context` catches every kind of broken promise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rag_compress import Context, Document, PromptTemplate, Segment, Span
from rag_compress.models.protocols import Passage
from rag_compress.testing import HashEncoder, OverlapScorer, check_context

DOCUMENTS = (Document("a", "one two three"), Document("b", "four five"))
BEFORE = Context.whole("q", DOCUMENTS)
GOOD = replace(
    BEFORE,
    segments=(Segment.of(DOCUMENTS[0], 0, 3), Segment.of(DOCUMENTS[1], 0, 4)),
    dropped=(Segment.of(DOCUMENTS[0], 4), Segment.of(DOCUMENTS[1], 5)),
)
A, B = GOOD.segments


def test_a_good_result_passes() -> None:
    """A kept promise raises nothing."""
    check_context(BEFORE, GOOD, PromptTemplate(), max_tokens=50)


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (replace(GOOD, query="other"), "query changed"),
        (replace(GOOD, documents=DOCUMENTS[:1]), "documents changed"),
        (replace(GOOD, documents=DOCUMENTS[::-1]), "documents changed"),
        (replace(GOOD, dropped=()), "neither kept nor dropped"),
        (replace(GOOD, segments=(B, A)), "not in the order"),
        (replace(GOOD, segments=(A, A)), "overlap"),
        (replace(GOOD, segments=(replace(A, text="One"),)), "not verbatim"),
        (replace(GOOD, dropped=(replace(A, text="One"),)), "not verbatim"),
        (replace(GOOD, segments=(replace(A, spans=(Span("c", 0, 3),)),)), "no document"),
        (replace(GOOD, segments=(Segment("one", (Span("a", 0, 99),)),)), "ends behind"),
        (replace(GOOD, segments=(Segment("x" * 99, (Span("a", 0, 3),), verbatim=False),)), "longer than before"),
    ],
)
def test_a_broken_promise_is_caught(after: Context, message: str) -> None:
    """Each broken promise has its own message."""
    with pytest.raises(AssertionError, match=message):
        check_context(BEFORE, after, PromptTemplate())


def test_an_exceeded_budget_is_caught() -> None:
    """One token too many is one too many."""
    template = PromptTemplate(tokenizer=lambda text: len(text.split()))
    check_context(BEFORE, GOOD, template, max_tokens=4)
    with pytest.raises(AssertionError, match="4 tokens exceed the budget of 3"):
        check_context(BEFORE, GOOD, template, max_tokens=3)


def test_the_small_models() -> None:
    """The hash encoder puts texts with the same words together; the overlap scorer counts the query's words."""
    river, rivers, bread = HashEncoder().encode(["the river", "rivers!", "bread"])
    assert np.allclose(river, rivers)
    assert not np.allclose(river, bread)
    assert HashEncoder(8).encode([""]).tolist() == [[0.0] * 8]
    assert OverlapScorer().score(["river bank"], [[Passage("", "a river", [(0, 7)])]])[0][0].tolist() == [0.5]
