"""Search among vectors by inner product: exact with NumPy, or with faiss (see `faiss.py`) when it is installed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from rag_compress.checks import check_choice
from rag_compress.errors import MissingExtra
from rag_compress.retrievers.ranking import Hits, top_k

IndexKind = Literal["auto", "numpy", "flat", "hnsw", "ivfpq"]
_LARGE, _HUGE = 50_000, 1_000_000


class VectorIndex(Protocol):
    """Finds the vectors nearest to a query."""

    def search(self, queries: NDArray[np.float32], k: int) -> list[Hits]:
        """Returns, for each row of queries `(n, dim)`, the positions of its at most k best vectors, best first."""
        ...

    def save(self, folder: Path) -> None:
        """Writes what `load_vector_index` needs beyond the vectors themselves."""
        ...


def build_vector_index(vectors: NDArray[np.float32], kind: IndexKind = "auto") -> VectorIndex:
    """Returns an index over vectors `(n, dim)`.

    Args:
        vectors: What to search.
        kind: `numpy` and `flat` (faiss) are exact; `hnsw` and `ivfpq` are approximate, faster, and for many vectors.
            `auto`: flat, from 50,000 vectors on hnsw, from 1,000,000 on ivfpq; numpy when faiss is not installed.

    Raises:
        InvalidInput: The kind is unknown.
        MissingExtra: The kind needs faiss.
    """
    check_choice("A vector index", kind, IndexKind)
    if kind == "numpy":
        return NumPyIndex(vectors)
    try:
        from rag_compress.retrievers.faiss import FaissIndex
    except MissingExtra:
        if kind != "auto":
            raise
        return NumPyIndex(vectors)
    if kind == "auto":
        kind = "flat" if len(vectors) < _LARGE else "hnsw" if len(vectors) < _HUGE else "ivfpq"
    return FaissIndex.build(vectors, kind)


def load_vector_index(folder: Path, vectors: NDArray[np.float32], kind: IndexKind) -> VectorIndex:
    """Returns the index that was saved; exact kinds are built anew from the vectors."""
    if kind in ("hnsw", "ivfpq"):
        from rag_compress.retrievers.faiss import FaissIndex

        return FaissIndex.load(folder, kind)
    return build_vector_index(vectors, "auto" if kind == "flat" and len(vectors) < _LARGE else kind)


@dataclass(frozen=True, eq=False)
class NumPyIndex:
    """Exact search by one matrix product."""

    vectors: NDArray[np.float32] = field(repr=False)
    kind: IndexKind = "numpy"

    def search(self, queries: NDArray[np.float32], k: int) -> list[Hits]:
        """Returns the k best of all vectors, ties in order of position."""
        hits: list[Hits] = []
        for query in queries:
            scores = np.asarray(self.vectors @ query, dtype=np.float32)
            best = top_k(scores, k)
            hits.append((best, scores[best]))
        return hits

    def save(self, folder: Path) -> None:
        """Writes nothing: the vectors are all there is."""
