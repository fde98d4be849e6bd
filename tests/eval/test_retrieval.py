"""Measures of rankings, and the parity of two backends."""

from __future__ import annotations

import pytest

pytest.importorskip("ir_measures")

from eval.datasets import Collection
from eval.retrieval import measure, parity
from rag_compress.types import Document


def ranking(*scores: tuple[str, float]) -> list[Document]:
    """Returns documents with these ids and scores, in this order."""
    return [Document(doc_id, "text", score=score) for doc_id, score in scores]


def test_measures_follow_the_order_of_the_queries():
    """The first query finds its document at once, the second not at all; one without relevant documents is left out."""
    judgements = {"q1": {"a": 2}, "q2": {"b": 1}, "q3": {"a": 0}}
    collection = Collection((), {"q1": "one", "q2": "two", "q3": "three"}, judgements)
    found = {"q1": ranking(("a", 2.0), ("b", 1.0)), "q2": ranking(("a", 1.0)), "q3": ranking(("b", 1.0))}
    assert measure(found, collection) == {"nDCG@10": [1.0, 0.0], "R@100": [1.0, 0.0]}


def test_tied_documents_may_change_places():
    """Rankings that differ in the order of equal scores alone are the same but for ties."""
    one, other = {"q": ranking(("a", 2.0), ("b", 1.0))}, {"q": ranking(("a", 2.0), ("c", 1.0))}
    assert parity(one, other) == (0.0, 1.0)


def test_documents_above_the_ties_must_be_the_same():
    """Another document with a higher score is a difference."""
    one, other = {"q": ranking(("a", 2.0), ("b", 1.0))}, {"q": ranking(("b", 2.0), ("a", 1.0))}
    assert parity(one, other) == (0.0, 0.0)
