"""Several rankings made into one: reciprocal rank fusion, and interpolation of normalised scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

from rag_compress.checks import check_count, check_number
from rag_compress.errors import InvalidInput
from rag_compress.models.protocols import Encoder
from rag_compress.retrievers.bm25 import BM25Retriever
from rag_compress.retrievers.dense import DenseRetriever
from rag_compress.retrievers.index_folder import IndexFolder, read_index, write_index
from rag_compress.stages import Retriever
from rag_compress.types import Document, as_documents

Ranking = Sequence[Document]
_KIND = "hybrid"


class Fusion(Protocol):
    """Makes one ranking of several."""

    def fuse(self, rankings: Sequence[Ranking]) -> list[Document]:
        """Returns every document of the rankings once, best first, with its fused score."""
        ...


@dataclass(frozen=True)
class ReciprocalRankFusion:
    """Scores a document by its ranks alone: the sum over rankings of 1 / (k + rank), ranks from 1.

    Source: Cormack, Clarke, Büttcher, "Reciprocal Rank Fusion Outperforms Condorcet and Individual Rank Learning
    Methods", 2009.
    """

    k: int = 60

    def __post_init__(self) -> None:
        check_count("k", self.k)

    def fuse(self, rankings: Sequence[Ranking]) -> list[Document]:
        """Returns the fused ranking."""
        rankings = [_once(ranking) for ranking in rankings]
        scores = [{d.id: 1 / (self.k + rank) for rank, d in enumerate(ranking, start=1)} for ranking in rankings]
        return _summed(rankings, scores)


@dataclass(frozen=True)
class Interpolation:
    """Scores a document by the weighted sum of its scores, each ranking's scores first scaled to [0, 1].

    The lowest score of a ranking becomes 0, the highest 1 (min-max); a document that a ranking lacks has 0 there.
    Source: Li et al., "To Interpolate or not to Interpolate", SIGIR 2022.

    Attributes:
        weights: One for each ranking; `None`: all alike.
    """

    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for weight in self.weights or ():
            check_number("weights", weight, -1e6, 1e6)

    def fuse(self, rankings: Sequence[Ranking]) -> list[Document]:
        """Returns the fused ranking.

        Raises:
            InvalidInput: There are not as many weights as rankings, or a document has no finite score.
        """
        weights = self.weights or (1 / max(1, len(rankings)),) * len(rankings)
        if len(weights) != len(rankings):
            raise InvalidInput(f"weights must be one for each of the rankings ({len(rankings)}), not {weights!r:.80}")
        rankings = [_once(ranking) for ranking in rankings]
        scores = [
            {doc_id: weight * score for doc_id, score in _scaled(ranking).items()}
            for weight, ranking in zip(weights, rankings, strict=True)
        ]
        return _summed(rankings, scores)


_FUSIONS: Mapping[str, Callable[..., Fusion]] = {
    "ReciprocalRankFusion": ReciprocalRankFusion,
    "Interpolation": lambda weights: Interpolation(tuple(weights) if weights else None),
}


@dataclass(frozen=True)
class HybridRetriever(Retriever):
    """Fuses what several retrievers find.

    Attributes:
        retrievers: Any retrievers over the same documents, such as BM25 and dense.
        k: How many documents a query gets.
        fusion: How the rankings become one.
        depth: How many documents each retriever contributes.
    """

    retrievers: tuple[Retriever, ...]
    k: int = 10
    fusion: Fusion = ReciprocalRankFusion()
    depth: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("depth", self.depth, least=1)
        parts = self.retrievers
        if not isinstance(parts, Sequence) or not all(isinstance(part, Retriever) for part in parts):
            raise InvalidInput(f"retrievers must be a list of this library's retrievers, not {parts!r:.200}")
        if not parts:
            raise InvalidInput("A hybrid needs at least one retriever")

    @classmethod
    def from_documents(
        cls, documents: Iterable[Document | str], encoder: Encoder | str, k: int = 10, fusion: Fusion | None = None
    ) -> HybridRetriever:
        """Returns the hybrid of BM25 and a dense retriever over the same documents."""
        documents = as_documents(documents)
        parts = (BM25Retriever.from_documents(documents), DenseRetriever.from_documents(documents, encoder))
        return cls(parts, k, fusion or ReciprocalRankFusion())

    def rank(self, queries: Sequence[str], k: int) -> list[list[Document]]:
        """Returns the documents by fused score."""
        found = [retriever.retrieve(queries, max(k, self.depth)) for retriever in self.retrievers]
        return [self.fusion.fuse(rankings)[:k] for rankings in zip(*found, strict=True)]

    def save(self, folder: str | PathLike[str]) -> None:
        """Writes every part to a folder within the folder, in one step.

        Raises:
            InvalidInput: A part, or the fusion, is not one of this library's and cannot be saved.
        """
        fusion = type(self.fusion).__name__
        if fusion not in _FUSIONS or not all(hasattr(part, "save") for part in self.retrievers):
            raise InvalidInput(f"Only this library's retrievers and fusions can be saved, not {self!r:.200}")

        def save(data: Path) -> None:
            for n, part in enumerate(self.retrievers):
                part.save(data / str(n))  # type: ignore[attr-defined]

        options: dict[str, Any] = asdict(self.fusion)  # type: ignore[call-overload]
        parameters = {"k": self.k, "depth": self.depth, "parts": len(self.retrievers), "fusion": [fusion, options]}
        write_index(folder, _KIND, parameters, save)

    @classmethod
    def load(
        cls,
        folder: str | PathLike[str],
        encoder: Encoder | str | None = None,
        query_encoder: Encoder | str | None = None,
    ) -> HybridRetriever:
        """Returns the retriever that was saved; the encoders are for its dense parts (see `DenseRetriever.load`)."""
        from rag_compress.retrievers import load_retriever

        def build(saved: IndexFolder) -> HybridRetriever:
            folders = [saved.data / str(n) for n in range(saved.parameters["parts"])]
            parts = tuple(load_retriever(part, encoder, query_encoder) for part in folders)
            name, options = saved.parameters["fusion"]
            return cls(parts, saved.parameters["k"], _FUSIONS[name](**options), saved.parameters["depth"])

        return read_index(folder, _KIND, build)


def _scaled(ranking: Ranking) -> dict[str, float]:
    scores = {document.id: _score_of(document) for document in ranking}
    low, high = min(scores.values(), default=0.0), max(scores.values(), default=0.0)
    return {doc_id: (score - low) / (high - low) if high > low else 1.0 for doc_id, score in scores.items()}


def _score_of(document: Document) -> float:
    if document.score is None or not isfinite(document.score):
        what = f"{document.id!r:.80} has {document.score}"
        raise InvalidInput(f"Interpolation needs finite scores, and {what}: use ReciprocalRankFusion")
    return document.score


def _once(ranking: Ranking) -> Ranking:
    """Returns a ranking with each document at the first of its places."""
    first: dict[str, Document] = {}
    for document in ranking:
        first.setdefault(document.id, document)
    return list(first.values())


def _summed(rankings: Sequence[Ranking], scores: Sequence[Mapping[str, float]]) -> list[Document]:
    """Returns the documents of the rankings, each once, by the sum of their scores, ties in order of appearance."""
    total: dict[str, float] = {}
    documents: dict[str, Document] = {}
    for ranking, score_of in zip(rankings, scores, strict=True):
        for document in ranking:
            total[document.id] = total.get(document.id, 0.0) + score_of[document.id]
            if document.id not in documents or documents[document.id].embedding is None:
                documents[document.id] = document
    best = sorted(total, key=lambda doc_id: -total[doc_id])
    return [replace(documents[doc_id], score=total[doc_id]) for doc_id in best]
