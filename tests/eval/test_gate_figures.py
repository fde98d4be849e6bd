"""The gate's evaluation: passages on other matters, and the shares that come out empty."""

from __future__ import annotations

import pytest

from eval.datasets import Passage, Question
from eval.gate import figures, foreign


def question(number: int, *titles: str) -> Question:
    """Returns a question with one passage for each title."""
    return Question(str(number), f"q{number}?", (), tuple(Passage(t, f"On {t}.", None, (), None) for t in titles))


def test_foreign() -> None:
    """Each question meets the passages of another one, none of them on a matter of its own."""
    contexts = foreign([question(0, "a", "b"), question(1, "b"), question(2, "c")])
    assert [[d.title for d in c.documents] for c in contexts] == [["c"], ["c"], ["a", "b"]]
    assert [c.query for c in contexts] == ["q0?", "q1?", "q2?"]
    with pytest.raises(ValueError, match="same matter as 0"):
        foreign([question(0, "a"), question(1, "a")])


def test_figures() -> None:
    """Shares are of the contexts below a threshold."""
    found = figures([0.9, 0.15], [0.01, 0.03])
    assert found["AUROC"] == 100
    assert (found["empty at 0.2, answerable"], found["empty at 0.02, foreign"]) == (50, 50)
