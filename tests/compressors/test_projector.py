"""Soft tokens: which documents become some, from which embedding, within which budget."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from rag_compress import (
    Context,
    Document,
    Exactness,
    ExtractiveCompressor,
    ProjectorCompressor,
    PromptTemplate,
    Selection,
)
from rag_compress.compressors.projector import XRAG
from rag_compress.errors import InvalidInput, ModelError
from rag_compress.pipelines.framework import Compression
from rag_compress.testing import HashEncoder, OverlapScorer, RepeatProjector, ScriptedSummarizer

LOIRE = "The Loire is a river in France. It is 1,006 km long. Many castles stand near it."
RHINE = "The Rhine rises in the Swiss Alps. It ends in the North Sea."


def words(text: str) -> int:
    """Counts words."""
    return len(text.split())


TEMPLATE = PromptTemplate(template="{context} {query}", source="{text}", separator=" ", tokenizer=words)


@dataclass
class Recorder:
    """An encoder that remembers what it was given."""

    seen: list[str] = field(default_factory=list)

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Returns the lengths of the texts, four times."""
        self.seen += texts
        return np.array([[len(text)] * 4 for text in texts], dtype=np.float32)


def make(encoder: object = None, tokens: int = 1, **options: object) -> ProjectorCompressor:
    """Returns a compressor that counts words."""
    return ProjectorCompressor(RepeatProjector(tokens), encoder, **{"template": TEMPLATE, **options})


def test_an_embedding_at_hand_is_used() -> None:
    """A whole document's own embedding is projected; nothing is encoded."""
    documents = [
        Document("a", LOIRE, embedding=np.full(4, 0.5, np.float32)),
        Document("b", RHINE, embedding=np.ones(4)),
    ]
    context = make().compress("Which river?", documents)
    assert [segment.embedding.tolist() for segment in context.segments] == [[[0.5] * 4], [[1.0] * 4]]
    assert [segment.spans[0].end for segment in context.segments] == [len(LOIRE), len(RHINE)]
    assert context.notes["projector"] == {"soft": 2, "text": 0, "dropped": 0, "gated": 0}
    assert context.is_soft


def test_what_lacks_an_embedding_is_encoded_with_its_title() -> None:
    """The encoder reads what an index reads."""
    encoder = Recorder()
    make(encoder).compress("q", [Document("a", LOIRE, "Loire"), Document("b", RHINE, embedding=np.ones(4))])
    assert encoder.seen == [f"Loire\n{LOIRE}"]


def test_without_an_encoder() -> None:
    """Where one is needed, its absence is an error that shows the text."""
    with pytest.raises(InvalidInput, match=r"needs an embedding of its own.*The Loire"):
        make().compress("q", [LOIRE])
    with pytest.raises(InvalidInput, match="at most 5 tokens"):
        make(piece_tokens=5).compress("q", [Document("a", LOIRE, embedding=np.ones(4))])


def test_a_long_document_in_pieces() -> None:
    """Each piece of whole sentences has its own soft token and its own span."""
    encoder = Recorder()
    context = make(encoder, piece_tokens=12).compress("q", [Document("a", LOIRE, embedding=np.ones(4))])
    pieces = [LOIRE[s.spans[0].start : s.spans[0].end] for s in context.segments]
    assert pieces == ["The Loire is a river in France. It is 1,006 km long.", "Many castles stand near it."]
    assert encoder.seen == pieces


def test_a_sentence_longer_than_a_piece() -> None:
    """It is cut, and nothing of it is left out."""
    context = make(Recorder(), piece_tokens=3).compress("q", ["one two three four five six seven eight nine"])
    covered = "".join(
        "one two three four five six seven eight nine"[s.spans[0].start : s.spans[0].end] for s in context.segments
    )
    assert covered == "one two three four five six seven eight nine"
    assert len(context.segments) > 2


def test_after_an_extract() -> None:
    """What an earlier stage has cut is encoded anew: the document's embedding is of more than is kept."""
    encoder = Recorder()
    extract = ExtractiveCompressor(OverlapScorer(), Selection(threshold=0.5))
    document = Document("a", LOIRE, embedding=np.ones(4))
    context = (extract >> make(encoder)).compress("river in France", [document])
    assert encoder.seen == ["The Loire is a river in France."]
    assert context.segments[0].spans[0].end == 31
    assert [segment.text for segment in context.dropped] == ["It is 1,006 km long.", "Many castles stand near it."]


def test_after_an_extract_of_a_long_document() -> None:
    """A piece never reaches over what was dropped: neither its text nor its span holds it."""
    encoder = Recorder()
    text = "The Loire is a river. Bread is baked here. The Loire is long. " + "The Loire has castles. " * 4
    extract = ExtractiveCompressor(OverlapScorer(), Selection(threshold=0.5))
    context = (extract >> make(encoder, piece_tokens=14)).compress("Loire", [text])
    assert not any("Bread" in seen for seen in encoder.seen)
    assert all("Bread" not in text[s.spans[0].start : s.spans[0].end] for s in context.segments)
    assert encoder.seen[0] == "The Loire is a river."


def test_after_a_summary() -> None:
    """A summary's sentence is encoded as it is, and keeps its sources."""
    from rag_compress import AbstractiveCompressor

    encoder = Recorder()
    summarize = AbstractiveCompressor(
        ScriptedSummarizer("The Loire is a river in France."), fallback=ExtractiveCompressor.lexical()
    )
    context = (summarize >> make(encoder)).compress("Which river?", [LOIRE])
    assert encoder.seen == ["The Loire is a river in France."]
    assert context.segments[0].embedding is not None


def test_soft_tokens_are_not_made_twice() -> None:
    """The second projector has no text to read."""
    with pytest.raises(InvalidInput, match="soft tokens already"):
        (make(HashEncoder()) >> make(HashEncoder())).compress("q", [LOIRE])


def test_a_short_text_stays() -> None:
    """A text of no more tokens than its soft tokens is text."""
    context = make(HashEncoder(), tokens=2).compress("q", ["Yes indeed", LOIRE, " "])
    assert [segment.text for segment in context.segments] == ["Yes indeed", ""]


def test_the_mixed_budget() -> None:
    """The best documents are text as far as the budget goes; the others are one token each; the rest is dropped."""
    documents = [Document(str(i), "one two three four five", score=float(i)) for i in range(4)]
    for budget, soft, text, dropped in ((20, 0, 4, 0), (13, 2, 2, 0), (8, 3, 1, 0), (3, 3, 0, 1), (0, 0, 0, 4)):
        context = make(HashEncoder(), max_tokens=budget).compress("q", documents)
        counts = {"soft": soft, "text": text, "dropped": dropped, "gated": 0}
        assert context.notes["projector"] == counts, budget
        assert TEMPLATE.count(context) <= budget
    context = make(HashEncoder(), max_tokens=8).compress("q", documents)
    assert [bool(segment.text) for segment in context.segments] == [False, False, False, True]
    (dropped_one,) = make(HashEncoder(), max_tokens=3).compress("q", documents).dropped
    assert dropped_one.spans[0].doc_id == "0"


def test_the_gate() -> None:
    """A document that holds the number asked for is text, before better ones when there is no room for all."""
    gated = make(HashEncoder(), gate=Exactness()).compress("How long is the Loire?", [RHINE, LOIRE])
    assert [bool(segment.text) for segment in gated.segments] == [False, True]
    assert gated.notes["projector"]["gated"] == 1
    tight = make(HashEncoder(), gate=Exactness(), max_tokens=18).compress("How long is the Loire?", [RHINE, LOIRE])
    assert [bool(segment.text) for segment in tight.segments] == [False, True]


@pytest.mark.parametrize(
    ("query", "text", "exact"),
    [
        ("How long is the Loire?", LOIRE, True),
        ("How long is the Rhine?", RHINE, False),
        ("Who found it?", "In May, Marie Curie found it.", True),
        ("Who found it?", "it was found by a child.", False),
        ("Who found it?", "it was found by 17 children.", False),
        ("How long is it?", "it is near Paris.", False),
        ("Why is it so?", "In May, Marie Curie found 17 of them.", False),
        ("Why is it so?", "def f(x):\n    return x;\n", True),
        ("Why is it so?", "def f(x):" + "\nThey say so." * 4, False),
        ("Why is it so?", "", False),
    ],
)
def test_exactness(query: str, text: str, exact: bool) -> None:
    """Numbers for questions after numbers, names for those after names, code always."""
    assert Exactness()(query, text) is exact


def test_exactness_in_part() -> None:
    """What is not asked for is not looked for."""
    assert not Exactness(numbers=False)("How long is the Loire?", LOIRE)
    assert not Exactness(names=False)("Who found it?", "In May, Marie Curie found it.")
    assert not Exactness(code=False)("Why is it so?", "def f(x):\n    return x;\n")


def test_exactness_of_a_long_line_is_quick() -> None:
    """Time grows with the length of a line, not with its square: a million characters would take hours."""

    def seconds(size: int) -> float:
        start = time.process_time()
        assert not Exactness()("what?", "f(x) " * size)
        return time.process_time() - start

    assert seconds(40_000) < 20 * max(seconds(4_000), 0.001)


@pytest.mark.parametrize("result", [np.zeros((1, 4)), np.zeros((2, 1, 4)), np.full((1, 1, 4), np.nan)])
def test_a_projector_that_breaks_its_promise(result: NDArray[np.float32]) -> None:
    """Wrong shapes and values that are no numbers are errors."""

    class Broken:
        def project(self, embeddings: object) -> NDArray[np.float32]:
            return result

    with pytest.raises(ModelError, match="did not return finite soft tokens"):
        ProjectorCompressor(Broken(), HashEncoder()).compress("q", [LOIRE])


def test_embeddings_of_two_shapes() -> None:
    """One index has one shape."""
    documents = [Document("a", LOIRE, embedding=np.ones(4)), Document("b", RHINE, embedding=np.ones(5))]
    with pytest.raises(InvalidInput, match="one shape"):
        make().compress("q", documents)


def test_the_prompt() -> None:
    """One placeholder stands for each document, and its array is at the same place."""
    context = make(HashEncoder(8), template=XRAG).compress("Which river?", [LOIRE, RHINE])
    prompt = XRAG.format(context)
    assert prompt.text.split("\n\n")[1:] == ["Background: <xRAG> <xRAG>", "Question: Which river?"]
    assert [array.shape for array in prompt.soft_tokens] == [(1, 8), (1, 8)]


@pytest.mark.parametrize("nasty", ["<xRAG>", "<xRAG> <xRAG-1> <xRAG-2>", "<xRAG", "AG> <xR"])
def test_a_placeholder_in_the_texts_shifts_nothing(nasty: str) -> None:
    """Another placeholder is chosen, so the number and places of placeholders are those of the soft tokens."""
    gate = lambda query, text: "Rhine" not in text  # noqa: E731
    documents = [Document("a", nasty + LOIRE), Document("b", RHINE), Document("c", LOIRE + nasty)]
    context = make(HashEncoder(), gate=gate).compress(f"{nasty} which river?", documents)
    prompt = TEMPLATE.format(context)
    assert prompt.text.count(prompt.placeholder) == len(prompt.soft_tokens) == 1
    before, after = prompt.text.split(prompt.placeholder)
    assert before == f"{nasty}{LOIRE} "
    assert after == f" {LOIRE}{nasty} {nasty} which river?"


def test_a_template_that_cannot_hold_soft_tokens() -> None:
    """One that shows the context twice would have twice as many placeholders as arrays."""
    context = make(HashEncoder()).compress("q", [LOIRE])
    with pytest.raises(InvalidInput, match="exactly once"):
        PromptTemplate(template="{context} {context} {query}").format(context)


def test_soft_tokens_are_counted_as_tokens() -> None:
    """The budget of a whole prompt counts one for each, not the letters of a placeholder."""
    context = make(HashEncoder(), tokens=3).compress("Which river?", [LOIRE, RHINE])
    assert TEMPLATE.count(context) == 6
    fitted = replace(TEMPLATE, empty="{query}", max_tokens=5).format(context)
    assert len(fitted.soft_tokens) == 1


def test_where_only_text_can_go() -> None:
    """Messages and the documents of frameworks refuse soft tokens, with a way out."""
    stage = make(HashEncoder())
    with pytest.raises(InvalidInput, match=r"use PromptTemplate\.format"):
        PromptTemplate().messages(stage.compress("q", [LOIRE]))
    with pytest.raises(InvalidInput, match="cannot carry soft tokens"):
        Compression(stage=stage).run([Context.whole("q", [LOIRE])])
