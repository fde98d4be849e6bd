"""Keeps vectors in less room than float32: the embeddings that a dense index hands on, to soft tokens for example.

    float16   half the room
    int8      a quarter: x ~ s q,  q = round(x / s),  s = max |x| / 127 for each vector
    pq        a 32nd: each run of 8 values is one of 256 centroids of such runs (Jégou, Douze, Schmid, "Product
              Quantization for Nearest Neighbor Search", 2011)

Vectors of length 1 have length 1 again when they are read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rag_compress.errors import InvalidInput

Storage = Literal["float32", "float16", "int8", "pq"]
_FILES = {"float32": ("vectors",), "float16": ("vectors",), "int8": ("codes", "scales"), "pq": ("codes", "codebook")}
_RUN = 8
_CENTROIDS = 256


@dataclass(frozen=True, eq=False)
class StoredVectors:
    """Vectors `(n, dim)` that are decoded as they are read.

    Attributes:
        kind: How they are kept.
        parts: The arrays that they are kept in.
        unit: Whether they have length 1.
    """

    kind: Storage
    parts: tuple[NDArray[Any], ...] = field(repr=False)
    unit: bool

    @classmethod
    def of(cls, vectors: NDArray[np.float32], kind: Storage = "float32") -> StoredVectors:
        """Returns vectors kept in one of the ways above.

        Raises:
            InvalidInput: The kind is unknown; or for `pq`, there are fewer than 256 vectors, or their length is no
                multiple of 8.
            MissingExtra: `pq` needs faiss to find the centroids (reading needs nothing).
        """
        if kind not in get_args(Storage):
            raise InvalidInput(f"storage must be one of {', '.join(get_args(Storage))}, not {kind!r:.80}")
        unit = bool(len(vectors)) and bool(np.all(np.abs(np.linalg.norm(vectors, axis=1) - 1) < 1e-3))
        return cls(kind, _ENCODE[kind](vectors), unit)

    @property
    def shape(self) -> tuple[int, int]:
        """The number of vectors and their length."""
        count, width = self.parts[0].shape
        return count, width * _RUN if self.kind == "pq" else width

    @property
    def nbytes(self) -> int:
        """The bytes of all arrays."""
        return sum(part.nbytes for part in self.parts)

    def __len__(self) -> int:
        return len(self.parts[0])

    def __getitem__(self, rows: int | slice | Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """Returns float32 `(dim,)` for one position, otherwise `(rows, dim)`."""
        if isinstance(rows, int | np.integer):
            row: NDArray[np.float32] = self[np.array([rows])][0]
            return row
        found = self._decoded(rows)
        if self.unit and self.kind != "float32":
            found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), np.float32(1e-12))
        return found

    def _decoded(self, rows: slice | Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        first = self.parts[0][rows]
        if self.kind == "int8":
            return np.asarray(first * self.parts[1][rows][:, None], dtype=np.float32)
        if self.kind == "pq":
            return np.asarray(self.parts[1][np.arange(first.shape[1]), first].reshape(len(first), -1), dtype=np.float32)
        return np.asarray(first, dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Writes the arrays."""
        for name, part in zip(_FILES[self.kind], self.parts, strict=True):
            np.save(folder / f"{name}.npy", part, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path, kind: Storage, *, unit: bool) -> StoredVectors:
        """Returns what was saved, mapped into memory."""
        return cls(
            kind, tuple(np.load(folder / f"{n}.npy", mmap_mode="r", allow_pickle=False) for n in _FILES[kind]), unit
        )


def _float16(vectors: NDArray[np.float32]) -> tuple[NDArray[Any], ...]:
    with np.errstate(over="ignore"):
        halves = vectors.astype(np.float16)
    if not np.isfinite(halves).all():
        raise InvalidInput(f"float16 holds no number above 65504, and a vector has {np.abs(vectors).max():g}: use int8")
    return (halves,)


def _int8(vectors: NDArray[np.float32]) -> tuple[NDArray[Any], ...]:
    scales = np.maximum(np.abs(vectors).max(axis=1), np.float32(1e-30)) / np.float32(127)
    return np.round(vectors / scales[:, None]).astype(np.int8), scales


def _pq(vectors: NDArray[np.float32]) -> tuple[NDArray[Any], ...]:
    if len(vectors) < _CENTROIDS or vectors.shape[1] % _RUN:
        raise InvalidInput(
            f"pq needs at least {_CENTROIDS} vectors of a length that {_RUN} divides, not {vectors.shape}"
        )
    from rag_compress.retrievers.faiss import product_quantize

    return product_quantize(np.ascontiguousarray(vectors), vectors.shape[1] // _RUN)


_ENCODE: dict[Storage, Callable[[NDArray[np.float32]], tuple[NDArray[Any], ...]]] = {
    "float32": lambda vectors: (vectors,),
    "float16": _float16,
    "int8": _int8,
    "pq": _pq,
}
