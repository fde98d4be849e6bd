"""Pseudo-relevance feedback: how the query moves, and when the sparse scores come in."""

from __future__ import annotations

import numpy as np
import pytest

from rag_compress import BM25Retriever, DenseRetriever, Document, FeedbackRetriever
from rag_compress.errors import InvalidInput
from rag_compress.retrievers import Average, Rocchio
from rag_compress.testing import HashEncoder


def test_average_and_rocchio() -> None:
    """Average is the mean of query and documents; Rocchio is alpha * query + beta * mean of documents."""
    query, found = np.array([1.0, 0.0], np.float32), np.array([[0.0, 1.0], [0.0, 3.0]], np.float32)
    np.testing.assert_allclose(Average().combine(query, found), [1 / 3, 4 / 3])
    np.testing.assert_allclose(Rocchio(0.5, 2.0).combine(query, found), [0.5, 4.0])


def test_feedback_reaches_what_the_query_does_not_name() -> None:
    """A document that shares words only with the first hit is found after feedback, and only then."""
    documents = [
        Document("hit", "river loire valley castle"),
        Document("near", "castle valley tower"),
        Document("far", "bread flour water"),
    ]
    encoder = HashEncoder(1024)
    dense = DenseRetriever.from_documents(documents, encoder, index="numpy")
    score = {d.id: d.score for d in dense.retrieve(["river"])[0]}
    assert score["near"] == pytest.approx(0)
    moved = FeedbackRetriever(dense, feedback=1, interpolate="never").retrieve(["river"])[0]
    assert [d.id for d in moved][:2] == ["hit", "near"]
    assert (moved[1].score or 0) > 0.1


def test_feedback_from_what_only_words_found() -> None:
    """A document that only the sparse retriever found moves the query, by its vector in the dense index."""
    documents = [Document("dense", "alpha beta"), Document("sparse", "gamma delta")]
    dense = DenseRetriever.from_documents(
        documents, HashEncoder(1024), query_encoder=_Fixed(HashEncoder(1024).encode(["alpha"]))
    )
    sparse = BM25Retriever.from_documents(documents)
    retriever = FeedbackRetriever(dense, sparse, feedback=1, interpolate="before", sparse_weight=1.0, depth=1)
    assert {d.id: d.score for d in retriever.retrieve(["gamma"], k=2)[0]}["sparse"] == pytest.approx(0.5)


class _Fixed:
    """Encodes everything as one vector."""

    def __init__(self, vector: np.ndarray) -> None:
        self.vector = vector

    def encode(self, texts):
        """Returns the vector once for each text."""
        return np.repeat(self.vector, len(texts), axis=0)


def test_interpolation_needs_a_sparse_retriever() -> None:
    """Asking for interpolation without a sparse retriever is an error, as are impossible weights and words."""
    dense = DenseRetriever.from_documents([Document("1", "a river")], HashEncoder())
    sparse = BM25Retriever.from_documents([Document("1", "a river")])
    with pytest.raises(InvalidInput, match="needs a sparse retriever"):
        FeedbackRetriever(dense, interpolate="both")
    with pytest.raises(InvalidInput, match="sparse_weight"):
        FeedbackRetriever(dense, sparse, sparse_weight=1.5)
    with pytest.raises(InvalidInput, match="'often'"):
        FeedbackRetriever(dense, sparse, interpolate="often")  # type: ignore[arg-type]


@pytest.mark.parametrize("when", ["before", "after", "both"])
def test_sparse_scores_come_in(when) -> None:
    """With all weight on the sparse side, the ranking after the second search is the sparse one."""
    documents = [Document(str(i), text) for i, text in enumerate(["river bank", "river river", "bread"])]
    dense = DenseRetriever.from_documents(documents, HashEncoder())
    sparse = BM25Retriever.from_documents(documents)
    found = FeedbackRetriever(dense, sparse, interpolate=when, sparse_weight=1.0).retrieve(["river"])[0]
    if when != "before":
        assert [d.id for d in found][:2] == [d.id for d in sparse.retrieve(["river"])[0]]
    assert len(found) == 3
