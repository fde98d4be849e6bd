"""The reader: what it learns from, what it finds, and what is measured with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_extractive_figures import NOTHING, RIVERS, passage
from tiny_classifier import write_encoder

from eval.reader import answer_samples, compressed_texts, figures_of, full_texts, gold_texts, read_contexts
from rag_compress.compressors import ExtractiveCompressor
from rag_compress.selection import Selection
from rag_compress.testing import OverlapScorer

torch = pytest.importorskip("torch")
from eval.reader_training import ExampleSource, ReaderSchedule, locate, train_reader  # noqa: E402
from eval.span_model import NO_ANSWER, Answer, Reader, cutting_tokenizer, windows_of  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]
LONG = "the rhine is long. " * 60 + "the loire is in france."


@pytest.fixture
def encoder(tmp_path) -> str:
    """A folder with a random encoder of one layer."""
    return str(write_encoder(tmp_path / "encoder"))


def test_the_answer_is_looked_for_in_the_evidence_first():
    """An answer that also stands before its evidence sentence is found in that sentence, and only in gold passages."""
    repeated = passage("Loire wine.", "The Loire is a river.", evidence=(1,), gold=True)
    question = replace(RIVERS, passages=(repeated,), answers=("Loire",))
    start, end = locate(question, repeated)
    assert (start, repeated.text[start:end]) == (16, "Loire")
    assert locate(question, replace(repeated, gold=False)) is None


def test_long_texts_are_read_in_windows_that_leave_nothing_out(encoder):
    """Every character of a long text that a token covers is in a window, and an answer has its place in one of them."""
    windows = windows_of(cutting_tokenizer(encoder), "which river?", LONG)
    assert len(windows) > 1
    covered = {i for window in windows for o in window.offsets if o for i in range(*o)}
    assert covered == {i for i, character in enumerate(LONG) if character != " "}
    start = LONG.index("loire")
    assert [window.place(start, start + 5) is not None for window in windows][-1]


def test_examples_hold_their_answer(encoder):
    """The tokens of an answer spell it, whole passage or run of sentences; without gold there is no answer."""
    source = ExampleSource([RIVERS, NOTHING], cutting_tokenizer(encoder), ReaderSchedule(windows=40, nulls=0.5))
    examples = [example for part in source.parts(0) for example in part]
    nulls = [example for example in examples if example.span == (0, 0)]
    assert 5 < len(nulls) < 35
    for window, (first, last) in (example for example in examples if example.span != (0, 0)):
        assert window.offsets[last][1] - window.offsets[first][0] == len("Loire")


def test_a_reader_learns_to_find_an_answer(encoder):
    """On one question the loss falls, and the reader then answers it from the passage that holds the answer."""
    reader = Reader.new(encoder)
    question = replace(RIVERS, passages=RIVERS.passages[1:])
    schedule = ReaderSchedule(steps=60, windows=4, learning_rate=2e-2, nulls=0.0, shortened=0.0)
    losses = train_reader(reader, [question], schedule)
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    assert reader.read([question.query], full_texts([question]))[0].text == "Loire"


def test_weights_survive_a_round_trip(encoder, tmp_path):
    """A reader that takes up the weights of another gives its answers."""
    one, other = Reader.new(encoder), Reader.new(encoder)
    one.save(tmp_path / "cache" / "reader.pt")
    texts = full_texts([RIVERS])
    expected = one.read([RIVERS.query], texts)
    assert other.load(tmp_path / "cache" / "reader.pt").read([RIVERS.query], texts) == expected


def test_no_text_gives_no_answer(encoder):
    """Neither an empty context nor a blank text is read."""
    assert Reader.new(encoder).read(["a?", "b?"], [[], [" "]]) == [NO_ANSWER, NO_ANSWER]


def test_contexts_are_what_their_names_say():
    """Full is everything, gold the gold passages, compressed what the compressor keeps."""
    assert full_texts([RIVERS]) == [[p.text for p in RIVERS.passages]]
    assert gold_texts([RIVERS, NOTHING]) == [[RIVERS.passages[1].text], []]
    compressor = ExtractiveCompressor(OverlapScorer(), Selection(threshold=0.3))
    assert compressed_texts(compressor, [RIVERS, NOTHING]) == [["The Loire is a river in France."], []]


def test_only_where_it_may_can_the_reader_refuse():
    """An answer below the null answer counts as empty: right for a question without answer."""
    answers = [Answer("the Loire!", -1.0), Answer("Cats", -1.0)]
    assert answer_samples([RIVERS, NOTHING], answers) == {"EM": [1.0, 0.0], "F1": [1.0, 0.0]}
    assert answer_samples([RIVERS, NOTHING], answers, may_refuse=True) == {"EM": [0.0, 1.0], "F1": [0.0, 1.0]}


def test_differences_are_paired():
    """Two contexts that differ on no question differ by exactly 0, however far the questions are apart."""
    figures = figures_of({"F1 full": [0.0, 1.0, 0.5], "F1 compressed": [0.0, 1.0, 0.5], "F1 gold": [1.0, 1.0, 1.0]})
    assert figures["F1 compressed"] == 50
    assert [figures[f"F1 compressed - full{x}"] for x in ("", ", low", ", high")] == [0, 0, 0]
    assert figures["F1 gold - full"] == 50


def test_all_contexts_are_measured(encoder):
    """Each context has its figures for answerable and for all questions, and the share of words kept is known."""
    compressor = ExtractiveCompressor(OverlapScorer(), Selection(threshold=0.3))
    figures, samples = read_contexts(Reader.new(encoder), compressor, [RIVERS], [NOTHING])
    assert figures["words kept"] == pytest.approx(100 * 7 / 19)
    assert {f"{p}F1 {c}" for p in ("", "all: ") for c in ("full", "compressed", "gold")} < samples.keys()
    assert samples["all: F1 gold"][1] == 1
