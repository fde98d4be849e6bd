"""Calls an encoder, and checks that it keeps its promise; uses the embeddings that there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rag_compress.errors import InvalidInput, ModelError
from rag_compress.models.protocols import Encoder

PROBE = "The Loire is a river in France; it is 1,006 km long."
"""The text by whose vector an encoder is known again."""
_SAME = 0.99


def same_direction(seen: ArrayLike, expected: ArrayLike) -> bool:
    """Returns whether two vectors have one dimension and direction but for rounding; two of nothing but zeros are."""
    a, b = np.asarray(seen, np.float64), np.asarray(expected, np.float64)
    if a.shape != b.shape or a.any() != b.any():
        return False
    return bool(a @ b >= _SAME * np.linalg.norm(a) * np.linalg.norm(b))


def encoded(encoder: Encoder, texts: Sequence[str], dim: int | None = None) -> NDArray[np.float32]:
    """Returns the vectors of texts, float32 `(len(texts), dim)`.

    Raises:
        ModelError: The encoder returned another shape, or a value that is not a finite number.
    """
    returned = encoder.encode(list(texts))
    try:
        vectors = np.ascontiguousarray(returned, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ModelError(f"{encoder!r:.200} returned something else than vectors of numbers: {error}") from error
    if vectors.ndim != 2 or len(vectors) != len(texts) or (dim is not None and vectors.shape[1] != dim):
        expected = f"({len(texts)}, {'dim' if dim is None else dim})"
        raise ModelError(f"{encoder!r:.200} returned an array of shape {vectors.shape}, not {expected}")
    if not np.isfinite(vectors).all():
        raise ModelError(f"{encoder!r:.200} returned a vector with a value that is not a finite number")
    return vectors


def embedded(
    encoder: Encoder | None, given: Sequence[NDArray[np.float32] | None], text_of: Callable[[int], str]
) -> NDArray[np.float32]:
    """Returns float32 `(len(given), dim)`: the embeddings that are given, and those of the other texts.

    Args:
        encoder: Encodes what has no embedding; may be `None` where all have one.
        given: An embedding `(dim,)`, or `None`.
        text_of: Returns the text at a position; asked only where no embedding is given.

    Raises:
        InvalidInput: Given embeddings are of several shapes, or hold a value that is not a finite number;
            there is no encoder where one is needed.
        ModelError: As `encoded`.
    """
    missing = [i for i, vector in enumerate(given) if vector is None]
    shapes = {np.shape(vector) for vector in given if vector is not None}
    if len(shapes) > 1 or any(len(shape) != 1 for shape in shapes):
        raise InvalidInput(f"Embeddings must all have one shape (dim,), not {sorted(shapes)}")
    if missing and encoder is None:
        raise InvalidInput(f"Without an encoder, every text needs an embedding of its own: {text_of(missing[0])!r:.80}")
    dim = next(iter(shapes))[0] if shapes else None
    rows = iter(encoded(encoder, [text_of(i) for i in missing], dim) if missing and encoder is not None else ())
    vectors = np.array([next(rows) if vector is None else vector for vector in given], dtype=np.float32)
    if not np.isfinite(vectors).all():
        raise InvalidInput("An embedding holds a value that is not a finite number")
    return vectors
