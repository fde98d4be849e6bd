"""Cuts a long text into chunks where its topic changes, and allots each its share of a budget.

Source: SCOPE, "A Generative Approach for LLM Prompt Compression" (arXiv 2508.15813, 2025), where borders lie between
neighbouring sentences that are least alike and each chunk has its own ratio; borders without an encoder are those of
Hearst, "TextTiling", 1997.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import log, sqrt

import numpy as np

from rag_compress.checks import check_count
from rag_compress.models.protocols import Encoder
from rag_compress.types import Segment
from rag_compress.words import words

_REACH = 3


@dataclass(frozen=True)
class Chunking:
    """Cuts into chunks of at most `max_tokens` at semantic borders.

    Too long a stretch is cut in two at the border in its middle half whose sides are least alike; the border between
    two documents always counts as such. Alike are the vectors of the two sentences, or without an encoder the words of
    the three sentences on either side, by their cosine.

    Attributes:
        max_tokens: The longest chunk: what the summarizer reads at once (a longer sentence is a chunk of its own).
        encoder: Makes the vectors.
        least: The smallest share of a budget; where there is less for each chunk, the least relevant get none.
    """

    max_tokens: int = 800
    encoder: Encoder | None = None
    least: int = 24

    def __post_init__(self) -> None:
        check_count("max_tokens", self.max_tokens, least=1)
        check_count("least", self.least, least=1)

    def cut(self, pieces: Sequence[Segment], sizes: Sequence[int]) -> list[range]:
        """Returns the chunks as positions, in order.

        Args:
            pieces: Sentences, in order.
            sizes: The tokens of each.
        """
        if sum(sizes) <= self.max_tokens:
            return [range(len(pieces))] if pieces else []
        alike = self._similarities(pieces)
        ends = [0, *accumulate(sizes)]
        chunks: list[range] = []
        waiting = [range(len(pieces))]
        while waiting:
            chunk = waiting.pop()
            if len(chunk) < 2 or ends[chunk.stop] - ends[chunk.start] <= self.max_tokens:
                chunks.append(chunk)
                continue
            border = _border(chunk, ends, alike)
            waiting += [range(border, chunk.stop), range(chunk.start, border)]
        return chunks

    def allot(
        self, budget: int, sizes: Sequence[int], densities: Sequence[float], relevance: Sequence[float]
    ) -> list[int]:
        """Returns each chunk's share of a budget, in tokens; together no more than the budget.

            share = min(least, size) + part of the rest, in proportion to size * density * (1 + relevance / mean)

        No share is larger than its chunk; what one cannot have goes to the others. Where the budget has less than that
        least for each chunk, the most relevant get it, the others 0.

        Args:
            budget: All tokens there are.
            sizes: The tokens of each chunk.
            densities: How much each says in its words (see `density`).
            relevance: How much each helps to answer, at least 0.
        """
        mean = sum(relevance) / max(1, len(relevance)) or 1.0
        weights = [s * d * (1 + r / mean) for s, d, r in zip(sizes, densities, relevance, strict=True)]
        order = sorted(range(len(weights)), key=lambda i: (-relevance[i], -weights[i], i))
        shares: dict[int, int] = {}
        for i in order:
            least = min(self.least, sizes[i])
            if sum(shares.values()) + least <= budget or not shares:
                shares[i] = min(least, budget)
        _share_out(budget - sum(shares.values()), shares, weights, sizes)
        return [shares.get(i, 0) for i in range(len(weights))]

    def _similarities(self, pieces: Sequence[Segment]) -> list[float]:
        """Returns how alike the sides of the border before each piece are; -1 where a document begins."""
        if self.encoder is not None:
            vectors = self.encoder.encode([piece.text for piece in pieces])
            norms = np.maximum(np.linalg.norm(vectors, axis=1), 1e-9)
            alike = [0.0, *((vectors[1:] * vectors[:-1]).sum(1) / norms[1:] / norms[:-1]).tolist()]
        else:
            bags = [Counter(words(piece.text)) for piece in pieces]
            alike = [_cosine(_sum(bags[max(0, i - _REACH) : i]), _sum(bags[i : i + _REACH])) for i in range(len(bags))]
        same = [False] + [a.spans[0].doc_id == b.spans[0].doc_id for a, b in pairwise(pieces)]
        return [value if known else -1.0 for value, known in zip(alike, same, strict=True)]


def density(texts: Sequence[str]) -> float:
    """Returns how many different words a chunk has for each of its words, in (0, 1]: less where it repeats itself."""
    found = [word for text in texts for word in words(text)]
    return len(set(found)) / len(found) if found else 1e-3


def keywords(texts: Sequence[str], count: int) -> list[str]:
    """Returns the stemmed words that say most of what a text is about, the first first.

    With N sentences, n(w) of which hold w, tf(w) times: tf(w) * ln(1 + N / n(w)); ties by first place. Source: Salton,
    Buckley, "Term-weighting approaches in automatic text retrieval", 1988, over sentences.
    """
    bags = [words(text) for text in texts]
    tf = Counter(word for bag in bags for word in bag)
    df = Counter(word for bag in bags for word in set(bag))
    ranked = sorted(tf, key=lambda word: -tf[word] * log(1 + len(bags) / df[word]))
    return [word for word in ranked if len(word) > 1][:count]


def _share_out(rest: int, shares: dict[int, int], weights: Sequence[float], sizes: Sequence[int]) -> None:
    """Adds to shares what is left of a budget, in proportion to weights, up to the size of each."""
    growing = [i for i in shares if shares[i] < sizes[i]]
    while growing:
        total = sum(weights[i] for i in growing) or 1.0
        grown = {i: min(sizes[i], shares[i] + int(rest * weights[i] / total)) for i in growing}
        given = sum(grown[i] - shares[i] for i in growing)
        shares |= grown
        rest -= given
        growing = [i for i in growing if shares[i] < sizes[i]] if given else []


def _border(chunk: range, ends: Sequence[int], alike: Sequence[float]) -> int:
    """Returns where to cut a chunk: the weakest border in its middle half by tokens, or else the most central."""
    start, length = ends[chunk.start], ends[chunk.stop] - ends[chunk.start]
    borders = range(chunk.start + 1, chunk.stop)
    middle = [i for i in borders if length / 4 <= ends[i] - start <= length * 3 / 4]
    if middle:
        return min(middle, key=lambda i: (alike[i], i))
    return min(borders, key=lambda i: abs(ends[i] - start - length / 2))


def _sum(bags: Sequence[Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for bag in bags:
        total.update(bag)
    return total


def _cosine(one: Counter[str], other: Counter[str]) -> float:
    dot = sum(count * other[word] for word, count in one.items())
    norms = sqrt(sum(n * n for n in one.values()) * sum(n * n for n in other.values()))
    return dot / norms if norms else 0.0
