"""The contract: every compressor, and every chain of them, is a row here and inherits all the tests below."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import contexts

from rag_compress import (
    AbstractiveCompressor,
    BiEncoderScorer,
    CascadeScorer,
    Chunking,
    ClassifierScorer,
    Context,
    EnsembleScorer,
    Exactness,
    ExtractiveCompressor,
    LexicalScorer,
    ProjectorCompressor,
    PromptTemplate,
    Selection,
    Stage,
)
from rag_compress.errors import InvalidInput
from rag_compress.models.protocols import Summarizer
from rag_compress.testing import (
    HashEncoder,
    LeadSummarizer,
    OverlapScorer,
    RepeatProjector,
    ScriptedSummarizer,
    check_context,
)


@dataclass(frozen=True)
class Row:
    """A compressor under test, made for a given selection."""

    name: str
    make: Callable[[Selection], Stage]


def abstractive(summarizer: Summarizer, selection: Selection, **options: Any) -> AbstractiveCompressor:
    """Returns the compressor with the budget and the tokenizer of a selection, which also makes the stand-in."""
    return AbstractiveCompressor(
        summarizer,
        max_tokens=selection.max_tokens,
        fallback=ExtractiveCompressor(OverlapScorer(), selection),
        template=selection.template,
        **options,
    )


def soft(selection: Selection, tokens: int = 1, **options: Any) -> ProjectorCompressor:
    """Returns the compressor with the budget and the template of a selection."""
    return ProjectorCompressor(
        RepeatProjector(tokens), HashEncoder(), selection.max_tokens, template=selection.template, **options
    )


INVENTED = ScriptedSummarizer("The Loire is a river in France. Penguins discovered 17 moons of Jupiter.")
ROWS = [
    Row("extractive lexical", lambda s: ExtractiveCompressor(LexicalScorer(), s)),
    Row("extractive bi-encoder", lambda s: ExtractiveCompressor(BiEncoderScorer(HashEncoder()), s)),
    Row(
        "extractive cascade",
        lambda s: ExtractiveCompressor(CascadeScorer(LexicalScorer(), OverlapScorer(), passages=2), s),
    ),
    Row(
        "extractive ensemble",
        lambda s: ExtractiveCompressor(EnsembleScorer(OverlapScorer(), BiEncoderScorer(HashEncoder())), s),
    ),
    Row("extractive overlap", lambda s: ExtractiveCompressor(OverlapScorer(), s)),
    Row("selection of whole documents", lambda s: s),
    Row(
        "lexical >> bi-encoder",
        lambda s: (
            ExtractiveCompressor(LexicalScorer(), Selection(max_ratio=0.8))
            >> ExtractiveCompressor(BiEncoderScorer(HashEncoder()), s)
        ),
    ),
    Row(
        "documents >> overlap with neighbours",
        lambda s: Selection(max_similarity=0.9) >> ExtractiveCompressor(OverlapScorer(), s),
    ),
    Row("abstractive", lambda s: abstractive(LeadSummarizer(), s)),
    Row("abstractive, small chunks", lambda s: abstractive(LeadSummarizer(), s, chunking=Chunking(30), keywords=3)),
    Row("abstractive, invented", lambda s: abstractive(INVENTED, s, on_fault="drop")),
    Row("abstractive, unchecked", lambda s: abstractive(INVENTED, s, grounding=None)),
    Row("abstractive, failing", lambda s: abstractive(ScriptedSummarizer(RuntimeError("down")), s)),
    Row(
        "overlap >> abstractive",
        lambda s: ExtractiveCompressor(OverlapScorer(), Selection(max_ratio=0.7)) >> abstractive(LeadSummarizer(), s),
    ),
    Row("soft tokens", soft),
    Row("soft tokens, small pieces", lambda s: soft(s, 3, piece_tokens=9)),
    Row("soft tokens, gated", lambda s: soft(s, gate=Exactness())),
    Row(
        "overlap >> soft tokens",
        lambda s: (
            ExtractiveCompressor(OverlapScorer(), Selection(max_ratio=0.7, threshold=s.threshold))
            >> soft(s, gate=Exactness())
        ),
    ),
]
every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


SLOW = Row("extractive classifier", lambda s: ExtractiveCompressor(ClassifierScorer(), s))
"""The bundled model: its own test below runs the same checks on fewer examples."""


def words_and_signs(text: str) -> int:
    """A tokenizer whose counts do not add up: joining texts can merge or make tokens."""
    return len(text.split()) + text.count("ab") + len(text) // 7


TOKENIZERS = [words_and_signs, len, PromptTemplate().tokenizer]
selections = st.builds(
    Selection,
    threshold=st.none() | st.floats(-1, 2),
    gate=st.none() | st.floats(-1, 2),
    keep_best=st.integers(0, 3),
    neighbours=st.integers(0, 2),
    max_similarity=st.none() | st.floats(0, 1),
    max_ratio=st.none() | st.floats(0, 1),
)


@every_row
@given(context=contexts(), selection=selections)
def test_promises(row: Row, context: Context, selection: Selection) -> None:
    """Whatever the text and the options, the result is verbatim, in order, never longer, and nothing is lost."""
    after = row.make(selection)([context])[0]
    check_context(context, after, selection.template)


@every_row
@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=["not additive", "characters", "estimate"])
@given(context=contexts(), max_tokens=st.integers(0, 120))
def test_budget(row: Row, tokenizer: Callable[[str], int], context: Context, max_tokens: int) -> None:
    """The rendered context never has more than `max_tokens`, by whatever tokenizer."""
    selection = Selection(max_tokens=max_tokens, template=PromptTemplate(tokenizer=tokenizer))
    after = row.make(selection)([context])[0]
    check_context(context, after, selection.template, max_tokens)


@every_row
@given(batch=st.lists(contexts(), max_size=4), selection=selections)
def test_batch_is_one_by_one(row: Row, batch: list[Context], selection: Selection) -> None:
    """Batch-mates never change a decision."""
    stage = row.make(selection)
    assert stage(batch) == [stage([context])[0] for context in batch]


@every_row
def test_empty_is_legal(row: Row) -> None:
    """A context without documents, and one whose pieces are all below the threshold, come out empty."""
    stage = row.make(Selection(threshold=10.0))
    nothing, something = stage([Context("q"), Context.whole("q", ["", "some text", "\n"])])
    assert nothing.is_empty
    assert all(segment.score is None for segment in something.segments)


@every_row
@pytest.mark.parametrize("batch", [Context("q"), None, "text", ["text"], [None], {"text": 1}], ids=repr)
def test_what_is_no_batch(row: Row, batch: Any) -> None:
    """Anything else than a list of contexts is an error that shows it."""
    with pytest.raises(InvalidInput, match="must be a list of contexts, "):
        row.make(Selection())(batch)


@every_row
def test_one_long_line(row: Row) -> None:
    """A line of a million characters comes out within the budget."""
    context = Context.whole("which river?", ["river " * 170_000, "x" * 1_000_000])
    selection = Selection(max_tokens=100)
    check_context(context, row.make(selection)([context])[0], selection.template, 100)


@settings(max_examples=15)
@given(data=st.data())
def test_slow_row(data: st.DataObject) -> None:
    """The bundled model keeps the same promises."""
    context = data.draw(contexts())
    test_promises.hypothesis.inner_test(SLOW, context, data.draw(selections))
    test_budget.hypothesis.inner_test(SLOW, len, context, data.draw(st.integers(0, 120)))
    test_batch_is_one_by_one.hypothesis.inner_test(SLOW, [context, data.draw(contexts())], data.draw(selections))


@pytest.mark.slow
def test_slow_row_on_extremes() -> None:
    """The bundled model takes no documents, empty ones and a line of a million characters."""
    test_empty_is_legal(SLOW)
    test_one_long_line(SLOW)
