"""BM25 over the sentences of a query: needs no model, no training and no extra."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rag_compress.checks import check_number
from rag_compress.models.protocols import Passage
from rag_compress.words import words


@dataclass(frozen=True)
class LexicalScorer:
    """Scores a sentence by BM25 against the query, as a share of the best score that any sentence could reach.

    With N sentences in the query's passages, of which n(t) hold the word t, and L the length of a sentence in words:

        idf(t)   = ln(1 + (N - n(t) + 1/2) / (n(t) + 1/2))
        bm25(s)  = sum over t of idf(t) * tf(t, s) * (k1 + 1) / (tf(t, s) + k1 * (1 - b + b * L(s) / mean L))
        score(s) = bm25(s) / sum over t of idf(t) * (k1 + 1)      in [0, 1)

    Words of the query that stand in the title of every passage do not count, unless all of them do: they say which
    document is meant, not which sentence. A query without words ("Who was he?") says nothing against any sentence, so
    that all score 1.

    Source: Robertson, Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009; the idf that is never
    negative is Lucene's.
    """

    k1: float = 1.2
    b: float = 0.75

    def __post_init__(self) -> None:
        check_number("k1", self.k1, 0, 1000)
        check_number("b", self.b, 0, 1)

    def score(self, queries: Sequence[str], passages: Sequence[Sequence[Passage]]) -> list[list[NDArray[np.float32]]]:
        """Returns the scores; all 1 for a query without words."""
        return [self._score(query, group) for query, group in zip(queries, passages, strict=True)]

    def _score(self, query: str, passages: Sequence[Passage]) -> list[NDArray[np.float32]]:
        terms = _telling(list(dict.fromkeys(words(query))), passages)
        bags = [words(passage.text[start:end]) for passage in passages for start, end in passage.sentences]
        flat = self._bm25(terms, bags) if terms and bags else np.ones(len(bags), np.float32)
        ends = np.cumsum([len(passage.sentences) for passage in passages])
        return np.split(flat, ends[:-1]) if passages else []

    def _bm25(self, terms: Sequence[str], bags: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        column = {term: j for j, term in enumerate(terms)}
        frequency = np.zeros((len(bags), len(terms)))
        for row, bag in zip(frequency, bags, strict=True):
            for word, count in Counter(word for word in bag if word in column).items():
                row[column[word]] = count
        length = np.array([len(bag) for bag in bags], dtype=float)
        having = (frequency > 0).sum(axis=0)
        idf = np.log1p((len(bags) - having + 0.5) / (having + 0.5))
        norm = self.k1 * (1 - self.b + self.b * length / max(length.mean(), 1.0))
        share = np.divide(frequency, frequency + norm[:, None], out=np.zeros_like(frequency), where=frequency > 0)
        return np.asarray(share @ idf / idf.sum(), dtype=np.float32)


def _telling(terms: list[str], passages: Sequence[Passage]) -> list[str]:
    """Returns the words of a query without those in all titles, or all words if none were left."""
    titles = {passage.title: set(words(passage.title)) for passage in passages}
    shared = set.intersection(*titles.values()) if len(passages) > 1 else set()
    return [term for term in terms if term not in shared] or terms


def best_first(scores: Sequence[NDArray[np.float32]]) -> list[int]:
    """Returns the places of a query's passages from their sentences' scores, those with the best sentence first."""
    best = [float(array.max(initial=0.0)) for array in scores]
    return sorted(range(len(best)), key=lambda i: -best[i])
