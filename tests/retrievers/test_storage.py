"""Vectors in less room: how near they come back, and indexes that keep them so."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from rag_compress import DenseRetriever, Document
from rag_compress.errors import InvalidInput, MissingExtra
from rag_compress.retrievers.storage import StoredVectors
from rag_compress.testing import HashEncoder


def unit_vectors(n: int = 600, dim: int = 32) -> np.ndarray:
    """Returns n vectors of length 1, around 40 centres."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(40, dim))[rng.integers(40, size=n)] + 0.2 * rng.normal(size=(n, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(
    ("kind", "room", "likeness"), [("float32", 1, 1), ("float16", 2, 0.999_99), ("int8", 3.5, 0.999), ("pq", 2.1, 0.97)]
)
def test_room_and_likeness(kind, room: float, likeness: float, tmp_path: Path) -> None:
    """Each kind takes that much less room, with its codebook, and gives back vectors of length 1 that are that like."""
    vectors = unit_vectors()
    stored = StoredVectors.of(vectors, kind)
    assert stored.shape == vectors.shape
    assert len(stored) == len(vectors)
    assert vectors.nbytes / stored.nbytes >= room
    found = stored[:]
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert (found * vectors).sum(1).mean() >= likeness
    stored.save(tmp_path)
    loaded = StoredVectors.load(tmp_path, kind, unit=stored.unit)
    np.testing.assert_array_equal(loaded[:], found)
    np.testing.assert_array_equal(loaded[7], found[7])
    np.testing.assert_array_equal(loaded[np.array([3, 1])], found[[3, 1]])
    assert loaded[7].dtype == np.float32


def test_lengths_other_than_one_stay() -> None:
    """Vectors that are not of length 1 are not made so; zeros stay zeros."""
    vectors = np.concatenate([3 * unit_vectors(4), np.zeros((1, 32), np.float32)])
    np.testing.assert_allclose(StoredVectors.of(vectors, "int8")[:], vectors, atol=0.02)


@pytest.mark.parametrize("kind", ["float16", "int8", "pq"])
def test_an_index_keeps_them(kind, tmp_path: Path) -> None:
    """A saved index returns the same documents with the same embeddings as before it was saved."""
    documents = [Document(str(i), f"text {i}", embedding=v) for i, v in enumerate(unit_vectors())]
    built = DenseRetriever.from_documents(documents, HashEncoder(32), storage=kind)
    built.save(tmp_path / "index")
    loaded = DenseRetriever.load(tmp_path / "index", HashEncoder(32))
    (before,), (after,) = built.retrieve(["text 5"]), loaded.retrieve(["text 5"])
    assert [(d.id, d.score) for d in before] == [(d.id, d.score) for d in after]
    np.testing.assert_array_equal(before[0].embedding, after[0].embedding)
    names = {file.name for file in (tmp_path / "index").rglob("*.npy")}
    assert (
        names
        == {"float16": {"vectors.npy"}, "int8": {"codes.npy", "scales.npy"}, "pq": {"codes.npy", "codebook.npy"}}[kind]
    )


def test_what_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown kind, too few vectors for centroids, and no faiss to find them."""
    with pytest.raises(InvalidInput, match="float32, float16, int8, pq"):
        StoredVectors.of(unit_vectors(3), "int4")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="at least 256"):
        StoredVectors.of(unit_vectors(3), "pq")
    with pytest.raises(InvalidInput, match=r"above 65504, and a vector has 100000"):
        StoredVectors.of(np.array([[1e5, 1.0]], np.float32), "float16")
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.delitem(sys.modules, "rag_compress.retrievers.faiss", raising=False)
    with pytest.raises(MissingExtra, match=r"rag-compress\[cpu\]"):
        StoredVectors.of(unit_vectors(), "pq")
