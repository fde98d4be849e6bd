"""Fusion: formulas by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from rag_compress import BM25Retriever, Document, HybridRetriever
from rag_compress.errors import InvalidInput
from rag_compress.retrievers import Interpolation, ReciprocalRankFusion
from rag_compress.stages import Retriever

A, B, C = (Document(name, name, score=score) for name, score in [("a", 3.0), ("b", 2.0), ("c", 1.0)])


def test_reciprocal_rank_fusion() -> None:
    """A document's score is the sum of 1 / (60 + rank)."""
    fused = ReciprocalRankFusion().fuse([[A, B], [C, A]])
    assert [(d.id, d.score) for d in fused] == [
        ("a", pytest.approx(1 / 61 + 1 / 62)),
        ("c", pytest.approx(1 / 61)),
        ("b", pytest.approx(1 / 62)),
    ]


def test_interpolation() -> None:
    """Scores are scaled to [0, 1] in each ranking, then weighted and added."""
    fused = Interpolation((0.25, 0.75)).fuse([[A, B, C], [replace(C, score=9.0), replace(B, score=4.0)]])
    assert {d.id: d.score for d in fused} == {"a": 0.25, "b": 0.125, "c": 0.75}
    assert [d.id for d in fused] == ["c", "a", "b"]


def test_weights_are_counted() -> None:
    """As many weights as rankings, or an error; a negative k is one, too."""
    with pytest.raises(InvalidInput, match="k must be an integer of at least 0, not -1"):
        ReciprocalRankFusion(-1)
    with pytest.raises(InvalidInput, match="one for each of the rankings"):
        Interpolation((1, 1, 1)).fuse([[A]])


def test_scores_that_cannot_be_interpolated() -> None:
    """A ranking without scores, or with an infinite one, is refused, as is a weight that is no number."""
    for score in (None, float("inf")):
        with pytest.raises(InvalidInput, match="needs finite scores"):
            Interpolation().fuse([[A, replace(B, score=score)]])
    with pytest.raises(InvalidInput, match="weights must be a number"):
        Interpolation((float("nan"),))


@pytest.mark.parametrize("fusion", [ReciprocalRankFusion(), Interpolation()], ids=str)
def test_a_document_counts_once_in_a_ranking(fusion) -> None:
    """Found twice by one retriever, a document has the better of its places."""
    assert fusion.fuse([[A, B, A], [C]]) == fusion.fuse([[A, B], [C]])


def test_equal_scores() -> None:
    """A ranking of equal scores counts fully, an empty one not at all."""
    assert [d.score for d in Interpolation().fuse([[A, replace(A, id="z")], []])] == [0.5, 0.5]


def test_an_embedding_survives() -> None:
    """A document has the embedding of the ranking that knows it, whichever comes first."""
    dense = replace(A, embedding=np.ones(2, np.float32))
    for rankings in ([[A], [dense]], [[dense], [A]]):
        assert ReciprocalRankFusion().fuse(rankings)[0].embedding is dense.embedding


@dataclass(frozen=True)
class Fixed(Retriever):
    """Finds the same documents for every query."""

    documents: tuple[Document, ...]
    k: int = 10

    def rank(self, queries: Sequence[str], k: int) -> list[list[Document]]:
        """Returns the first k."""
        return [list(self.documents[:k]) for _ in queries]


@pytest.mark.parametrize(("k", "depth", "found"), [(1, 100, "b"), (1, 1, "a"), (2, 1, "ba"), (3, 100, "bac")])
def test_depth(k: int, depth: int, found: str) -> None:
    """Each part contributes as many documents as it may, and never fewer than are asked for; k come out."""
    hybrid = HybridRetriever((Fixed((A, B)), Fixed((C, B))), k=k, depth=depth)
    assert [document.id for document in hybrid.retrieve(["q"])[0]] == list(found)


def test_a_hybrid_of_nothing() -> None:
    """A hybrid needs a retriever."""
    with pytest.raises(InvalidInput, match="at least one retriever"):
        HybridRetriever(())


def test_a_hybrid_of_something_else() -> None:
    """One retriever that is no list, or a part that is no retriever, is refused before it is asked."""
    retriever = BM25Retriever.from_documents(["river"])
    for wrong in (retriever, (retriever, len)):
        with pytest.raises(InvalidInput, match=r"must be a list of this library's retrievers, not .*BM25Retriever"):
            HybridRetriever(wrong)  # type: ignore[arg-type]


def test_a_part_that_cannot_be_saved(tmp_path) -> None:
    """A hybrid with someone else's retriever cannot be saved, and says so before writing."""

    class Foreign(BM25Retriever):
        save = property()  # type: ignore[assignment]

    part = Foreign.from_documents([A])
    with pytest.raises(InvalidInput, match="can be saved"):
        HybridRetriever((part,)).save(tmp_path / "x")
    assert not (tmp_path / "x").exists()
