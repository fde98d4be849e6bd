"""The seam between compressors and models: strings, offsets and arrays, nothing else.

Any object with the right method fits. Compressors import this file and never torch, onnxruntime or transformers;
models never see a `Document`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rag_compress.errors import InvalidInput, ModelError


class Passage(NamedTuple):
    """What a scorer reads of one document.

    Attributes:
        title: The document's title, possibly empty.
        text: The document's whole text.
        sentences: The character offsets `(start, end)` in `text` of the sentences to score, in order.
    """

    title: str
    text: str
    sentences: Sequence[tuple[int, int]]


@runtime_checkable
class Encoder(Protocol):
    """Turns texts into vectors."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns float32 `(len(texts), dim)`; an empty text has a vector too."""
        ...


@runtime_checkable
class SentenceScorer(Protocol):
    """Says how much each sentence helps to answer a query."""

    def score(self, queries: Sequence[str], passages: Sequence[Sequence[Passage]]) -> list[list[NDArray[np.float32]]]:
        """Returns, for each query, for each of its passages, float32 `(sentences,)`: higher is better.

        `passages[i]` are the passages of `queries[i]`; what stands in one query's passages never changes another's
        scores.
        """
        ...


def check_scorer(name: str, scorer: object) -> None:
    """Raises `InvalidInput` unless a value is a scorer; a class of them is none."""
    if isinstance(scorer, type) or not isinstance(scorer, SentenceScorer):
        raise InvalidInput(f"{name} must have score(queries, passages), as LexicalScorer(): {scorer!r:.80}")


def scores_of(
    scorer: SentenceScorer, queries: Sequence[str], passages: Sequence[Sequence[Passage]]
) -> list[list[NDArray[np.float32]]]:
    """Returns what a scorer's `score` does, after checking that it is what the protocol promises.

    Raises:
        ModelError: The scorer returned the wrong number of scores, or one that is not a finite number.
    """
    expected = [[(len(passage.sentences),) for passage in group] for group in passages]
    scores = scorer.score(queries, passages)
    try:
        checked = [[np.asarray(array, dtype=np.float32) for array in arrays] for arrays in scores]
    except (TypeError, ValueError):
        checked = []
    if [[array.shape for array in arrays] for arrays in checked] != expected:
        raise ModelError(f"{scorer!r:.200} did not return one score for each sentence")
    if not all(np.isfinite(array).all() for arrays in checked for array in arrays):
        raise ModelError(f"{scorer!r:.200} returned a score that is not a finite number")
    return checked


Summary = str | Exception
"""A summary, or what went wrong instead of one."""


@runtime_checkable
class Summarizer(Protocol):
    """Writes one short text from a longer one, for a query."""

    def summarize(self, queries: Sequence[str], texts: Sequence[str], max_tokens: Sequence[int]) -> Sequence[Summary]:
        """Returns a summary of each text, in order.

        An empty summary says that nothing in the text helps. An error in its place says that this one failed; its
        batch-mates do not change. The compressor checks everything else: a summary may be wrong, too long, or anything.

        Args:
            queries: What each summary has to help with; an empty one asks for a summary of the text as it is.
            texts: What to summarise: documents one below the other, each under its title.
            max_tokens: About how long each summary may be.
        """
        ...


@runtime_checkable
class Projector(Protocol):
    """Turns the embedding of a document into tokens that one LLM can read."""

    def project(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns float32 `(n, tokens, hidden)` for embeddings `(n, dim)`: rows for the LLM's input embeddings."""
        ...
