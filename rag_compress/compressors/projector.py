"""xRAG: a document as one soft token of the LLM that reads it, or as text where one token would not do.

Sources: Cheng et al., "xRAG: Extreme Context Compression for Retrieval-augmented Generation with One Token"
(arXiv 2405.13792, 2024); the mixed budget: Lin et al., "REFRAG" (arXiv 2509.01092, 2025).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rag_compress.budget import Part, fit
from rag_compress.checks import check_count
from rag_compress.errors import InvalidInput, ModelError
from rag_compress.models.encoding import embedded
from rag_compress.models.protocols import Encoder, Projector
from rag_compress.prompts import BACKGROUND, PromptTemplate, join_segments, rank_key
from rag_compress.retrievers.index_folder import indexed_text
from rag_compress.stages import Stage
from rag_compress.text import cut
from rag_compress.types import Context, Document, Segment, Span, as_contexts

XRAG = PromptTemplate(template=BACKGROUND, source="{text}", separator=" ")
"""Background, then the question: what `rag-compress train projector` trains with."""

Gate = Callable[[str, str], bool]
"""Says, of a question and a document's text, whether the document has to be text: its embedding would not do."""


@dataclass(frozen=True)
class ProjectorCompressor(Stage):
    """Puts soft tokens in the place of documents; only the LLM that the projector was trained for can read them.

    A document's own `embedding`, as a dense index returns it, is used if the document is whole and no longer than
    `piece_tokens`. A longer one is encoded in pieces of whole sentences, each with its own soft tokens. One of which an
    earlier stage has dropped sentences is encoded anew from those that are kept; what a summarizer wrote is encoded as
    it is. A text that has no more tokens than its soft tokens stays text.

    With `max_tokens`, as many documents as fit become soft tokens, best first, and then as many of these as fit become
    text again: first those that the gate asks for, then the best. Without it, those that the gate asks for are text.

    `notes["projector"]` counts the documents that are `soft`, `text` and `dropped`, and those `gated`.

    Attributes:
        projector: Makes the soft tokens.
        encoder: Encodes what has no embedding that fits; `None`: that is an error. It has to be the projector's own.
        max_tokens: The most tokens that the rendered context may have; a soft token counts as one.
        gate: Keeps documents as text; see `exactness.Exactness`.
        piece_tokens: The longest piece of a document that soft tokens stand for.
        template: Renders the context and counts its tokens.
    """

    projector: Projector
    encoder: Encoder | None = None
    max_tokens: int | None = None
    gate: Gate | None = None
    piece_tokens: int = 180
    template: PromptTemplate = field(default=XRAG)

    def __post_init__(self) -> None:
        check_count("piece_tokens", self.piece_tokens, least=1)
        if self.max_tokens is not None:
            check_count("max_tokens", self.max_tokens)

    def __call__(self, batch: Sequence[Context]) -> list[Context]:
        """Returns each context with soft tokens for its documents, within the budget.

        Raises:
            InvalidInput: A document has no embedding that fits, and there is no encoder; or a segment is soft already.
            ModelError: The encoder or the projector returned something else than finite rows of the right shape.
        """
        batch = as_contexts(batch)
        sources = [list(self._sources(context)) for context in batch]
        pieces = [piece for own in sources for source in own for piece in source.pieces]
        tokens = iter(self._projected(pieces))
        made = [[self._soft(source, tokens) for source in own] for own in sources]
        return [self._composed(*each) for each in zip(batch, sources, made, strict=True)]

    # ---- what soft tokens are made of --------------------------------------------------------------------------------

    def _sources(self, context: Context) -> Iterator[_Source]:
        """Yields what is kept of each document, in prompt order, without what is blank."""
        documents = context.by_id()
        count = self.template.count_text
        for ids, segments in _by_document(context.segments).items():
            document = documents.get(ids[0]) if len(ids) == 1 else None
            text = join_segments(document, segments)
            if text.strip():
                gated = self.gate is not None and self.gate(context.query, text)
                pieces = tuple(self._pieces(document, segments, text))
                yield _Source(tuple(segments), count(text), pieces, gated)

    def _pieces(self, document: Document | None, segments: Sequence[Segment], text: str) -> Iterator[_Piece]:
        """Yields a document whole with its embedding, or what is kept of it in pieces without one."""
        count = self.template.count_text
        spans = tuple(span for segment in segments for span in segment.spans)
        title = document.title if document else ""
        if count(text) <= self.piece_tokens:
            is_whole = document is not None and text == document.text
            yield _Piece(text, spans, title, document.embedding if document and is_whole else None)
        elif document is not None and all(segment.verbatim for segment in segments):
            yield from self._runs(document, spans, count)
        else:
            runs = _packed(text, cut(text), count, self.piece_tokens)
            yield from (_Piece(text[start:end], spans, title, None) for start, end in runs)

    def _runs(self, document: Document, spans: Sequence[Span], count: Callable[[str], int]) -> Iterator[_Piece]:
        """Yields runs of neighbouring sentences with the places that they have in the document."""
        offsets = [(s.start + a, s.start + b) for s in spans for a, b in cut(document.text[s.start : s.end])]
        for start, end in _packed(document.text, offsets, count, self.piece_tokens):
            yield _Piece(document.text[start:end], (Span(document.id, start, end),), document.title, None)

    def _projected(self, pieces: Sequence[_Piece]) -> NDArray[np.float32]:
        """Returns float32 `(pieces, tokens, hidden)`."""
        if not pieces:
            return np.zeros((0, 0, 0), dtype=np.float32)
        missing = next((piece for piece in pieces if piece.embedding is None), None)
        if missing and self.encoder is None:
            raise InvalidInput(
                f"Without an encoder, a document needs an embedding of its own, and must be whole and have at most "
                f"{self.piece_tokens} tokens: {missing.text!r:.80}"
            )
        rows = embedded(self.encoder, [piece.embedding for piece in pieces], lambda i: pieces[i].read)
        tokens = np.asarray(self.projector.project(rows), dtype=np.float32)
        if tokens.ndim != 3 or len(tokens) != len(rows) or not np.isfinite(tokens).all():
            raise ModelError(f"{self.projector!r:.200} did not return finite soft tokens (n, tokens, hidden)")
        return tokens

    def _soft(self, source: _Source, tokens: Iterator[NDArray[np.float32]]) -> tuple[Segment, ...]:
        score = max((s.score for s in source.segments if s.score is not None), default=None)
        return tuple(Segment("", p.spans, score, verbatim=False, embedding=next(tokens)) for p in source.pieces)

    # ---- what fits ---------------------------------------------------------------------------------------------------

    def _composed(self, context: Context, sources: Sequence[_Source], soft: Sequence[tuple[Segment, ...]]) -> Context:
        """Returns the context with each source as soft tokens, as text, or dropped."""
        mix = _Mix(context, sources, soft, self.template)
        order = sorted(range(len(sources)), key=lambda i: rank_key(soft[i][0], i))
        short = {i for i in order if mix.gain(i) <= 0}
        gated = [i for i in order if sources[i].gated]
        if self.max_tokens is None:
            kept, text = set(order), short.union(gated)
        else:
            kept = mix.fitting(order, short, self.max_tokens)
            text = mix.enlarged(dict.fromkeys([*gated, *order]), kept, short & kept, self.max_tokens)
        counts = {"soft": len(kept - text), "text": len(kept & text), "dropped": len(sources) - len(kept)}
        notes = {**context.notes, "projector": {**counts, "gated": len(gated)}}
        return replace(mix.context(kept, text), notes=notes)


class _Piece(NamedTuple):
    """A text that soft tokens stand for, where it comes from, and its embedding if it has one."""

    text: str
    spans: tuple[Span, ...]
    title: str
    embedding: NDArray[np.float32] | None

    @property
    def read(self) -> str:
        """What an encoder reads of it: the same as an index does."""
        return indexed_text(Document("", self.text, self.title))


class _Source(NamedTuple):
    """What is kept of one document: as text with its tokens, and in pieces for the encoder."""

    segments: tuple[Segment, ...]
    size: int
    pieces: tuple[_Piece, ...]
    gated: bool


@dataclass(frozen=True)
class _Mix:
    """The sources of a context, each of which may be soft tokens or text."""

    whole: Context
    sources: Sequence[_Source]
    soft: Sequence[tuple[Segment, ...]]
    template: PromptTemplate

    def context(self, kept: set[int], text: set[int]) -> Context:
        """Returns the context of the sources that are kept, some of them as text."""
        own = [source.segments if i in text else self.soft[i] for i, source in enumerate(self.sources)]
        segments = [segment for i, group in enumerate(own) if i in kept for segment in group]
        dropped = [s for i, source in enumerate(self.sources) if i not in kept for s in source.segments]
        return replace(self.whole, segments=tuple(segments), dropped=(*self.whole.dropped, *dropped))

    def gain(self, i: int) -> int:
        """Returns about how many tokens fewer a source has as soft tokens than as text."""
        return self.sources[i].size - self._tokens(i)

    def fitting(self, order: Iterable[int], text: set[int], limit: int) -> set[int]:
        """Returns the sources that fit, taken in this order, those in `text` as text and the others as soft tokens."""
        parts = [Part(source.size if i in text else self._tokens(i)) for i, source in enumerate(self.sources)]
        return set(fit([[i] for i in order], parts, lambda kept: self._size(set(kept), text), limit))

    def enlarged(self, order: Iterable[int], kept: set[int], text: set[int], limit: int) -> set[int]:
        """Returns the sources that are text when those of the kept ones that fit are, taken in this order."""
        groups = [[i] for i in order if i in kept - text]
        parts = [Part(self.gain(i)) for i in range(len(self.sources))]
        return text.union(fit(groups, parts, lambda grown: self._size(kept, text.union(grown)), limit))

    def _tokens(self, i: int) -> int:
        return sum(len(segment.embedding) for segment in self.soft[i] if segment.embedding is not None)

    def _size(self, kept: set[int], text: set[int]) -> int:
        return self.template.count(self.context(kept, text))


def _by_document(segments: Iterable[Segment]) -> dict[tuple[str, ...], list[Segment]]:
    """Returns the segments that come from the same document, or documents, in prompt order."""
    groups: dict[tuple[str, ...], list[Segment]] = {}
    for segment in segments:
        if segment.embedding is not None:
            raise InvalidInput("A segment is soft tokens already: give the projector text")
        groups.setdefault(tuple(dict.fromkeys(span.doc_id for span in segment.spans)), []).append(segment)
    return groups


def _packed(
    text: str, offsets: Sequence[tuple[int, int]], count: Callable[[str], int], most: int
) -> Iterator[tuple[int, int]]:
    """Yields the offsets of runs of neighbours with at most so many tokens; a longer piece is cut into halves."""
    run: tuple[int, int] | None = None
    for start, end in (part for offset in offsets for part in _halves(text, offset, count, most)):
        if run and not text[run[1] : start].strip() and count(text[run[0] : end]) <= most:
            run = (run[0], end)
            continue
        if run:
            yield run
        run = (start, end)
    if run:
        yield run


def _halves(text: str, offset: tuple[int, int], count: Callable[[str], int], most: int) -> Iterator[tuple[int, int]]:
    """Yields a piece, or its halves if it is too long, and theirs."""
    waiting = [offset]
    while waiting:
        start, end = waiting.pop()
        if end - start > 1 and count(text[start:end]) > most:
            middle = (start + end) // 2
            waiting += [(middle, end), (start, middle)]
        else:
            yield start, end
