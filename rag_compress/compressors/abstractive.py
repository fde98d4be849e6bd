"""Abstractive compression that can be trusted: one short text written for the question, checked against its sources.

What a summarizer writes is taken only as far as the sources hold it; where it fails, the extractive result stands in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from rag_compress.checks import check_choice, check_count
from rag_compress.compressors.chunking import Chunking, density, keywords
from rag_compress.compressors.drafts import Draft, Part, Written, in_order, uncited
from rag_compress.compressors.extractive import ExtractiveCompressor, pieces_of
from rag_compress.compressors.grounding import Grounding, Verdict
from rag_compress.errors import InvalidInput, MissingExtra, ModelError
from rag_compress.models.protocols import Summarizer, Summary
from rag_compress.prompts import PromptTemplate
from rag_compress.selection import Selection
from rag_compress.stages import Stage
from rag_compress.types import Context, Segment, as_contexts
from rag_compress.words import words

_SHARE = 3
"""Without a budget, a summary may have a third of the tokens of its text."""
_LEAST_ASKED = 16
"""But never fewer than this, as far as its text has them."""
_LEAST_TOKENS = 8
"""Nobody writes a sentence in fewer."""
_SHOWN, _ERRORS = 200, 3
"""How much of an error is noted, and of how many."""
_WINDOW = 0.75
"""The share of a summarizer's window that a chunk may have: there is a prompt, and tokens are counted otherwise."""
_ROUNDS = 3
"""How often a text is written at the most."""
_REPLACED_FROM = 0.25
"""A sentence that shares less with its best source has none: there is nothing to put in its place."""

OnFault = Literal["replace", "drop"]


@dataclass(frozen=True)
class AbstractiveCompressor(Stage):
    """Writes a summary of what is kept, for the query; an empty query asks for one of the text as it is.

    Each sentence of the summary becomes a segment whose spans are the sentences that support it. A text longer than
    one chunk is cut, its chunks are rewritten side by side, and the joined summary is rewritten again, up to twice,
    while it is too long and becomes shorter; what then does not fit is dropped by the sentence, first what is
    beyond the share of its chunk. Where a chunk's summary fails, is longer than the chunk, or has no sentence that
    stands, the extractive result stands in for that chunk.

    What happened is in `notes["abstractive"]`: `chunks`, `rounds`, and how many sentences were `checked`, `replaced`,
    `dropped` and `over_budget`; `stood_in` counts the chunks that are extractive, by reason, and `errors` has the first
    different messages of the summarizer's errors, if there were any.

    Attributes:
        summarizer: Writes.
        max_tokens: The most tokens the rendered context may have; `None`: a third of the text is asked for.
        grounding: Checks each sentence against its sources; `None`: whatever is written stands, and cites everything.
        on_fault: What becomes of a sentence that fails: its best source sentence takes its place, or nothing.
        keywords: How many keywords of each chunk must stay: where one is lost, the source sentence that holds most of
            the lost ones is added, word for word, as long as it fits. Of a summary that is not checked, none must.
        chunking: Cuts long texts; into shorter chunks still where the summarizer's window (`max_source_tokens`) wants.
        fallback: Stands in; its selection's budget is replaced.
        template: Renders the context and counts its tokens.
    """

    summarizer: Summarizer
    max_tokens: int | None = None
    grounding: Grounding | None = field(default_factory=Grounding)
    on_fault: OnFault = "replace"
    keywords: int = 0
    chunking: Chunking = field(default_factory=Chunking)
    fallback: ExtractiveCompressor = field(default_factory=ExtractiveCompressor.default)
    template: PromptTemplate = field(default_factory=PromptTemplate)

    def __post_init__(self) -> None:
        if not isinstance(self.summarizer, Summarizer):
            raise InvalidInput(
                "summarizer must have summarize(queries, texts, max_tokens); a LangChain chat model needs "
                f"ChatSummarizer around it: {self.summarizer!r:.80}"
            )
        if self.max_tokens is not None:
            check_count("max_tokens", self.max_tokens)
        check_count("keywords", self.keywords)
        check_choice("on_fault", self.on_fault, OnFault)

    def __call__(self, batch: Sequence[Context]) -> list[Context]:
        """Returns each context with the summary of its segments.

        Raises:
            InvalidInput: A segment is not verbatim: a summary cannot be summarised again, its sources can.
            ModelError: The summarizer did not return one summary for each text.
        """
        batch = as_contexts(batch)
        parts = [self._parts(context) for context in batch]
        written = self._write([part for own in parts for part in own])
        drafts = [Draft(own, [next(written) for _ in own]) for own in parts]
        drafts = self._again(drafts)
        return [self._finished(context, draft) for context, draft in zip(batch, drafts, strict=True)]

    @property
    def _chunking(self) -> Chunking:
        """The chunking, its chunks short enough for the summarizer's window, if that is known."""
        window = getattr(self.summarizer, "max_source_tokens", None)
        if window is None:
            return self.chunking
        return replace(self.chunking, max_tokens=min(self.chunking.max_tokens, max(1, int(window * _WINDOW))))

    # ---- what is to be written ---------------------------------------------------------------------------------------

    def _parts(self, context: Context) -> list[Part]:
        """Returns the chunks of a context, each as a context of its own with its share of the budget."""
        groups = pieces_of(context, self.fallback.splitter)
        pieces = [Segment.of(document, start, end) for document, offsets in groups for start, end in offsets]
        if not pieces:
            return []
        count = self.template.count_text
        sizes = [max(1, count(piece.text)) for piece in pieces]
        whole = replace(context, segments=tuple(pieces), dropped=())
        chunks = self._chunking.cut(pieces, sizes)
        header = max((part.header_size for part in self.template.parts(whole)), default=0)
        room = self._room(sum(sizes), header)
        shares = [min(room, sum(sizes))] if len(chunks) == 1 else self._shares(whole, chunks, sizes, room)
        return [
            Part.of(replace(whole, segments=tuple(pieces[chunk.start : chunk.stop])), share, header)
            for chunk, share in zip(chunks, shares, strict=True)
        ]

    def _room(self, size: int, header: int) -> int:
        """Returns how many tokens the summary itself may have: the budget without the header of a source."""
        if self.max_tokens is None:
            return min(size, max(_LEAST_ASKED, -(-size // _SHARE)))
        return max(0, self.max_tokens - header)

    def _shares(self, whole: Context, chunks: Sequence[range], sizes: Sequence[int], room: int) -> list[int]:
        scored = replace(self.fallback, splitter=_whole).score([whole])[0].segments
        relevance = [max(max(scored[i].score or 0.0, 0.0) for i in chunk) for chunk in chunks]
        densities = [density([whole.segments[i].text for i in chunk]) for chunk in chunks]
        return self._chunking.allot(room, [sum(sizes[i] for i in chunk) for chunk in chunks], densities, relevance)

    # ---- writing and checking ----------------------------------------------------------------------------------------

    def _write(self, parts: Sequence[Part]) -> Iterator[Written]:
        """Yields what becomes of each part."""
        asked = [part for part in parts if part.budget >= _LEAST_TOKENS]
        summaries = iter(self._summaries(asked))
        for part in parts:
            if part.budget >= _LEAST_TOKENS:
                yield self._checked(part, next(summaries))
            elif part.budget > 0:
                yield self._stand_in(part, "no room for a sentence")
            else:
                yield Written((), part.context.segments, Counter(chunks_left_out=1))

    def _summaries(self, parts: Sequence[Part]) -> Sequence[Summary]:
        """Returns the summaries; when the summarizer raises an error, each part is tried alone: one costs one."""
        if not parts:
            return []
        queries = [part.context.query for part in parts]
        try:
            found = list(self.summarizer.summarize(queries, [p.text for p in parts], [p.budget for p in parts]))
        except (MissingExtra, InvalidInput):
            raise
        except Exception as error:  # noqa: BLE001 - never worse: whatever a summarizer raises, the extract stands in
            return [error] if len(parts) == 1 else [self._summaries([part])[0] for part in parts]
        if len(found) != len(parts):
            raise ModelError(f"{self.summarizer!r:.200} returned {len(found)} summaries for {len(parts)} texts")
        return found

    def _checked(self, part: Part, summary: Summary) -> Written:
        """Returns the sentences of a summary that stand, or the extract in its place."""
        if not isinstance(summary, str):
            return self._stand_in(part, type(summary).__name__)._replace(error=str(summary)[:_SHOWN])
        if len(summary) > len(part.text):
            return self._stand_in(part, "longer than its input")
        if not summary.strip():
            return Written((), part.context.segments, Counter(empty=1))
        if self.grounding is None:
            segments = [Segment(summary[a:b], part.spans, verbatim=False) for a, b in self.fallback.splitter(summary)]
            return Written(tuple(segments), (), Counter())
        verdicts = self.grounding.check(
            summary, [piece.text for piece in part.context.segments], self.fallback.splitter
        )
        found = [segment for verdict in verdicts if (segment := self._segment(part, verdict)) is not None]
        kept = in_order(part.context, found)
        notes = Counter(checked=len(verdicts), replaced=sum(s.verbatim for s in kept))
        notes["dropped"] = len(verdicts) - len(kept)
        if not kept:
            return self._stand_in(part, "no sentence stands", notes)
        return self._with_keywords(part, kept, notes)

    def _segment(self, part: Part, verdict: Verdict) -> Segment | None:
        """Returns a sentence of the summary with its sources, what stands in its place, or nothing."""
        pieces = part.context.segments
        if verdict.holds:
            spans = tuple(pieces[i].spans[0] for i in sorted(verdict.sources))
            return Segment(verdict.text, spans, verbatim=False)
        if self.on_fault == "replace" and verdict.sources and verdict.support >= _REPLACED_FROM:
            return pieces[verdict.sources[0]]
        return None

    def _with_keywords(self, part: Part, kept: list[Segment], notes: Counter[str]) -> Written:
        pieces = part.context.segments
        wanted = set(keywords([piece.text for piece in pieces], self.keywords)) if self.keywords else set()
        count = self.template.count_text
        room = part.budget - count(" ".join(segment.text for segment in kept))
        while lost := wanted - {word for segment in kept for word in words(segment.text)}:
            fitting = [p for p in pieces if count(p.text) < room and lost & set(words(p.text))]
            if not fitting:
                break
            best = max(fitting, key=lambda piece: (len(lost & set(words(piece.text))), -len(piece.text)))
            kept = in_order(part.context, [*kept, best])
            room -= count(best.text) + 1
            notes["added"] += 1
        notes["keywords_lost"] += len(lost)
        return Written(tuple(kept), uncited(pieces, kept), notes)

    def _stand_in(self, part: Part, reason: str, notes: Counter[str] | None = None) -> Written:
        """Returns the extract of a part; for a blank query, its beginning."""
        selection = replace(self.fallback.selection, template=self.template)
        if self.max_tokens is not None:
            selection = replace(selection, max_tokens=part.budget + part.header)
        if not part.context.query.strip():
            selection = replace(selection, threshold=None)
        extract = replace(self.fallback, selection=selection, splitter=_whole)([part.context])[0]
        return Written(extract.segments, extract.dropped, notes or Counter(), reason)

    # ---- putting together --------------------------------------------------------------------------------------------

    def _again(self, drafts: list[Draft]) -> list[Draft]:
        """Returns the drafts, those of several chunks written again as a whole while they are too long."""
        drafts, tried = list(drafts), [i for i, draft in enumerate(drafts) if len(draft.parts) > 1]
        for rounds in range(2, _ROUNDS + 1):
            long = [i for i in tried if self._is_long(drafts[i])]
            tried = []
            for i, written in zip(long, self._write([drafts[i].as_one() for i in long]), strict=True):
                before = drafts[i]
                if left_out := before.counts.get("chunks_left_out"):
                    written.counts["chunks_left_out"] = left_out
                draft = Draft(before.parts, [written], rounds)
                if not written.stood_in and 0 < len(draft.text) < len(before.text):
                    drafts[i] = draft
                    tried.append(i)
                else:
                    drafts[i] = before._replace(error=written.error)
        return drafts

    def _is_long(self, draft: Draft) -> bool:
        if self.max_tokens is None or not draft.segments or any(w.stood_in for w in draft.written):
            return False
        count = self.template.count_text
        rendered = self.template.render_context(replace(draft.whole, segments=draft.segments))
        return count(rendered) > self.max_tokens and count(draft.text) <= self._chunking.max_tokens

    def _finished(self, context: Context, draft: Draft) -> Context:
        """Returns the context with the draft, fitted to the budget; if that is longer than before, the extract."""
        if not draft.parts:
            nothing = {"chunks": 0, "rounds": 0, **draft.counts, "over_budget": 0, "stood_in": {}}
            return replace(context, segments=(), notes={**context.notes, "abstractive": nothing})
        kept = in_order(context, draft.segments)
        dropped = [piece for written in draft.written for piece in written.dropped]
        said_twice = {span for segment in draft.segments if segment not in kept for span in segment.spans}
        dropped += [piece for piece in uncited(draft.whole.segments, kept) if piece.spans[0] in said_twice]
        drafted = replace(context, segments=tuple(kept), dropped=(*context.dropped, *dropped))
        fitted = self._fitted(drafted, draft)
        stood_in = Counter(written.stood_in for written in draft.written if written.stood_in)
        notes: dict[str, object] = {"chunks": len(draft.parts), "rounds": draft.rounds, **draft.counts}
        notes["over_budget"] = len(kept) - len(fitted.segments)
        if reason := self._why_not(fitted, drafted, context):
            extract = self._stand_in(Part.of(draft.whole, self._limit(context), 0), reason)
            fitted = replace(context, segments=extract.segments, dropped=(*context.dropped, *extract.dropped))
            stood_in = Counter({reason: len(draft.parts)})
        notes["stood_in"] = dict(stood_in)
        errors = [written.error for written in draft.written] + [draft.error]
        if errors := [error for error in dict.fromkeys(errors) if error]:
            notes["errors"] = errors[:_ERRORS]
        return replace(fitted, notes={**context.notes, "abstractive": notes})

    def _fitted(self, drafted: Context, draft: Draft) -> Context:
        """Returns what fits the budget: first the sentences within their chunks' shares, then the others, in order."""
        beyond = set(self._beyond(draft))
        ranked = {replace(segment, score=float(segment not in beyond)): segment for segment in drafted.segments}
        selection = Selection(max_tokens=self.max_tokens, template=self.template)
        [fitted] = selection([replace(drafted, segments=tuple(ranked))])
        own = {**ranked, **{segment: segment for segment in drafted.dropped}}
        kept, dropped = (tuple(own[segment] for segment in side) for side in (fitted.segments, fitted.dropped))
        return replace(fitted, segments=kept, dropped=dropped)

    def _beyond(self, draft: Draft) -> Iterator[Segment]:
        """Yields the sentences that are more than their chunk's share."""
        if len(draft.written) != len(draft.parts):  # written again as a whole
            return
        count = self.template.count_text
        for part, written in zip(draft.parts, draft.written, strict=True):
            room = part.budget
            for segment in written.segments:
                room -= count(segment.text)
                if room < 0:
                    yield segment

    def _why_not(self, fitted: Context, drafted: Context, before: Context) -> str:
        """Returns why a summary cannot stand, empty if it can."""
        if drafted.segments and not fitted.segments:
            return "no sentence fits"
        return "" if self._is_shorter(fitted, before) else "longer than its input"

    def _limit(self, context: Context) -> int:
        size = self.template.count_text(self.template.render_context(context))
        return size if self.max_tokens is None else min(size, self.max_tokens)

    def _is_shorter(self, after: Context, before: Context) -> bool:
        new, old = self.template.render_context(after), self.template.render_context(before)
        count = self.template.count_text
        return len(new) <= len(old) and count(new) <= count(old)


def _whole(text: str) -> list[tuple[int, int]]:
    """A splitter for what is cut already."""
    return [(0, len(text))] if text else []
