"""Sentence and query encoded apart, compared by dot product: RECOMP's extractive compressor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rag_compress.models.encoding import encoded
from rag_compress.models.protocols import Encoder, Passage


@dataclass(frozen=True)
class BiEncoderScorer:
    """Scores a sentence by the dot product of its vector with the query's, each encoded without the other.

    Source: Xu, Shi, Choi, "RECOMP: Improving Retrieval-Augmented LMs with Compression and Selective Augmentation",
    2024 (mean pooling, vectors not normalised: `SentenceTransformerEncoder("fangyuan/nq_extractive_compressor")`).

    Attributes:
        encoder: Encodes sentences, and queries too unless `query_encoder` is given.
        query_encoder: Encodes queries.
    """

    encoder: Encoder
    query_encoder: Encoder | None = None

    def score(self, queries: Sequence[str], passages: Sequence[Sequence[Passage]]) -> list[list[NDArray[np.float32]]]:
        """Returns the dot products; all sentences of all queries are encoded in one call.

        Raises:
            ModelError: An encoder did not return one vector for each text, all of one length.
        """
        texts = dict.fromkeys(p.text[start:end] for group in passages for p in group for start, end in p.sentences)
        if not texts:
            return [[np.zeros(0, np.float32) for _ in group] for group in passages]
        row = {text: i for i, text in enumerate(texts)}
        vectors = encoded(self.encoder, list(texts))
        query_vectors = encoded(self.query_encoder or self.encoder, queries, vectors.shape[1])
        return [
            [vectors[[row[p.text[start:end]] for start, end in p.sentences]] @ vector for p in group]
            for vector, group in zip(query_vectors, passages, strict=True)
        ]
