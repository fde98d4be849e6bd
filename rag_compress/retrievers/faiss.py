"""Vector search with faiss (extras `cpu` and `gpu`), on the GPU where faiss sees one."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isqrt
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rag_compress.errors import DamagedIndex, importing
from rag_compress.retrievers.ranking import Hits

with importing("faiss", "cpu", "A faiss index"):
    import faiss

FaissKind = Literal["flat", "hnsw", "ivfpq"]
_FILE = "index.faiss"
_LINKS, _EF_CONSTRUCTION, _EF_SEARCH = 32, 80, 64
_POINTS_PER_LIST, _PROBE_SHARE = 39, 0.1
_BYTES_PER_VECTOR = 32


@dataclass(frozen=True, eq=False)
class FaissIndex:
    """A faiss index with inner product.

    `flat` is exact. `hnsw` is a graph (Malkov, Yashunin, 2018). `ivfpq` keeps compressed vectors in lists (Jégou,
    Douze, Schmid, 2011): about 32 bytes for each, at some loss in accuracy.
    """

    index: Any = field(repr=False)
    kind: FaissKind

    @classmethod
    def build(cls, vectors: NDArray[np.float32], kind: FaissKind) -> FaissIndex:
        """Returns an index over vectors `(n, dim)`, trained on them where the kind needs it."""
        index = _new_index(len(vectors), vectors.shape[1], kind)
        if not index.is_trained:
            index.train(vectors)
        index.add(vectors)
        return cls(_on_device(index, kind), kind)

    def search(self, queries: NDArray[np.float32], k: int) -> list[Hits]:
        """Returns at most k hits for each query; an approximate index may find fewer."""
        scores, positions = self.index.search(np.ascontiguousarray(queries), min(k, self.index.ntotal))
        return [_hits(row, values) for row, values in zip(positions, scores, strict=True)]

    def save(self, folder: Path) -> None:
        """Writes the index; an exact one is built anew from the vectors instead."""
        if self.kind != "flat":
            index = faiss.index_gpu_to_cpu(self.index) if _has_gpu() and self.kind == "ivfpq" else self.index
            faiss.write_index(index, str(folder / _FILE))

    @classmethod
    def load(cls, folder: Path, kind: FaissKind) -> FaissIndex:
        """Returns the saved index.

        Raises:
            DamagedIndex: faiss cannot read the file.
        """
        try:
            index = faiss.read_index(str(folder / _FILE))
        except RuntimeError as error:
            raise DamagedIndex(f"faiss cannot read {folder / _FILE}: {error}") from error
        return cls(_on_device(index, kind), kind)


def product_quantize(vectors: NDArray[np.float32], runs: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Returns uint8 codes `(n, runs)` and the codebook `(runs, 256, dim / runs)` that they point into."""
    quantizer = faiss.ProductQuantizer(vectors.shape[1], runs, 8)
    quantizer.cp.min_points_per_centroid = 1  # few vectors are no reason for a warning on stderr
    quantizer.train(vectors)
    codebook = faiss.vector_to_array(quantizer.centroids).reshape(runs, 256, -1)
    return quantizer.compute_codes(vectors), codebook


def _hits(positions: NDArray[np.int64], scores: NDArray[np.float32]) -> Hits:
    """Returns what was found (faiss fills up with position -1), ties in order of position."""
    order = np.lexsort((positions, -scores))
    order = order[positions[order] >= 0]
    return positions[order].astype(np.intp), scores[order]


def _new_index(n: int, dim: int, kind: FaissKind) -> Any:
    if kind == "hnsw":
        graph = faiss.IndexHNSWFlat(dim, _LINKS, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction, graph.hnsw.efSearch = _EF_CONSTRUCTION, _EF_SEARCH
        return graph
    if kind == "flat" or n < 256 * _POINTS_PER_LIST:  # too few to learn the 256 centroids of product quantisation
        return faiss.IndexFlatIP(dim)
    lists = max(1, min(4 * isqrt(n), n // _POINTS_PER_LIST))
    parts = next(m for m in range(min(_BYTES_PER_VECTOR, dim), 0, -1) if dim % m == 0)
    index = faiss.IndexIVFPQ(faiss.IndexFlatIP(dim), dim, lists, parts, 8, faiss.METRIC_INNER_PRODUCT)
    index.nprobe = max(1, round(lists * _PROBE_SHARE))
    return index


def _has_gpu() -> bool:
    return bool(getattr(faiss, "get_num_gpus", lambda: 0)())


def _on_device(index: Any, kind: FaissKind) -> Any:
    """Returns the index on the first GPU, if faiss sees one and has this kind there (it has no hnsw)."""
    if kind == "hnsw" or not _has_gpu():
        return index
    return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
