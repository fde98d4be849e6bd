"""Two scorers that see unlike things, added as log-odds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rag_compress.checks import check_number
from rag_compress.errors import ModelError
from rag_compress.models.protocols import Passage, SentenceScorer, check_scorer, scores_of
from rag_compress.scorers.features import sigmoid

_CERTAIN = 1e-6
"""No probability is nearer to 0 or 1 than this, so that the other scorer is always heard."""


@dataclass(frozen=True)
class EnsembleScorer:
    """Scores a sentence by the probability that one scorer gives, moved by what another one says.

        score = sigmoid(logit(score of `scorer`) + weight * (score of `other` - center))

    With the library's classifier and a bi-encoder on texts unlike the classifier's training data, each sees what the
    other misses. The defaults are for those two, with the cosines of all-MiniLM-L6-v2.

    Source: Genest, Zidek, "Combining Probability Distributions: A Critique and an Annotated Bibliography", 1986
    (logarithmic opinion pools).

    Attributes:
        scorer: Gives probabilities, as `ClassifierScorer` does.
        other: Gives scores of any kind, such as cosines.
        weight: By how much the log-odds grow when the other score grows by 1.
        center: The other score that changes nothing.
    """

    scorer: SentenceScorer
    other: SentenceScorer
    weight: float = 3.0
    center: float = 0.45

    def __post_init__(self) -> None:
        check_scorer("scorer", self.scorer)
        check_scorer("other", self.other)
        check_number("weight", self.weight, 0, 1e6)
        check_number("center", self.center, -1e6, 1e6)

    def score(self, queries: Sequence[str], passages: Sequence[Sequence[Passage]]) -> list[list[NDArray[np.float32]]]:
        """Returns the scores, in (0, 1).

        Raises:
            ModelError: `scorer` returned something that is no probability, or one of both the wrong number of scores.
        """
        first, second = (scores_of(scorer, queries, passages) for scorer in (self.scorer, self.other))
        return [
            [self._together(*pair) for pair in zip(one, other, strict=True)]
            for one, other in zip(first, second, strict=True)
        ]

    def _together(self, probabilities: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
        own = np.asarray(probabilities, np.float64)
        if not ((own >= 0) & (own <= 1)).all():
            raise ModelError(
                f"{self.scorer!r:.200} returned scores that are no probabilities: {own.min()} to {own.max()}"
            )
        own = own.clip(_CERTAIN, 1 - _CERTAIN)
        shift = self.weight * (np.asarray(others, np.float64) - self.center)
        return sigmoid(np.log(own) - np.log1p(-own) + shift).astype(np.float32)
