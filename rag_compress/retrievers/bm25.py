"""BM25 over documents, by bm25s (default) or by rank-bm25."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, get_args

import bm25s
import numpy as np
from numpy.typing import NDArray

from rag_compress.checks import check_number
from rag_compress.errors import InvalidInput
from rag_compress.retrievers.index_folder import (
    IndexFolder,
    check_documents,
    indexed_text,
    read_documents,
    read_index,
    write_documents,
    write_index,
)
from rag_compress.retrievers.ranking import WORTHLESS, ranked, top_k
from rag_compress.stages import Retriever
from rag_compress.types import Document
from rag_compress.words import words

Method = Literal["lucene", "okapi"]
Backend = Literal["bm25s", "rank-bm25"]
_KIND = "bm25"


class BM25Backend(Protocol):
    """BM25 scores of all documents for one query; one of your own ranks, but cannot be saved."""

    def scores(self, query: Sequence[str]) -> NDArray[np.float32]:
        """Returns float32 `(documents,)`; 0 where a document shares no word with the query."""
        ...

    def save(self, folder: Path) -> None:
        """Writes what `load` needs."""
        ...


@dataclass(frozen=True, eq=False)
class BM25Retriever(Retriever):
    """Ranks documents by BM25; one whose score is 0 (it shares no word with the query) is not returned.

    `lucene` (the default) is Lucene's variant, whose idf is never negative. `okapi` is exactly what the package
    rank-bm25 computes: a word in more than half of the documents has `epsilon` times the mean idf instead of its own.

    Sources: Robertson, Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009; Kamphuis et al.,
    "Which BM25 Do You Mean?", 2020.

    Attributes:
        documents: What is indexed, in order.
        index: The backend.
        k: How many documents a query gets.
    """

    documents: tuple[Document, ...] = field(repr=False)
    index: BM25Backend
    k: int = 10

    @classmethod
    def from_documents(
        cls,
        documents: Iterable[Document | str],
        k: int = 10,
        method: Method = "lucene",
        backend: Backend = "bm25s",
        k1: float = 1.5,
        b: float = 0.75,
    ) -> BM25Retriever:
        """Returns a retriever over the words of titles and texts.

        Raises:
            InvalidInput: No documents, repeated ids, or an unknown method or backend.
            MissingExtra: The backend is not installed.
        """
        check_number("k1", k1, 0, 1000)
        check_number("b", b, 0, 1)
        checked = check_documents(documents)
        corpus = [words(indexed_text(document)) for document in checked]
        if backend == "rank-bm25":
            from rag_compress.retrievers.rank_bm25 import RankBM25

            if method != "okapi":
                raise InvalidInput(f"The backend 'rank-bm25' computes method='okapi' only, not {method!r}")
            return cls(checked, RankBM25.from_corpus(corpus, float(k1), float(b)), k)
        if backend != "bm25s" or method not in ("lucene", "okapi"):
            backends, methods = " or ".join(get_args(Backend)), " or ".join(get_args(Method))
            raise InvalidInput(f"BM25 needs backend {backends} and method {methods}, not {backend!r} and {method!r}")
        return cls(checked, Bm25s.from_corpus(corpus, method, float(k1), float(b)), k)

    def rank(self, queries: Sequence[str], k: int) -> list[list[Document]]:
        """Returns the documents that share a word with the query, by score."""
        return [self._rank(words(query), k) for query in queries]

    def save(self, folder: str | PathLike[str]) -> None:
        """Writes the index to a folder, in one step.

        Raises:
            InvalidInput: The backend is none of the library's, so that `load` would not know it.
        """
        backend = getattr(self.index, "name", None)
        if backend not in get_args(Backend):
            name, known = type(self.index).__name__, " and ".join(get_args(Backend))
            raise InvalidInput(f"An index of {name} could not be loaded again: only those of {known} are saved")

        def save(data: Path) -> None:
            write_documents(data / "documents.jsonl", self.documents)
            self.index.save(data)

        write_index(folder, _KIND, {"k": self.k, "backend": backend}, save)

    @classmethod
    def load(cls, folder: str | PathLike[str]) -> BM25Retriever:
        """Returns the retriever that was saved; raises as `index_folder.read_index` does."""
        return read_index(folder, _KIND, cls._load)

    @classmethod
    def _load(cls, saved: IndexFolder) -> BM25Retriever:
        documents = read_documents(saved.data / "documents.jsonl")
        if saved.parameters["backend"] == "rank-bm25":
            from rag_compress.retrievers.rank_bm25 import RankBM25

            return cls(documents, RankBM25.load(saved.data), saved.parameters["k"])
        return cls(documents, Bm25s.load(saved.data), saved.parameters["k"])

    def _rank(self, query: list[str], k: int) -> list[Document]:
        scores = self.index.scores(query)
        matches = np.flatnonzero(scores)
        best = matches[top_k(scores[matches], k)]
        return ranked(self.documents, (best, scores[best]))


@dataclass(frozen=True, eq=False)
class Bm25s:
    """The backend bm25s: scores are computed when indexing, so that a query only adds them up."""

    name: ClassVar[Backend] = "bm25s"
    index: Any = field(repr=False)
    method: Method = "lucene"

    @classmethod
    def from_corpus(cls, corpus: list[list[str]], method: Method, k1: float, b: float) -> Bm25s:
        """Returns the index of documents given as words."""
        # Okapi's idf can be negative or zero, which bm25s clips: index with Lucene's and scale each word's scores.
        index = bm25s.BM25(method="atire" if method == "okapi" else "lucene", idf_method="lucene", k1=k1, b=b)
        if not any(corpus):
            return cls(None, method)
        index.index(corpus, show_progress=False)
        if method == "okapi":
            _scale_to_okapi(index)
        return cls(index, method)

    def scores(self, query: Sequence[str]) -> NDArray[np.float32]:
        """Returns float32 `(documents,)`; a word that stands in the query twice counts twice."""
        ids = self.index.get_tokens_ids(list(query)) if self.index is not None else []
        if not ids:
            return np.zeros(0, dtype=np.float32)
        return np.asarray(self.index.get_scores_from_ids(ids), dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Writes bm25s's own files; none for documents without any word."""
        (folder / "bm25s.json").write_text(json.dumps({"method": self.method, "empty": self.index is None}))
        if self.index is not None:
            self.index.save(folder, show_progress=False)

    @classmethod
    def load(cls, folder: Path) -> Bm25s:
        """Returns the saved index, its arrays mapped from disk."""
        saved = json.loads((folder / "bm25s.json").read_text())
        index = None if saved["empty"] else bm25s.BM25.load(folder, mmap=True, show_progress=False)
        return cls(index, saved["method"])


def _scale_to_okapi(index: Any, epsilon: float = 0.25) -> None:
    """Replaces the idf in the scores by rank-bm25's: ln(N - n + 1/2) - ln(n + 1/2), epsilon * mean if below 0."""
    documents, starts = index.scores["num_docs"], index.scores["indptr"]
    having = np.diff(starts).astype(np.float64)
    used = np.log1p((documents - having + 0.5) / (having + 0.5))
    wanted = np.log(documents - having + 0.5) - np.log(having + 0.5)
    wanted = np.where(wanted < 0, epsilon * wanted.mean(), wanted)
    wanted = np.where(wanted == 0, WORTHLESS, wanted)
    index.scores["data"] = (index.scores["data"] * np.repeat(wanted / used, having.astype(int))).astype(np.float32)
