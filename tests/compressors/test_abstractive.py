"""The abstractive compressor: what stands, what stands in, what the notes say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from rag_compress import (
    AbstractiveCompressor,
    Chunking,
    Context,
    Document,
    ExtractiveCompressor,
    PromptTemplate,
    Segment,
    Selection,
    Span,
)
from rag_compress.compressors.offline import summarize_documents
from rag_compress.errors import InvalidInput, MissingExtra, ModelError
from rag_compress.testing import LeadSummarizer, OverlapScorer, ScriptedSummarizer, check_context

LOIRE = Document(
    "loire",
    "The Loire is a river in France. It is 1,006 km long, the longest of the country. Many castles stand near it. "
    "Its source is in the Massif Central, at Mont Gerbier de Jonc.",
    title="Loire",
)
RHINE = Document("rhine", "The Rhine rises in Switzerland. It ends in the North Sea.", title="Rhine")
TOWNS = [
    Document(
        str(n), " ".join(f"The river number {i} flows through Town{i}, far away." for i in range(8 * n, 8 * n + 8))
    )
    for n in (0, 8)
]
QUERY = "Where is the source of the Loire?"
EXTRACT = ExtractiveCompressor(OverlapScorer(), Selection(threshold=0.3))
WORDS = PromptTemplate(tokenizer=lambda text: len(text.split()))


def compressor(reply: str | Exception, **options: Any) -> AbstractiveCompressor:
    """Returns the compressor over a summarizer that always replies the same."""
    return AbstractiveCompressor(ScriptedSummarizer(reply), **{"fallback": EXTRACT, "template": WORDS, **options})


def notes(context: Context) -> dict[str, Any]:
    """Returns what the compressor noted."""
    found: dict[str, Any] = context.notes["abstractive"]
    return found


@dataclass
class Writer:
    """Writes what a function makes of the number of the call and a text."""

    reply: Callable[[int, str], str]
    calls: int = 0

    def summarize(self, queries: Sequence[str], texts: Sequence[str], max_tokens: Sequence[int]) -> list[str]:
        """Returns the function's replies."""
        self.calls += 1
        return [self.reply(self.calls, text) for text in texts]


@dataclass(frozen=True)
class Recording:
    """Notes what it is asked, and replies with the first sentence."""

    asked: list[tuple[str, str, int]] = field(default_factory=list)

    def summarize(self, queries: Sequence[str], texts: Sequence[str], max_tokens: Sequence[int]) -> list[str]:
        """Returns the first sentences."""
        self.asked.extend(zip(queries, texts, max_tokens, strict=True))
        return [text.partition("\n")[2].partition(". ")[0] + "." for text in texts]


def test_sentences_cite_their_sources() -> None:
    """Each sentence of a summary is a segment; its spans are the sentences that support it."""
    context = compressor(
        "The Loire, a river in France, is 1006 kilometres long. The Rhine ends in the North Sea."
    ).compress(QUERY, [LOIRE, RHINE])
    first, second = context.segments
    assert not first.verbatim
    assert LOIRE.text[first.spans[0].start : first.spans[0].end] == "The Loire is a river in France."
    assert {span.doc_id for span in first.spans} == {"loire"}
    assert second.spans[-1] == Span("rhine", 32, 57)
    assert notes(context) | {"chunks": 1} == notes(context)
    assert (notes(context)["checked"], notes(context)["replaced"], notes(context)["dropped"]) == (2, 0, 0)
    assert WORDS.render_context(context).startswith("[1] Loire\nThe Loire, a river")
    assert "Many castles" in " ".join(segment.text for segment in context.dropped)


def test_a_sentence_that_fails_is_replaced() -> None:
    """A changed number gives way to the sentence that it was made from, word for word."""
    context = compressor("The Loire is 1,060 km long, the longest of the country.").compress(QUERY, [LOIRE])
    assert [(segment.text, segment.verbatim) for segment in context.segments] == [
        ("It is 1,006 km long, the longest of the country.", True)
    ]
    assert notes(context)["replaced"] == 1
    check_context(Context.whole(QUERY, [LOIRE]), context, WORDS)


def test_a_sentence_that_fails_is_dropped() -> None:
    """By the other policy, or without any source, it goes."""
    text = "The Loire is 1,060 km long, the longest of the country. The Loire is in France."
    context = compressor(text, on_fault="drop").compress(QUERY, [LOIRE])
    assert [segment.text for segment in context.segments] == ["The Loire is in France."]
    assert notes(context)["dropped"] == 1
    invented = compressor("The Loire is in France. Penguins discovered moons.").compress(QUERY, [LOIRE])
    assert [segment.text for segment in invented.segments] == ["The Loire is in France."]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (RuntimeError("down"), "RuntimeError"),
        (TimeoutError("slow"), "TimeoutError"),
        (LOIRE.text * 2, "longer than its input"),
        ("x" * 10_000_000, "longer than its input"),
        ("Penguins discovered seventeen moons.", "no sentence stands"),
        (123, "int"),
    ],
)
def test_never_worse(reply: Any, reason: str) -> None:
    """Whatever goes wrong, the extract stands in, and the context says why."""
    context = compressor(reply).compress(QUERY, [LOIRE])
    assert context.segments == EXTRACT.compress(QUERY, [LOIRE]).segments
    assert context.segments
    assert notes(context)["stood_in"] == {reason: 1}


def test_the_text_returned_as_it_is() -> None:
    """A summarizer that returns its input shortens nothing; a third of the text is what the extract may have."""
    context = AbstractiveCompressor(LeadSummarizer(), fallback=EXTRACT, template=WORDS).compress("", [LOIRE])
    assert len(WORDS.render_context(context)) < len(LOIRE.text)


def test_one_failure_costs_one() -> None:
    """A summarizer that raises an error for one text is asked again for each alone; the others keep their summaries."""

    class Choosy:
        def summarize(self, queries: Sequence[str], texts: Sequence[str], max_tokens: Sequence[int]) -> list[str]:
            if any("Rhine" in text for text in texts):
                raise RuntimeError("not the Rhine")
            return ["The Loire is in France."] * len(texts)

    stage = AbstractiveCompressor(Choosy(), fallback=EXTRACT)
    loire, rhine = stage([Context.whole(QUERY, [LOIRE]), Context.whole("Where does the Rhine end?", [RHINE])])
    assert notes(loire)["stood_in"] == {}
    assert notes(rhine)["stood_in"] == {"RuntimeError": 1}
    assert rhine.segments


def test_empty_is_legal() -> None:
    """An empty summary says that nothing helps: the context is empty, and everything is in `dropped`."""
    context = compressor("  ").compress(QUERY, [LOIRE])
    assert context.is_empty
    assert notes(context)["stood_in"] == {}
    assert len(context.dropped) == 4
    nothing = compressor("x").compress(QUERY, [])
    assert nothing.is_empty
    assert notes(nothing)["chunks"] == 0


def test_budget_and_room() -> None:
    """The summarizer gets what is left beside the title; where there is no room for a sentence it is not asked."""
    recording = Recording()
    stage = AbstractiveCompressor(recording, 20, fallback=EXTRACT, template=WORDS)
    context = stage.compress(QUERY, [LOIRE])
    [(query, text, budget)] = recording.asked
    assert (query, text) == (QUERY, f"Loire\n{LOIRE.text}")
    assert 8 <= budget < 20
    assert len(WORDS.render_context(context).split()) <= 20
    tight = AbstractiveCompressor(recording, 9, fallback=EXTRACT, template=WORDS).compress(QUERY, [LOIRE])
    assert len(recording.asked) == 1
    assert notes(tight)["stood_in"] == {"no room for a sentence": 1}


def test_chunks() -> None:
    """A long text is written in chunks, in order, each with its share of the budget."""
    recording = Recording()
    stage = AbstractiveCompressor(recording, 200, chunking=Chunking(20, least=4), fallback=EXTRACT, template=WORDS)
    context = stage.compress(QUERY, [LOIRE, RHINE])
    assert notes(context)["chunks"] == len(recording.asked) == 3
    assert "".join(text.partition("\n")[2] for _, text, _ in recording.asked).startswith("The Loire is a river")
    assert recording.asked[-1][1].startswith("Rhine\n")
    assert "[2] Rhine" in WORDS.render_context(context)


def test_written_again() -> None:
    """What is still too long after its chunks were written is written once more as a whole."""
    talkative = Writer(lambda _, text: text.partition("\n")[2].rpartition(" Its")[0] or "The Loire is in France.")
    stage = AbstractiveCompressor(talkative, 38, chunking=Chunking(45, least=4), fallback=EXTRACT, template=WORDS)
    context = stage.compress(QUERY, [LOIRE, replace(LOIRE, id="again")])
    assert talkative.calls == 2
    assert notes(context)["rounds"] == 2
    assert [segment.text for segment in context.segments] == ["The Loire is in France."]


def test_written_until_it_fits() -> None:
    """What becomes shorter is written once more, what does not is left."""

    def rounds(*shares: int) -> tuple[int, int]:
        def shorten(call: int, text: str) -> str:
            cut = text.replace("\n", " ").rstrip(".").split(". ")
            return ". ".join(cut[: len(cut) // shares[call - 1]]) + "."

        writer = Writer(shorten)
        stage = AbstractiveCompressor(writer, 30, chunking=Chunking(90, least=4), fallback=EXTRACT, template=WORDS)
        context = stage.compress(QUERY, TOWNS)
        return notes(context)["rounds"], writer.calls

    assert rounds(2, 2, 2) == (3, 3)
    assert rounds(2, 1) == (1, 2)


def test_a_later_round_that_fails_is_noted() -> None:
    """Its error is among the notes, as are the chunks that there was no room for."""

    def fail(call: int, text: str) -> str:
        if call > 1:
            raise ValueError("pay your bill")
        return text.rpartition(" The")[0].rpartition(" The")[0]

    chunking = Chunking(90, least=16)
    stage = AbstractiveCompressor(Writer(fail), 20, chunking=chunking, fallback=EXTRACT, template=WORDS)
    found = notes(stage.compress(QUERY, TOWNS))
    assert (found["rounds"], found["chunks_left_out"], found["errors"]) == (1, 1, ["pay your bill"])


def test_a_talkative_chunk_leaves_the_others_their_shares() -> None:
    """Where summaries are longer than they were to be, what is beyond its chunk's share gives way first."""
    echo = Writer(lambda _, text: text.rpartition(" The")[0])
    stage = AbstractiveCompressor(echo, 40, chunking=Chunking(90, least=8), fallback=EXTRACT, template=WORDS)
    context = stage.compress(QUERY, TOWNS)
    assert len(WORDS.render_context(context).split()) <= 40
    assert notes(context)["over_budget"] == 10
    assert {span.doc_id for segment in context.segments for span in segment.spans} == {"0", "8"}


def test_keywords_stay() -> None:
    """Where a summary loses a keyword, the sentence that holds it is added as it stands."""
    text = "Castles stand near castles. Castles were built of stone. Rivers flow to the sea, and rivers flood."
    stage = compressor("Castles were built.", keywords=2, max_tokens=30, grounding=None)
    assert "rivers" not in WORDS.render_context(stage.compress("", [text]))
    stage = compressor("Castles were built.", keywords=2, max_tokens=30)
    context = stage.compress("", [text])
    assert [segment.text for segment in context.segments][-1].startswith("Rivers flow")
    assert notes(context)["added"] == 1


def test_unchecked() -> None:
    """Without the check whatever is written stands, and cites all that it was written from."""
    [segment] = compressor("Penguins discovered moons.", grounding=None).compress(QUERY, [LOIRE, RHINE]).segments
    assert segment.spans == (Span("loire", 0, len(LOIRE.text)), Span("rhine", 0, len(RHINE.text)))


def test_documents_of_a_store() -> None:
    """Without a question a document is summarised as it is; it keeps its id, and its text where nothing came out."""
    documents = [Document("a", LOIRE.text, metadata={"page": 3}), Document("b", "")]
    stage = compressor("The Loire is a river in France.")
    short, empty = summarize_documents(documents, stage)
    assert (short.id, short.text, short.metadata["page"]) == ("a", "The Loire is a river in France.", 3)
    assert short.metadata["summary_of"]["spans"] == [[[0, 31]]]
    assert empty == documents[1]


def test_wrong_use() -> None:
    """A summary cannot be summarised again; options and protocols are checked."""
    written = Context(QUERY, (LOIRE,), (Segment("short", (), verbatim=False),))
    with pytest.raises(InvalidInput, match="verbatim"):
        compressor("x")([written])
    with pytest.raises(InvalidInput, match="on_fault"):
        compressor("x", on_fault="keep")
    with pytest.raises(InvalidInput, match="max_tokens"):
        compressor("x", max_tokens=-1)

    class Short:
        def summarize(self, queries: Sequence[str], texts: Sequence[str], max_tokens: Sequence[int]) -> list[str]:
            return []

    with pytest.raises(ModelError, match="0 summaries for 1"):
        AbstractiveCompressor(Short(), fallback=EXTRACT).compress(QUERY, [LOIRE])
    with pytest.raises(MissingExtra):
        compressor(MissingExtra("torch", "torch", "A model")).compress(QUERY, [LOIRE])


def test_a_summary_that_does_not_fit_leaves_the_extract() -> None:
    """One long true sentence over the budget is no reason for an empty context."""
    written = "The Loire is a river in France, it is 1,006 km long, and many castles stand near it."
    context = compressor(written, max_tokens=14, fallback=ExtractiveCompressor.lexical()).compress(QUERY, [LOIRE])
    assert context.segments
    assert WORDS.count(context) <= 14
    assert notes(context)["stood_in"] == {"no sentence fits": 1}


def test_an_empty_second_round_does_not_undo_the_first() -> None:
    """Only the texts themselves can hold nothing that helps, not what was written from them."""
    once = Writer(lambda call, text: "" if call > 1 else text.partition("\n")[2].partition(". ")[0] + ".")
    stage = AbstractiveCompressor(
        once, max_tokens=10, chunking=Chunking(max_tokens=15), fallback=EXTRACT, template=WORDS
    )
    assert stage.compress(QUERY, [LOIRE, RHINE]).segments


def test_an_object_that_cannot_summarize_is_refused() -> None:
    """It would otherwise fail for every text, and the extract hide that."""
    with pytest.raises(InvalidInput, match="ChatSummarizer"):
        AbstractiveCompressor(object())  # type: ignore[arg-type]


def test_chunks_fit_the_summarizers_window() -> None:
    """A summarizer that says how much it reads is never given more."""

    @dataclass(frozen=True)
    class Short(Recording):
        max_source_tokens: int = 16

    short = Short()
    AbstractiveCompressor(short, max_tokens=100, fallback=EXTRACT, template=WORDS).compress("", [LOIRE, RHINE])
    assert len(short.asked) >= 3
    assert all(len(text.split()) <= 16 + 1 for _, text, _ in short.asked)  # one for the title


def test_notes_say_what_the_summarizer_complained_of() -> None:
    """The type alone does not tell what to do."""
    context = compressor(ModelError("too long: use smaller chunks")).compress(QUERY, [LOIRE])
    assert notes(context)["errors"] == ["too long: use smaller chunks"]


def test_a_sentence_of_two_chunks() -> None:
    """What one chunk quotes another may say too; it stands once, and the source of the second is dropped, not lost."""
    documents = [
        Document("1", "The Loire is a river in France. Many castles stand near the Loire, as near others."),
        Document("2", "The Loire is a river in France, as everyone knows who has ever been near the Loire."),
    ]
    given = Context.whole(QUERY, documents)
    [context] = compressor("The Loire is a river in France.", chunking=Chunking(16, least=1))([given])
    assert [segment.text for segment in context.segments].count("The Loire is a river in France.") == 1
    check_context(given, context, WORDS)


def test_a_sentence_does_not_stand_twice() -> None:
    """A wrong sentence's source is not added where the summary holds it already."""
    context = compressor("Many castles stand near it. Many castles stand near 7 of it.").compress(QUERY, [LOIRE])
    assert [segment.text for segment in context.segments] == ["Many castles stand near it."]
