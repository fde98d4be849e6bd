"""Systems of the field as recipes: the same machine with other parts, so that they can be compared and combined."""

from __future__ import annotations

from collections.abc import Iterable

from rag_compress.compressors.extractive import ExtractiveCompressor
from rag_compress.models.protocols import Encoder
from rag_compress.retrievers.bm25 import BM25Retriever
from rag_compress.retrievers.fusion import HybridRetriever
from rag_compress.scorers.biencoder import BiEncoderScorer
from rag_compress.selection import Selection
from rag_compress.stages import Pipeline, Retriever
from rag_compress.types import Document


def retrieve_and_compress(
    documents: Iterable[Document | str], max_tokens: int, k: int = 10, encoder: Encoder | str | None = None
) -> Pipeline:
    """Returns retriever >> compressor over documents: BM25, or with an encoder the hybrid, and the default compressor.

    Args:
        documents: What to search.
        max_tokens: The most tokens that the sources may have in the prompt.
        k: How many documents to retrieve.
        encoder: Makes the retriever a hybrid of BM25 and dense.
    """
    retriever: Retriever
    if encoder is None:
        retriever = BM25Retriever.from_documents(documents, k)
    else:
        retriever = HybridRetriever.from_documents(documents, encoder, k)
    return retriever >> ExtractiveCompressor.default(max_tokens=max_tokens)


def recomp_extractive(sentences: int = 1, model: str = "fangyuan/nq_extractive_compressor") -> ExtractiveCompressor:
    """Returns RECOMP's extractive compressor: the best n sentences by raw dot product of mean-pooled vectors.

    Source: Xu, Shi, Choi, "RECOMP", 2024, whose n is 1 for Natural Questions and TriviaQA, 2 for HotpotQA.

    Args:
        sentences: n.
        model: The name or folder of a bi-encoder, such as `fangyuan/tqa_extractive_compressor`.
    """
    from rag_compress.models.torch import SentenceTransformerEncoder

    scorer = BiEncoderScorer(SentenceTransformerEncoder(model, normalize=False))
    return ExtractiveCompressor(scorer, Selection(threshold=float("inf"), keep_best=sentences))
