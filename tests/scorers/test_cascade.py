"""A cascade reads what matters and ranks the rest below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from rag_compress import CascadeScorer, LexicalScorer
from rag_compress.errors import InvalidInput, ModelError
from rag_compress.models.protocols import Passage, SentenceScorer


@dataclass
class Counting:
    """Gives every sentence 0.9 where its passage says yes, otherwise 0.1, and remembers what it read."""

    read: list[str] = field(default_factory=list)

    def score(self, queries: Sequence[str], passages: Sequence[Sequence[Passage]]) -> list[list[NDArray[np.float32]]]:
        """Returns the scores."""
        self.read += [passage.text for group in passages for passage in group]
        return [
            [np.full(len(p.sentences), 0.9 if "yes" in p.text else 0.1, np.float32) for p in group]
            for group in passages
        ]


def passage(text: str) -> Passage:
    """Returns a passage of one sentence."""
    return Passage("", text, [(0, len(text))])


LIKE = [passage(" ".join(["river"] * (i + 1)) + f" and {'other ' * (20 - i)}words") for i in range(20)]


def test_only_the_best_are_read() -> None:
    """The passages most like the query are read; the others stand below them, in the first scorer's order."""
    then = Counting()
    (scores,) = CascadeScorer(LexicalScorer(), then, passages=5).score(["river"], [LIKE])
    assert sorted(then.read) == sorted(p.text for p in LIKE[-5:])
    values = np.concatenate(scores)
    assert (values[-5:] == np.float32(0.1)).all()
    assert (values[:-5] < 0.1).all()
    assert (np.diff(values[:-5]) > 0).all()


def test_few_passages_are_all_read() -> None:
    """With no more passages than may be read, the scores are those of the second scorer."""
    cascade = CascadeScorer(LexicalScorer(), Counting())
    assert isinstance(cascade, SentenceScorer)
    scores = cascade.score(["river", "x"], [LIKE[:3], []])
    assert [[array.tolist() for array in group] for group in scores] == [[[pytest.approx(0.1)]] * 3, []]


def test_it_stops_when_enough_was_found() -> None:
    """Passages after those that fill the budget are not read."""
    then = Counting()
    certain = [*LIKE, passage("river river river river river river yes yes yes")]
    CascadeScorer(LexicalScorer(), then, enough=8).score(["river yes"], [certain])
    assert len(set(then.read)) == 8
    then = Counting()
    CascadeScorer(LexicalScorer(), then, enough=10).score(["river yes"], [certain])  # 9 words are sure
    assert len(set(then.read)) == 20
    then = Counting()
    CascadeScorer(LexicalScorer(), then, enough=1000).score(["river yes"], [certain])
    assert len(set(then.read)) == 20


@pytest.mark.parametrize(("share", "read"), [(0.25, 5), (0.26, 6), (0, 1), (1, 20)])
def test_only_a_share_is_read(share: float, read: int) -> None:
    """The share of a query's passages is rounded up, and one is always read."""
    then = Counting()
    CascadeScorer(LexicalScorer(), then, share=share).score(["river"], [LIKE])
    assert len(then.read) == read


def test_passages_without_sentences() -> None:
    """Nothing to score is no error."""
    (scores,) = CascadeScorer(LexicalScorer(), Counting(), passages=1).score(["x"], [[Passage("", "", []), LIKE[0]]])
    assert [len(array) for array in scores] == [0, 1]


def test_a_scorer_of_the_wrong_length() -> None:
    """What either scorer returns is checked."""

    class Short:
        def score(self, queries, passages):
            return [[np.ones(1, np.float32) for _ in group] for group in passages]

    for cascade in (CascadeScorer(Short(), Counting()), CascadeScorer(LexicalScorer(), Short())):
        with pytest.raises(ModelError, match="one score for each sentence"):
            cascade.score(["x"], [[Passage("", "yes. no.", [(0, 4), (5, 8)])]])


def test_options_are_checked() -> None:
    """A cascade that would read nothing is refused."""
    with pytest.raises(InvalidInput, match="passages"):
        CascadeScorer(LexicalScorer(), Counting(), passages=0)
    with pytest.raises(InvalidInput, match="share"):
        CascadeScorer(LexicalScorer(), Counting(), share=1.5)
    with pytest.raises(InvalidInput, match="sure must be a number"):
        CascadeScorer(LexicalScorer(), Counting(), enough=5, sure=float("nan"))
    with pytest.raises(InvalidInput, match=r"then must have score.*LexicalScorer'"):
        CascadeScorer(LexicalScorer(), LexicalScorer)  # type: ignore[arg-type]
