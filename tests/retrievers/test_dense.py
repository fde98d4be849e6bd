"""Dense retrieval: indexes agree, embeddings travel, bad encoders are caught."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from rag_compress import DenseRetriever, Document
from rag_compress.errors import InvalidInput, MissingExtra, ModelError
from rag_compress.retrievers.vectors import build_vector_index
from rag_compress.testing import HashEncoder


def random_vectors(n: int, dim: int = 32) -> np.ndarray:
    """Returns n unit vectors."""
    vectors = np.random.default_rng(0).normal(size=(n, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_flat_is_exact() -> None:
    """Faiss's exact index finds what NumPy finds, with the same scores."""
    vectors = random_vectors(500)
    numpy_hits = build_vector_index(vectors, "numpy").search(vectors[:20], 10)
    faiss_hits = build_vector_index(vectors, "flat").search(vectors[:20], 10)
    for (positions, scores), (expected, expected_scores) in zip(faiss_hits, numpy_hits, strict=True):
        np.testing.assert_array_equal(positions, expected)
        np.testing.assert_allclose(scores, expected_scores, atol=1e-5)


@pytest.mark.parametrize(("kind", "recall"), [("hnsw", 0.95), ("ivfpq", 0.3)])
def test_approximate_recall(kind, recall: float) -> None:
    """The approximate indexes find at least this share of the exact ten nearest, on random vectors (the worst case)."""
    vectors = random_vectors(10_000)
    exact = build_vector_index(vectors, "numpy").search(vectors[:50], 10)
    found = build_vector_index(vectors, kind).search(vectors[:50], 10)
    shared = [len(set(a[0]) & set(b[0])) / 10 for a, b in zip(exact, found, strict=True)]
    assert np.mean(shared) >= recall


def test_without_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without faiss the search falls back on NumPy, and asking for a faiss index names the extra."""
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.delitem(sys.modules, "rag_compress.retrievers.faiss", raising=False)
    assert DenseRetriever.from_documents([Document("1", "river")], HashEncoder()).index.kind == "numpy"  # type: ignore[attr-defined]
    with pytest.raises(MissingExtra, match=r"rag-compress\[cpu\]"):
        build_vector_index(random_vectors(10), "hnsw")


def test_embeddings_travel() -> None:
    """Retrieved documents carry their vectors, and given vectors are not encoded again."""

    class Refuses:
        def encode(self, texts):
            raise AssertionError("nothing to encode")

    documents = [Document(str(i), f"text {i}", embedding=v) for i, v in enumerate(random_vectors(3))]
    retriever = DenseRetriever.from_documents(documents, Refuses(), query_encoder=HashEncoder(32))
    (found,) = retriever.retrieve(["text"])
    for document in found:
        assert document.embedding is not None
        np.testing.assert_array_equal(document.embedding, documents[int(document.id)].embedding)


def test_some_documents_have_vectors() -> None:
    """Documents without a vector are encoded beside those that have one."""
    given = Document("given", "river", embedding=HashEncoder().encode(["bread"])[0])
    retriever = DenseRetriever.from_documents([given, Document("new", "river")], HashEncoder())
    assert retriever.retrieve(["bread"])[0][0].id == "given"


@pytest.mark.parametrize(
    "wrong", [np.zeros((1, 4)), np.zeros(2), np.full((2, 4), np.nan), [[1, 2], [3]], [["a"], ["b"]]]
)
def test_wrong_vectors(wrong: np.ndarray) -> None:
    """An encoder that returns another shape, or NaN, is an error that names it."""

    class Wrong:
        def encode(self, texts):
            return wrong

    with pytest.raises(ModelError, match="Wrong"):
        DenseRetriever.from_documents([Document("1", "a"), Document("2", "b")], Wrong())


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        ([np.ones(3), np.ones(4)], "one shape"),
        ([np.ones((2, 2)), np.ones((2, 2))], "one shape"),
        ([np.ones(2), np.array([1, np.nan])], "not a finite number"),
    ],
)
def test_wrong_given_vectors(embeddings: list[np.ndarray], message: str) -> None:
    """Vectors that come with documents are checked like encoded ones."""
    documents = [Document(str(i), "text", embedding=vector) for i, vector in enumerate(embeddings)]
    with pytest.raises(InvalidInput, match=message):
        DenseRetriever.from_documents(documents, HashEncoder(2))


@pytest.mark.parametrize("kind", ["numpy", "flat"])
def test_ties_keep_the_order_of_the_documents(kind) -> None:
    """Documents with equal scores come in order of position."""
    hits = build_vector_index(np.ones((20, 4), np.float32), kind).search(np.ones((1, 4), np.float32), 20)
    assert hits[0][0].tolist() == list(range(20))


def test_unknown_index() -> None:
    """An unknown kind of index is an error that lists the known ones."""
    with pytest.raises(InvalidInput, match="auto, numpy, flat, hnsw or ivfpq"):
        build_vector_index(random_vectors(3), "annoy")  # type: ignore[arg-type]
