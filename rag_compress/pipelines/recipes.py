"""Systems of the field as recipes: the same machine with other parts, so that they can be compared and combined."""

from __future__ import annotations

from rag_compress.compressors.extractive import ExtractiveCompressor
from rag_compress.scorers.biencoder import BiEncoderScorer
from rag_compress.selection import Selection


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
