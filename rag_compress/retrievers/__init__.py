"""Retrievers: stages that fill in the documents of a context."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike

from rag_compress.errors import IncompatibleIndex
from rag_compress.models.protocols import Encoder
from rag_compress.retrievers.bm25 import BM25Retriever
from rag_compress.retrievers.dense import DenseRetriever
from rag_compress.retrievers.feedback import Average, FeedbackRetriever, Rocchio
from rag_compress.retrievers.fusion import HybridRetriever, Interpolation, ReciprocalRankFusion
from rag_compress.retrievers.index_folder import kind_of
from rag_compress.stages import Retriever

__all__ = [
    "Average",
    "BM25Retriever",
    "DenseRetriever",
    "FeedbackRetriever",
    "HybridRetriever",
    "Interpolation",
    "ReciprocalRankFusion",
    "Rocchio",
    "load_retriever",
]


def load_retriever(
    folder: str | PathLike[str], encoder: Encoder | str | None = None, query_encoder: Encoder | str | None = None
) -> Retriever:
    """Returns the retriever that was saved in a folder, whatever its kind; encoders as for `DenseRetriever.load`.

    Raises:
        IndexFolderError: As `index_folder.read_index`.
    """
    kind = kind_of(folder)
    if kind not in _LOADERS:
        raise IncompatibleIndex(f"{folder} holds an index of the unknown kind {kind!r}: update rag_compress to read it")
    return _LOADERS[kind](folder, encoder, query_encoder)


_LOADERS: dict[str, Callable[..., Retriever]] = {
    "bm25": lambda folder, *_: BM25Retriever.load(folder),
    "dense": DenseRetriever.load,
    "hybrid": HybridRetriever.load,
    "feedback": FeedbackRetriever.load,
}
"""By the kind that an index's manifest names."""
