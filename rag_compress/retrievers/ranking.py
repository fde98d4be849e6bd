"""The best of many scores, in an order that does not depend on the machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rag_compress.types import Document

Hits = tuple[NDArray[np.intp], NDArray[np.float32]]
"""Positions of documents, best first, and their scores."""


WORTHLESS = 1e-9
"""In place of an idf of 0, which Okapi gives to a word of half of the documents: those with no other would be lost."""


def top_k(scores: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """Returns the positions of the k highest of `scores` `(n,)`, highest first, ties in order of position."""
    if k < len(scores):
        lowest = np.partition(scores, len(scores) - k)[len(scores) - k]
        candidates = np.flatnonzero(scores >= lowest)
    else:
        candidates = np.arange(len(scores))
    return candidates[np.argsort(-scores[candidates], kind="stable")][:k]


def ranked(documents: Sequence[Document], hits: Hits) -> list[Document]:
    """Returns the documents at these positions with these scores."""
    return [replace(documents[i], score=float(score)) for i, score in zip(*hits, strict=True)]
