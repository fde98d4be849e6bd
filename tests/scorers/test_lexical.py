"""BM25 over sentences, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rag_compress import LexicalScorer
from rag_compress.errors import InvalidInput
from rag_compress.models.protocols import Passage


def passage(*sentences: str) -> Passage:
    """A passage of these sentences."""
    text = " ".join(sentences)
    starts = [text.index(s) for s in sentences]
    return Passage("", text, [(start, start + len(s)) for start, s in zip(starts, sentences, strict=True)])


def test_score_by_hand() -> None:
    """The score is the share of the best possible BM25 score, over all sentences of the query's passages."""
    passages = [passage("river river bank.", "flour."), passage("bank bread.")]
    (scores,) = LexicalScorer(k1=1.2, b=0.75).score(["river bank"], [passages])
    river, bank = math.log(1 + 2.5 / 1.5), math.log(1 + 1.5 / 2.5)
    first, third = 1.2 * (0.25 + 0.75 * 3 / 2), 1.2 * (0.25 + 0.75 * 2 / 2)
    expected = (river * 2 / (2 + first) + bank * 1 / (1 + first)) / (river + bank)
    assert scores[0][0] == pytest.approx(expected, rel=1e-6)
    assert scores[0][1] == 0
    assert scores[1][0] == pytest.approx(bank * 1 / (1 + third) / (river + bank), rel=1e-6)


def test_queries_do_not_mix() -> None:
    """The same query over other passages keeps its own statistics."""
    one, other = [passage("river.", "bank.")], [passage("river.", "river sea.", "river bed.")]
    both = LexicalScorer().score(["river", "river"], [one, other])
    assert [s.tolist() for s in both[0]] == [s.tolist() for s in LexicalScorer().score(["river"], [one])[0]]


def test_nothing_to_match() -> None:
    """A query without words says nothing against a sentence; no passages, or no sentences, give no scores."""
    (scores,) = LexicalScorer().score(["the ?"], [[passage("river."), Passage("", "", [])]])
    assert [s.tolist() for s in scores] == [[1.0], []]
    assert scores[0].dtype == np.float32
    assert LexicalScorer().score(["river"], [[]]) == [[]]
    assert LexicalScorer().score([], []) == []


def test_parameters_are_checked() -> None:
    """An impossible k1 or b is an error that shows it."""
    with pytest.raises(InvalidInput, match="k1 must be a number from 0 to 1000, not -1"):
        LexicalScorer(k1=-1)
    with pytest.raises(InvalidInput, match="b must be a number from 0 to 1, not nan"):
        LexicalScorer(b=float("nan"))


def test_words_of_every_title_do_not_count() -> None:
    """What all passages are about tells no sentence from another; in one passage's title alone it does."""
    texts = ["Normans came early.", "They won at Hastings."]
    same, other = (
        [Passage(title, text, [(0, len(text))]) for title, text in zip(t, texts, strict=True)]
        for t in (
            ("Normans", "The Normans"),
            ("Normans", "Hastings"),
        )
    )
    (first,), (second,) = (LexicalScorer().score(["Where did the Normans win?"], [group]) for group in (same, other))
    assert first[0].item() == 0
    assert second[0].item() > 0
    assert LexicalScorer().score(["Normans"], [same])[0][0].item() > 0
    assert LexicalScorer().score(["Where did the Normans win?"], [same[:1]])[0][0].item() > 0


@pytest.mark.parametrize("options", [{"k1": 0}, {"b": 1}], ids=str)
def test_parameters_at_their_limits(options: dict[str, float]) -> None:
    """Binary BM25 (k1 0) and BM11 (b 1) score sentences without the word, or without any, 0."""
    text = "The river is long. It is what it is. Many castles."
    sentences = [(0, 18), (19, 36), (37, 50)]
    ((scores,),) = LexicalScorer(**options).score(["river source"], [[Passage("", text, sentences)]])
    assert scores[0] > 0
    assert scores[1:].tolist() == [0, 0]
