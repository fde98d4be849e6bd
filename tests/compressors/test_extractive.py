"""The extractive machine: what is cut, what the scorer sees, what it may not return."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from rag_compress import Context, Document, ExtractiveCompressor, LexicalScorer, Segment, Selection, Span
from rag_compress.errors import InvalidInput, ModelError
from rag_compress.scorers.classifier import BUNDLED
from rag_compress.testing import HashEncoder, OverlapScorer, check_context

LOIRE = Document("loire", "The Loire is long. It is in France.", title="Rivers")


class Recording:
    """Scores everything 1 and remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list = []

    def score(self, queries, passages):
        """Returns ones."""
        self.calls.append((queries, passages))
        return [[np.ones(len(p.sentences), np.float32) for p in group] for group in passages]


def test_the_scorer_sees_whole_passages() -> None:
    """A scorer gets title, whole text and sentence offsets, and all contexts of a batch in one call."""
    scorer = Recording()
    batch = [Context.whole("a?", [LOIRE]), Context("b?"), Context.whole("c?", [LOIRE, "One. Two."])]
    ExtractiveCompressor(scorer)(batch)
    ((queries, passages),) = scorer.calls
    assert queries == ["a?", "b?", "c?"]
    assert [len(group) for group in passages] == [1, 0, 2]
    assert passages[0][0] == ("Rivers", LOIRE.text, [(0, 18), (19, 35)])


def test_one_scoring_pass_serves_a_sweep() -> None:
    """Many selections over scored contexts call the scorer once."""
    scorer = Recording()
    scored = ExtractiveCompressor(scorer).score([Context.whole("q", [LOIRE])])
    sizes = [len(Selection(max_tokens=n)(scored)[0].segments) for n in (0, 12, 100)]
    assert sizes == [0, 1, 2]
    assert len(scorer.calls) == 1


def test_a_second_stage_cuts_only_what_is_kept() -> None:
    """After an earlier stage, only the kept pieces are scored again, and all drops are remembered."""
    first = ExtractiveCompressor(OverlapScorer(), Selection(threshold=0.5))
    scorer = Recording()
    context = (first >> ExtractiveCompressor(scorer)).compress("Loire", [LOIRE])
    assert scorer.calls[0][1][0][0].sentences == [(0, 18)]
    assert [s.text for s in context.dropped] == ["It is in France."]


def test_a_summary_cannot_be_cut() -> None:
    """Text that was written, not quoted, is an error: extract first."""
    summary = Segment("Summary.", (Span("loire", 0, 5),), verbatim=False)
    with pytest.raises(InvalidInput, match="Only verbatim segments"):
        ExtractiveCompressor(OverlapScorer())([Context("q", (LOIRE,), (summary,))])


def test_the_language_is_named() -> None:
    """It decides where a sentence ends; what is none is refused before anything is read."""
    german = ExtractiveCompressor.lexical(language="de", threshold=None)
    assert len(german.compress("Fluss", ["Er kam am 5. Mai an den Fluss. Es war gut."]).segments) == 2
    with pytest.raises(InvalidInput, match="'german'"):
        ExtractiveCompressor.default(language="german")
    assert ExtractiveCompressor.lexical() == ExtractiveCompressor(LexicalScorer(), Selection(threshold=0.05))


def test_another_stage_stands_behind() -> None:
    """Budgets are looked into where nothing fits, so that only a `Selection` chooses within; others are composed."""
    choice = Selection(threshold=2) >> Selection(max_tokens=50)
    with pytest.raises(InvalidInput, match="not a Pipeline: put another stage behind it"):
        ExtractiveCompressor(OverlapScorer(), choice)  # type: ignore[arg-type]
    pipeline = ExtractiveCompressor(OverlapScorer()) >> choice
    assert pipeline([Context.whole("river", [LOIRE])])[0].is_empty


def test_a_splitter_that_lies() -> None:
    """Pieces outside the text, out of order, on top of each other, or no pieces at all are an error that shows them."""
    for wrong in ([(0, 99)], [(5, 9), (0, 4)], [(0, 6), (4, 9)], [(3, 3)]):
        with pytest.raises(InvalidInput, match=rf"out of order: {re.escape(repr(wrong))}"):
            ExtractiveCompressor(OverlapScorer(), splitter=lambda text, wrong=wrong: wrong).compress("q", [LOIRE])
    for wrong in (str.split, lambda text: [(0.0, 1.0)], lambda text: [None], lambda text: None):
        with pytest.raises(InvalidInput, match="pairs"):
            ExtractiveCompressor(OverlapScorer(), splitter=wrong).compress("q", [LOIRE])


def test_a_text_without_sentences() -> None:
    """A log that is one long piece gives its best part when only that fits, word for word; a sentence is never cut."""
    log = " ".join(f"time={i:03} level=info" for i in range(30)) + " payment=failed order=77 " + "level=info " * 30
    made = ExtractiveCompressor(OverlapScorer(), Selection(threshold=0.1, max_tokens=60))
    context = made.compress("Which payment failed?", [log])
    assert "payment=failed" in context.segments[0].text
    assert context.segments[0].text in log
    check_context(Context.whole("Which payment failed?", [log]), context, made.selection.template, 60)
    assert made.compress("Which cheese?", [log]).is_empty
    tight = ExtractiveCompressor(OverlapScorer(), Selection(threshold=0.1, max_tokens=10))
    assert tight.compress("Where is the Loire?", [LOIRE]).is_empty


def test_a_splitter_of_numpy() -> None:
    """Offsets of an array become plain integers, which JSON takes."""
    made = ExtractiveCompressor(OverlapScorer(), splitter=lambda text: np.array([[0, 9]])).compress("q", [LOIRE])
    assert json.dumps([made.segments[0].spans[0].end]) == "[9]"


@pytest.mark.parametrize(
    "wrong", [None, [None], [], [[]], [[np.ones(1)]], [[np.array([1.0, np.nan])]], [[np.ones(2), np.ones(2)]]]
)
def test_a_scorer_that_lies(wrong: list) -> None:
    """Too few or too many scores, or NaN, are an error that names the scorer."""

    class Liar:
        def score(self, queries, passages):
            return wrong

    with pytest.raises(ModelError, match="Liar"):
        ExtractiveCompressor(Liar()).compress("q", [LOIRE])


def test_default() -> None:
    """The default keeps what answers, drops the rest, and its options are the selection's."""
    texts = ["The Loire is long. Cheese is made of milk.", "Bread is baked."]
    context = ExtractiveCompressor.default().compress("how long is the Loire?", texts)
    assert [s.text for s in context.segments] == ["The Loire is long."]
    assert ExtractiveCompressor.default(max_tokens=0).compress("Loire", [LOIRE]).is_empty
    assert ExtractiveCompressor.default(threshold=0.5).compress("cheese", [LOIRE]).is_empty
    with pytest.raises(TypeError, match="max_token"):
        ExtractiveCompressor.default(max_token=3)


def test_a_folder_may_be_a_path() -> None:
    """The folder of a classifier may be a path, as that of a bi-encoder may be."""
    by_path = ExtractiveCompressor.named("classifier", BUNDLED)  # type: ignore[arg-type]
    assert by_path == ExtractiveCompressor.named("classifier", str(BUNDLED))


@pytest.mark.parametrize("wrong", [LexicalScorer, HashEncoder(), "lexical"])
def test_what_is_no_scorer(wrong: object) -> None:
    """A class, an encoder or a name in the place of a scorer is an error at once that shows it."""
    with pytest.raises(InvalidInput, match=r"score\(queries, passages\).*(LexicalScorer|HashEncoder|'lexical')"):
        ExtractiveCompressor(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [np.zeros((1, 1)), [None], ["a"], [[1.0, 2.0]], 3.0, np.zeros(2)], ids=repr)
def test_scores_of_a_wrong_shape(wrong: object) -> None:
    """A scorer that does not return one number for each sentence is named, whatever it returns."""

    class Wrong:
        def score(self, queries, passages):
            return [[wrong]]

    with pytest.raises(ModelError, match=r"did not return one score for each sentence|not a finite number"):
        ExtractiveCompressor(Wrong()).compress("q", ["The river is long."])


def test_plain_lists_are_scores() -> None:
    """A scorer may return lists of numbers."""

    class Lists:
        def score(self, queries, passages):
            return [[[1.0]]]

    assert ExtractiveCompressor(Lists()).compress("q", ["The river is long."]).segments[0].score == 1
