"""The ensemble: log-odds of one scorer, moved by another."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rag_compress import EnsembleScorer
from rag_compress.errors import InvalidInput, ModelError
from rag_compress.models.protocols import Passage, SentenceScorer
from rag_compress.testing import HashEncoder, OverlapScorer

PASSAGES = [[Passage("", "river bread", [(0, 5), (6, 11)]), Passage("", "", [])]]


class Fixed:
    """Gives the sentences of a query these scores."""

    def __init__(self, *scores: float) -> None:
        self.scores = scores

    def score(self, queries, passages):
        """Returns the scores."""
        return [[np.array(self.scores[: len(p.sentences)], np.float32) for p in group] for group in passages]


def test_the_formula() -> None:
    """Log-odds move by weight * (other - center)."""
    scorer = EnsembleScorer(Fixed(0.5, 0.2), Fixed(0.75, 0.25), weight=2, center=0.5)
    assert isinstance(scorer, SentenceScorer)
    ((scores, none),) = scorer.score(["q"], PASSAGES)
    expected = [1 / (1 + math.exp(-0.5)), 1 / (1 + math.exp(math.log(4) + 0.5))]
    assert scores.tolist() == pytest.approx(expected)
    assert (scores.dtype, none.shape) == (np.float32, (0,))


def test_certainty_still_listens() -> None:
    """Among sentences that one scorer is certain of, the other one decides."""
    for certain in (0, 1):
        ((scores, _),) = EnsembleScorer(Fixed(certain, certain), Fixed(0.1, 0.9)).score(["q"], PASSAGES)
        assert scores[0] < scores[1]


def test_without_weight_nothing_changes() -> None:
    """A weight of 0 gives the probabilities as they are."""
    ((scores, _),) = EnsembleScorer(Fixed(0.3, 0.9), OverlapScorer(), weight=0).score(["river"], PASSAGES)
    assert scores.tolist() == pytest.approx([0.3, 0.9])


def test_wrong_scores_and_options() -> None:
    """What is no probability cannot be made log-odds of; options are checked."""
    for wrong in (1.5, -0.1):
        with pytest.raises(ModelError, match="no probabilities"):
            EnsembleScorer(Fixed(wrong, 0.5), Fixed(0, 0)).score(["q"], PASSAGES)
    for first, other in ((Fixed(float("nan"), 0.5), Fixed(0, 0)), (Fixed(0.5, 0.5), Fixed(float("nan"), 0))):
        with pytest.raises(ModelError, match="not a finite number"):
            EnsembleScorer(first, other).score(["q"], PASSAGES)
    for first, other in ((Fixed(0.5), Fixed(0, 0)), (Fixed(0.5, 0.5), Fixed(0))):
        with pytest.raises(ModelError, match="one score for each sentence"):
            EnsembleScorer(first, other).score(["q"], PASSAGES)
    for options in ({"weight": -1}, {"center": float("nan")}, {"weight": "3"}):
        with pytest.raises(InvalidInput, match=next(iter(options))):
            EnsembleScorer(Fixed(0.5), Fixed(0.5), **options)
    with pytest.raises(InvalidInput, match=r"other must have score.*HashEncoder"):
        EnsembleScorer(Fixed(0.5), HashEncoder())  # type: ignore[arg-type]
