"""BM25: parity of the backends, and the scores themselves."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pytest

from rag_compress import BM25Retriever, Document
from rag_compress.errors import InvalidInput
from rag_compress.retrievers.bm25 import Backend
from rag_compress.words import words


def test_score_by_hand() -> None:
    """A score is idf * tf / (tf + k1 * (1 - b + b * length / mean length)), Lucene's variant without the (k1 + 1)."""
    documents = [Document("1", "river river bank"), Document("2", "bank"), Document("3", "bread")]
    (found,) = BM25Retriever.from_documents(documents, k1=1.5, b=0.75).retrieve(["river"])
    idf = math.log(1 + (3 - 1 + 0.5) / (1 + 0.5))
    expected = idf * 2 / (2 + 1.5 * (1 - 0.75 + 0.75 * 3 / (5 / 3)))
    assert [d.id for d in found] == ["1"]
    assert found[0].score == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("common_share", [0.1, 0.5, 0.6, 0.95])
def test_parity_with_rank_bm25(common_share: float) -> None:
    """method="okapi" scores as rank-bm25 does, also with words in more than half of the documents."""
    rng = random.Random(0)
    vocabulary = [f"w{i}" for i in range(300)]
    documents = [
        Document(str(i), " ".join(rng.choices(vocabulary, k=30) + ["common"] * (rng.random() < common_share)))
        for i in range(200)
    ]
    ours = BM25Retriever.from_documents(documents, method="okapi").index
    theirs = BM25Retriever.from_documents(documents, method="okapi", backend="rank-bm25").index
    for _ in range(50):
        query = words(" ".join([*rng.choices(vocabulary, k=4), "common", "common", "unknown"]))
        np.testing.assert_allclose(ours.scores(query), theirs.scores(query), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backend", ["bm25s", "rank-bm25"])
def test_a_word_of_half_of_the_documents(backend: Backend) -> None:
    """Okapi's idf of such a word is 0; the documents that have it are found."""
    (found,) = BM25Retriever.from_documents(["river", "bread"], method="okapi", backend=backend).retrieve(["river"])
    assert [d.text for d in found] == ["river"]


def test_documents_without_words_are_saved(tmp_path: Path) -> None:
    """Such an index finds nothing, and still nothing once it is loaded."""
    BM25Retriever.from_documents(["", "?!"]).save(tmp_path)
    assert BM25Retriever.load(tmp_path).retrieve(["river"]) == [[]]


def test_ties_keep_the_order_of_the_documents() -> None:
    """Documents with equal scores come in the order in which they were indexed."""
    documents = [Document(str(i), "same words") for i in range(20)]
    (found,) = BM25Retriever.from_documents(documents).retrieve(["same"], k=5)
    assert [d.id for d in found] == ["0", "1", "2", "3", "4"]


def test_unknown_choices() -> None:
    """An unknown method or backend, or one that the backend lacks, is an error that shows it and what there is."""
    documents = [Document("1", "river")]
    with pytest.raises(InvalidInput, match="bm25s or rank-bm25 and method lucene or okapi, not 'elastic'"):
        BM25Retriever.from_documents(documents, backend="elastic")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="computes method='okapi' only"):
        BM25Retriever.from_documents(documents, backend="rank-bm25")
    with pytest.raises(InvalidInput, match="b must be a number from 0 to 1, not 2"):
        BM25Retriever.from_documents(documents, b=2)
    with pytest.raises(InvalidInput, match="k1 must be a number from 0 to 1000, not -1"):
        BM25Retriever.from_documents(documents, k1=-1)
    with pytest.raises(InvalidInput, match="k must be an integer of at least 1, not 0"):
        BM25Retriever.from_documents(documents, k=0)
