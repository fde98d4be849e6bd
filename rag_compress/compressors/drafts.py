"""What a summary goes through on its way: parts of a context, what was written of each, and the draft they make up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

from rag_compress.prompts import document_order, join_segments
from rag_compress.types import Context, Segment, Span


class Part(NamedTuple):
    """A chunk: its sentences as a context of their own, its text for the summarizer, and its share of the budget.

    The summary may have `budget` tokens, and with the header of its source, which has `header`, stands in the prompt.
    """

    context: Context
    budget: int
    header: int
    text: str

    @classmethod
    def of(cls, context: Context, budget: int, header: int) -> Part:
        """Returns the part with its text: each document's kept sentences under its title."""
        documents = context.by_id()
        blocks = []
        for doc_id, pieces in groupby(context.segments, key=lambda piece: piece.spans[0].doc_id):
            document = documents[doc_id]
            text = join_segments(document, list(pieces))
            blocks.append(f"{document.title}\n{text}" if document.title else text)
        return cls(context, budget, header, "\n".join(blocks))

    @property
    def spans(self) -> tuple[Span, ...]:
        """From the first sentence of each document to the last."""
        found: dict[str, Span] = {}
        for piece in self.context.segments:
            span = piece.spans[0]
            found[span.doc_id] = Span(span.doc_id, found.get(span.doc_id, span).start, span.end)
        return tuple(found.values())


class Written(NamedTuple):
    """What became of a part: what is kept, what is not, counts of what happened, why the extract stands in (if so).

    After an error of the summarizer, `stood_in` is its type and `error` what it says.
    """

    segments: tuple[Segment, ...]
    dropped: tuple[Segment, ...]
    counts: Counter[str]
    stood_in: str = ""
    error: str = ""


class Draft(NamedTuple):
    """The parts of a context and what became of them, before they are fitted to the budget.

    `rounds` is how often it was written, and `error` what kept the summarizer from writing it once more.
    """

    parts: list[Part]
    written: list[Written]
    rounds: int = 1
    error: str = ""

    @property
    def segments(self) -> tuple[Segment, ...]:
        """What is kept of all parts, in order."""
        return tuple(segment for written in self.written for segment in written.segments)

    @property
    def text(self) -> str:
        """What is kept of all parts, joined."""
        return " ".join(segment.text for segment in self.segments)

    @property
    def counts(self) -> dict[str, int]:
        """What happened in all parts."""
        known = Counter(checked=0, replaced=0, dropped=0)
        for written in self.written:
            known.update(written.counts)
        return dict(known)

    @property
    def whole(self) -> Context:
        """The context with the sentences of all parts."""
        pieces = tuple(piece for part in self.parts for piece in part.context.segments)
        return replace(self.parts[0].context, segments=pieces)

    def as_one(self) -> Part:
        """Returns the joined summary as a part to write again, checked against all sentences."""
        return Part(self.whole, sum(part.budget for part in self.parts), self.parts[0].header, self.text)


def in_order(context: Context, segments: Iterable[Segment]) -> list[Segment]:
    """Returns the segments without repetitions; the verbatim ones change places until they stand in document order."""
    unique = list(dict.fromkeys(segments))
    quoted = {segment.text for segment in unique if segment.verbatim}
    distinct = [segment for segment in unique if segment.verbatim or segment.text not in quoted]
    ordered = iter(sorted((s for s in distinct if s.verbatim), key=document_order(context)))
    return [next(ordered) if segment.verbatim else segment for segment in distinct]


def uncited(pieces: Sequence[Segment], kept: Iterable[Segment]) -> tuple[Segment, ...]:
    """Returns the pieces that nothing kept cites."""
    cited = {span for segment in kept for span in segment.spans}
    return tuple(piece for piece in pieces if piece.spans[0] not in cited)
