"""Pseudo-relevance feedback on vectors: the first documents found make a better query."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rag_compress.checks import check_choice, check_count, check_number
from rag_compress.errors import InvalidInput
from rag_compress.models.protocols import Encoder
from rag_compress.retrievers.bm25 import BM25Retriever
from rag_compress.retrievers.dense import DenseRetriever
from rag_compress.retrievers.fusion import Interpolation
from rag_compress.retrievers.index_folder import IndexFolder, read_index, write_index
from rag_compress.stages import Retriever
from rag_compress.types import Document, as_documents

When = Literal["never", "before", "after", "both"]
_KIND = "feedback"


@dataclass(frozen=True)
class Average:
    """The new query is the mean of the query's vector and those of the k feedback documents."""

    def combine(self, query: NDArray[np.float32], found: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns float32 `(dim,)` from a query `(dim,)` and documents `(k, dim)`."""
        return np.asarray(np.vstack([query[None], found]).mean(axis=0), dtype=np.float32)


@dataclass(frozen=True)
class Rocchio:
    """The new query is alpha times the query's vector plus beta times the mean of the k feedback documents'."""

    alpha: float = 1.0
    beta: float = 0.5

    def combine(self, query: NDArray[np.float32], found: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns float32 `(dim,)` from a query `(dim,)` and documents `(k, dim)`."""
        return np.asarray(self.alpha * query + self.beta * found.mean(axis=0), dtype=np.float32)


@dataclass(frozen=True)
class FeedbackRetriever(Retriever):
    """Searches twice: the second time with a query moved towards the first `feedback` documents found.

    With a sparse retriever, scores are interpolated (see `Interpolation`) before the feedback documents are taken,
    after the second search, or both: `sparse_weight` goes to the sparse scores, the rest to the dense ones.

    Source: Li et al., "To Interpolate or not to Interpolate: PRF, Dense and Sparse Retrievers", SIGIR 2022, where both
    and after beat before; Vector-PRF is from Li et al., "Pseudo Relevance Feedback with Deep Language Models", 2023.

    Attributes:
        dense: Searches twice.
        sparse: The other side of the interpolation, such as BM25; needed unless `interpolate` is "never".
        k: How many documents a query gets.
        method: How the query is moved.
        feedback: How many documents move it.
        interpolate: When the sparse scores come in.
        sparse_weight: Their weight, in [0, 1].
        depth: How many documents each search contributes.
    """

    dense: DenseRetriever
    sparse: Retriever | None = None
    k: int = 10
    method: Average | Rocchio = Rocchio()
    feedback: int = 3
    interpolate: When = "after"
    sparse_weight: float = 0.5
    depth: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("feedback", self.feedback, least=1)
        check_count("depth", self.depth, least=1)
        check_number("sparse_weight", self.sparse_weight, 0, 1)
        check_choice("interpolate", self.interpolate, When)
        if self.interpolate != "never" and self.sparse is None:
            raise InvalidInput(f"interpolate={self.interpolate!r} needs a sparse retriever; 'never' does not")

    @classmethod
    def from_documents(
        cls, documents: Iterable[Document | str], encoder: Encoder | str, k: int = 10, interpolate: When = "after"
    ) -> FeedbackRetriever:
        """Returns feedback on a dense retriever, interpolated with BM25 over the same documents."""
        documents = as_documents(documents)
        sparse = None if interpolate == "never" else BM25Retriever.from_documents(documents)
        return cls(DenseRetriever.from_documents(documents, encoder), sparse, k, interpolate=interpolate)

    def rank(self, queries: Sequence[str], k: int) -> list[list[Document]]:
        """Returns the documents of the second search, interpolated or not."""
        depth = max(k, self.depth)
        lexical = self.sparse.retrieve(queries, depth) if self.sparse else [[] for _ in queries]
        vectors = self.dense.encode_queries(queries)
        first = self._interpolated("before", self.dense.search(vectors, depth), lexical)
        moved = np.stack([self._moved(vector, found) for vector, found in zip(vectors, first, strict=True)])
        second = self._interpolated("after", self.dense.search(moved, depth), lexical)
        return [found[:k] for found in second]

    def save(self, folder: str | PathLike[str]) -> None:
        """Writes both retrievers to folders within the folder, in one step.

        Raises:
            InvalidInput: The sparse retriever is not one of this library's and cannot be saved.
        """
        if self.sparse is not None and not isinstance(self.sparse, BM25Retriever):
            raise InvalidInput(f"Only a BM25Retriever can be saved as the sparse side, not {self.sparse!r:.200}")
        sparse = self.sparse

        def save(data: Path) -> None:
            self.dense.save(data / "dense")
            if sparse is not None:
                sparse.save(data / "sparse")

        rocchio = [self.method.alpha, self.method.beta] if isinstance(self.method, Rocchio) else None
        options = {name: getattr(self, name) for name in _SAVED}
        write_index(folder, _KIND, {"rocchio": rocchio, "options": options, "sparse": sparse is not None}, save)

    @classmethod
    def load(
        cls,
        folder: str | PathLike[str],
        encoder: Encoder | str | None = None,
        query_encoder: Encoder | str | None = None,
    ) -> FeedbackRetriever:
        """Returns the retriever that was saved; the encoders are for its dense part (see `DenseRetriever.load`)."""

        def build(saved: IndexFolder) -> FeedbackRetriever:
            rocchio = saved.parameters["rocchio"]
            return cls(
                DenseRetriever.load(saved.data / "dense", encoder, query_encoder),
                BM25Retriever.load(saved.data / "sparse") if saved.parameters["sparse"] else None,
                method=Rocchio(*rocchio) if rocchio else Average(),
                **saved.parameters["options"],
            )

        return read_index(folder, _KIND, build)

    def _interpolated(
        self, when: When, dense: list[list[Document]], sparse: Sequence[list[Document]]
    ) -> list[list[Document]]:
        if self.interpolate not in (when, "both"):
            return dense
        fusion = Interpolation((1 - self.sparse_weight, self.sparse_weight))
        return [fusion.fuse(rankings) for rankings in zip(dense, sparse, strict=True)]

    def _moved(self, vector: NDArray[np.float32], found: Sequence[Document]) -> NDArray[np.float32]:
        # A document that only the sparse retriever found has its vector in the dense index, too.
        position_of = self.dense.position_of
        known = [position_of[document.id] for document in found[: self.feedback] if document.id in position_of]
        return self.method.combine(vector, self.dense.vectors[known]) if known else vector


_SAVED = ("k", "feedback", "interpolate", "sparse_weight", "depth")
