"""The seam between compressors and models: strings, offsets and arrays, nothing else.

Any object with the right method fits. Compressors import this file and never torch, onnxruntime or transformers;
models never see a `Document`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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
