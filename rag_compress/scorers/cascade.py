"""A cheap scorer clears away the passages that cannot matter before a costly one reads the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from rag_compress.checks import check_count, check_number
from rag_compress.models.protocols import Passage, SentenceScorer, check_scorer, scores_of
from rag_compress.scorers.lexical import best_first

_ROUND = 8
"""Passages that are read before it is looked at whether enough was found."""


@dataclass(frozen=True)
class CascadeScorer:
    """Scores sentences with `first`, and those of the best passages with `then`.

    A passage is as good as its best sentence. Sentences of passages that are not read stand below all that were, in the
    order that `first` gives them, so that a budget larger than what was read is still filled well.

    Source: Matveeva, Burges, Burkard, Laucius, Wong, "High accuracy retrieval with multiple nested ranker", 2006.

    Attributes:
        first: The cheap scorer; like those of `then`, its scores must not be negative.
        then: The scorer that reads; with `ClassifierScorer(memory=...)`, no passage is read twice.
        passages: The most passages of a query that are read.
        share: The largest share of a query's passages that is read, rounded up.
        enough: Stop reading when so many words stand in sentences with a score of at least `sure`; `None`: never. For a
            budget of words that later passages could hardly enter.
        sure: The score from which a sentence counts as found.
    """

    first: SentenceScorer
    then: SentenceScorer
    passages: int = 20
    share: float = 1.0
    enough: int | None = None
    sure: float = 0.5

    def __post_init__(self) -> None:
        check_scorer("first", self.first)
        check_scorer("then", self.then)
        check_count("passages", self.passages, 1)
        check_number("share", self.share, 0, 1)
        if self.enough is not None:
            check_count("enough", self.enough, 1)
        check_number("sure", self.sure)

    def score(self, queries: Sequence[str], passages: Sequence[Sequence[Passage]]) -> list[list[NDArray[np.float32]]]:
        """Returns the scores of `then`, and for what it did not read, smaller ones.

        Raises:
            ModelError: One of both returned the wrong number of scores, or one that is not a number.
        """
        cheap = scores_of(self.first, queries, passages)
        ranked = [best_first(group)[: self._most(len(group))] for group in cheap]
        read = self._read(queries, passages, ranked)
        return [_together(group, found) for group, found in zip(cheap, read, strict=True)]

    def _most(self, passages: int) -> int:
        return min(self.passages, max(1, ceil(self.share * passages)))

    def _read(
        self, queries: Sequence[str], passages: Sequence[Sequence[Passage]], ranked: Sequence[Sequence[int]]
    ) -> list[dict[int, NDArray[np.float32]]]:
        """Returns, for each query, the scores of the passages that were read, by their places."""
        places = [order if self.enough is None else order[:_ROUND] for order in ranked]
        while True:
            groups = [[group[i] for i in chosen] for group, chosen in zip(passages, places, strict=True)]
            scores = scores_of(self.then, queries, groups)
            found = [dict(zip(chosen, group, strict=True)) for chosen, group in zip(places, scores, strict=True)]
            more = [
                order[: len(chosen) + (0 if self._is_enough(group, own) else _ROUND)]
                for order, chosen, group, own in zip(ranked, places, passages, found, strict=True)
            ]
            if more == [list(chosen) for chosen in places]:
                return found
            places = more

    def _is_enough(self, passages: Sequence[Passage], found: dict[int, NDArray[np.float32]]) -> bool:
        if self.enough is None:
            return True
        return self.enough <= sum(
            len(passages[i].text[start:end].split())
            for i, scores in found.items()
            for (start, end), score in zip(passages[i].sentences, scores, strict=True)
            if score >= self.sure
        )


def _together(cheap: Sequence[NDArray[np.float32]], read: dict[int, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Returns the scores of one query's passages: those read as they are, all others below them."""
    lowest = min((float(scores.min()) for scores in read.values() if len(scores)), default=1.0)
    return [
        read[i] if i in read else np.asarray(lowest * scores / (1 + scores), dtype=np.float32)
        for i, scores in enumerate(cheap)
    ]
