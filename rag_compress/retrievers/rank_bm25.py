"""The backend rank-bm25 (extra `rank-bm25`), for those who must have its exact scores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rag_compress.errors import importing
from rag_compress.retrievers.ranking import WORTHLESS


@dataclass(frozen=True, eq=False)
class RankBM25:
    """`rank_bm25.BM25Okapi`. It keeps no file format, so `save` writes the words and `load` indexes them again."""

    name: ClassVar = "rank-bm25"
    index: Any = field(repr=False)
    corpus: list[list[str]] = field(repr=False)

    @classmethod
    def from_corpus(cls, corpus: list[list[str]], k1: float = 1.5, b: float = 0.75) -> RankBM25:
        """Returns the index of documents given as words."""
        with importing("rank-bm25", "rank-bm25", "backend='rank-bm25'"):
            from rank_bm25 import BM25Okapi
        # It divides by the number of distinct words: without any, there is nothing to index.
        if not any(corpus):
            return cls(None, corpus)
        index = BM25Okapi(corpus, k1=k1, b=b)
        index.idf = {word: idf or WORTHLESS for word, idf in index.idf.items()}
        return cls(index, corpus)

    def scores(self, query: Sequence[str]) -> NDArray[np.float32]:
        """Returns float32 `(documents,)`."""
        if self.index is None or not query:
            return np.zeros(0, dtype=np.float32)
        with np.errstate(invalid="ignore"):  # k1=0 makes 0 / 0 of a word that a document does not have
            scores = [np.nan_to_num(self.index.get_scores([word]), nan=0.0) for word in query]
        return np.asarray(np.sum(scores, axis=0), dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Writes the words of the documents and the two parameters."""
        parameters = {"k1": self.index.k1, "b": self.index.b} if self.index else {}
        (folder / "rank_bm25.json").write_text(json.dumps({"corpus": self.corpus, **parameters}))

    @classmethod
    def load(cls, folder: Path) -> RankBM25:
        """Returns the index of the words that were saved."""
        return cls.from_corpus(**json.loads((folder / "rank_bm25.json").read_text()))
