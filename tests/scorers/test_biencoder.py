"""The bi-encoder: raw dot products, each text encoded once."""

from __future__ import annotations

import numpy as np
import pytest

from rag_compress import BiEncoderScorer
from rag_compress.errors import ModelError
from rag_compress.models.protocols import Passage
from rag_compress.testing import HashEncoder


class Lengths:
    """Encodes a text as [its length, 1] and counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def encode(self, texts):
        """Returns float32 (n, 2)."""
        self.asked.append(list(texts))
        return np.array([[len(text), 1] for text in texts], dtype=np.float32)


def test_raw_dot_product() -> None:
    """The score is the dot product as it is, and a sentence that comes twice is encoded once."""
    encoder = Lengths()
    passages = [[Passage("", "ab abc", [(0, 2), (3, 6)])], [Passage("", "ab", [(0, 2)])]]
    scores = BiEncoderScorer(encoder).score(["abcd", "a"], passages)
    assert [[s.tolist() for s in group] for group in scores] == [[[9.0, 13.0]], [[3.0]]]
    assert encoder.asked == [["ab", "abc"], ["abcd", "a"]]


def test_a_query_encoder_of_its_own() -> None:
    """Queries go to the query encoder if there is one."""
    sentences, queries = Lengths(), Lengths()
    BiEncoderScorer(sentences, queries).score(["q"], [[Passage("", "ab", [(0, 2)])]])
    assert (sentences.asked, queries.asked) == ([["ab"]], [["q"]])


def test_nothing_to_score() -> None:
    """Without sentences the encoder is not asked."""
    encoder = Lengths()
    scores = BiEncoderScorer(encoder).score(["q", "r"], [[], [Passage("", "", [])]])
    assert [[s.tolist() for s in group] for group in scores] == [[], [[]]]
    assert encoder.asked == []


@pytest.mark.parametrize(
    "vectors",
    [np.ones((1, 2)), np.ones((9, 2)), np.ones(2), np.full((2, 2), np.nan)],
    ids=["too few", "too many", "flat", "not finite"],
)
def test_a_wrong_encoder(vectors: np.ndarray) -> None:
    """An encoder that breaks its promise is named; plain lists are fine."""

    class Wrong:
        def encode(self, texts):
            return vectors

    class Lists(Lengths):
        def encode(self, texts):
            return super().encode(texts).tolist()

    passages = [[Passage("", "ab abc", [(0, 2), (3, 6)])]]
    with pytest.raises(ModelError, match="returned"):
        BiEncoderScorer(Wrong()).score(["abcd"], passages)
    with pytest.raises(ModelError, match="of shape"):
        BiEncoderScorer(Lengths(), HashEncoder(8)).score(["abcd"], passages)
    ((scores,),) = BiEncoderScorer(Lists()).score(["abcd"], passages)
    assert scores.tolist() == [9, 13]
