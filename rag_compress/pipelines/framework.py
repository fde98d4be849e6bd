"""What the adapters of other frameworks share: options become a stage, and what it keeps becomes pieces of the sources.

An adapter numbers the foreign documents of a query (ids may be missing or repeated there), compresses the contexts of
a batch at once, and gives each `Piece` back to the document at its position.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from os import PathLike, fspath
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rag_compress.checks import check_choice, check_number
from rag_compress.compressors.extractive import ExtractiveCompressor
from rag_compress.errors import InvalidInput, ModelError
from rag_compress.prompts import PromptTemplate, join_segments
from rag_compress.scorers.named import DEFAULT, SCORERS
from rag_compress.stages import Pipeline, Retriever, Stage
from rag_compress.tokens import Tokenizer, estimate_tokens
from rag_compress.types import Context, Document, Segment

KEY = "rag_compress"
"""The one key of a foreign document's metadata that adapters write, and the name of their events."""
STAGES = (DEFAULT, *SCORERS)
"""The stages that have a name: the `ExtractiveCompressor` with the scorer of that name."""

Per = Literal["source", "sentence"]
OnError = Literal["raise", "original"]
_FRAME = "frame"
Frame = tuple[str, str]
"""What a framework has the LLM read above and below the text of a source."""
NO_FRAME = ("", "")
_LOG = logging.getLogger(__name__)


class Piece(NamedTuple):
    """What is kept of one source.

    Attributes:
        source: The position of the source among the documents of its context.
        text: What the LLM reads.
        segments: What the text is made of.
    """

    source: int
    text: str
    segments: tuple[Segment, ...]

    @property
    def record(self) -> dict[str, Any]:
        """What stands under `KEY`: the best score, and `[start, end]` in the source and score for each segment."""
        spans = [[span.start, span.end] for segment in self.segments for span in segment.spans[:1]]
        scores = [segment.score for segment in self.segments]
        return {"score": max((s for s in scores if s is not None), default=None), "spans": spans, "scores": scores}

    def name(self, source_id: str, per: Per) -> str:
        """Returns the id of the piece: that of its source, and for one of many sentences also its place in it."""
        if per == "source":
            return source_id
        return ":".join([source_id, *(f"{span.start}-{span.end}" for span in self.segments[0].spans[:1])])


def pieces_of(context: Context, per: Per) -> list[Piece]:
    """Returns what is kept of each source, or each kept segment, in prompt order.

    Raises:
        InvalidInput: The context holds soft tokens, which a framework's documents cannot carry, or a segment that
            names no source.
    """
    if context.is_soft:
        raise InvalidInput("A framework's documents are text and cannot carry soft tokens: use the stage itself")
    place = {document.id: i for i, document in enumerate(context.documents)}
    groups: dict[object, list[Segment]] = {}
    for number, segment in enumerate(context.segments):
        if not segment.spans or segment.spans[0].doc_id not in place:
            raise InvalidInput(f"A segment names no source among the documents: {segment.text!r:.80}")
        source = place[segment.spans[0].doc_id]
        groups.setdefault(source if per == "source" else (source, number), []).append(segment)
    return [_piece(context, place[group[0].spans[0].doc_id], group) for group in groups.values()]


def _of_sources(pieces: Sequence[Piece], before: Context, after: Context) -> list[Piece]:
    """Returns pieces with the positions of their sources in what a stage was given: it may reorder documents."""
    place = {document.id: i for i, document in enumerate(before.documents)}
    ids = [after.documents[piece.source].id for piece in pieces]
    if unknown := [own for own in ids if own not in place]:
        raise InvalidInput(f"The stage returned a document that it was not given: {unknown[0]!r:.80}")
    return [piece._replace(source=place[own]) for piece, own in zip(pieces, ids, strict=True)]


def _piece(context: Context, source: int, segments: list[Segment]) -> Piece:
    return Piece(source, join_segments(context.documents[source], segments), tuple(segments))


@dataclass(frozen=True)
class PieceTemplate(PromptTemplate):
    """Renders the pieces as a framework does: each within its source's frame, without a number, a blank line between.

    Attributes:
        per: As for `Compression`.
    """

    source: str = "{text}"
    per: Per = "source"

    def render_context(self, context: Context) -> str:
        """Returns the pieces joined."""
        frames = [document.metadata.get(_FRAME, NO_FRAME) for document in context.documents]
        return self.separator.join(p.text.join(frames[p.source]) for p in pieces_of(context, self.per))


@dataclass(frozen=True)
class Compression:
    """The options of all adapters.

    Attributes:
        stage: A name of `STAGES`, or any stage; a stage of your own takes its threshold and budget with it.
        threshold: Keep what scores at least this; `None`: the named stage's own threshold.
        max_tokens: The most tokens that the texts of one query may have, joined by blank lines.
        keep_best: Keep the best n sentences even below the threshold.
        tokenizer: What counts them; see `tokens.Tokenizer`.
        per: One document for each source, or for each sentence.
        on_error: Whether an error of the stage is raised, or logged and the documents left as they were.
        template: What renders the documents when their tokens are counted; `None`: a `PieceTemplate`.
    """

    stage: Stage | str = "default"
    threshold: float | None = None
    max_tokens: int | None = None
    keep_best: int = 0
    tokenizer: Tokenizer = None
    per: Per = "source"
    on_error: OnError = "raise"
    template: PromptTemplate | None = None

    def __post_init__(self) -> None:
        check_choice("per", self.per, Per)
        check_choice("on_error", self.on_error, OnError)
        if self.threshold is not None:
            check_number("threshold", self.threshold)
        if isinstance(self.stage, Stage) and self._limits():
            raise InvalidInput(f"Set {', '.join(self._limits())} on the stage itself: {self.stage!r:.200}")
        if self.template is None:
            template = PieceTemplate(tokenizer=self.tokenizer or estimate_tokens, per=self.per)
            object.__setattr__(self, "template", template)
        self.build()

    @classmethod
    def of(cls, adapter: object, template: PromptTemplate | None = None) -> Compression:
        """Returns the options that an adapter has under these names."""
        options = {each.name: getattr(adapter, each.name) for each in fields(cls) if each.name != "template"}
        return cls(**options, template=template)

    def build(self) -> Stage:
        """Returns the stage; it loads nothing."""
        if isinstance(self.stage, Stage):
            return self.stage
        if self.stage not in STAGES:
            raise InvalidInput(f"stage must be a Stage or one of {', '.join(STAGES)}, not {self.stage!r:.80}")
        return ExtractiveCompressor.named(self.stage, **self._limits(), template=self.template)

    def run(self, batch: Sequence[Context]) -> list[Outcome]:
        """Returns what became of each context; all are given to the stage at once."""
        return self._attempt(self.build(), list(batch))

    def _limits(self) -> dict[str, Any]:
        limits = {"threshold": self.threshold, "max_tokens": self.max_tokens, "keep_best": self.keep_best or None}
        return {name: value for name, value in limits.items() if value is not None}

    def _attempt(self, stage: Stage, batch: list[Context]) -> list[Outcome]:
        try:
            results = [*stage(batch)]
            if len(results) != len(batch):
                raise ModelError(f"{stage!r:.200} returned {len(results)} contexts for {len(batch)}")
            return [self._outcome(before, after) for before, after in zip(batch, results, strict=True)]
        except Exception as error:
            if self.on_error == "raise":
                raise
            if len(batch) > 1:  # one bad document must not keep its batch-mates from being compressed
                return [outcome for context in batch for outcome in self._attempt(stage, [context])]
            return [self._as_it_was(context, error) for context in batch]

    def _as_it_was(self, context: Context, error: Exception) -> Outcome:
        _LOG.warning("Left the documents of a query as they were (%d): %.500r", len(context.documents), error)
        outcome = self._outcome(context, context)
        return outcome._replace(pieces=None, event=outcome.event | {"error": repr(error)})

    def _outcome(self, before: Context, after: Context) -> Outcome:
        pieces = _of_sources(pieces_of(after, self.per), before, after)
        event = {
            "query": before.query,
            "documents": len(before.documents),
            "kept": len({piece.source for piece in pieces}),
            "original_tokens": self._count(before),
            "compressed_tokens": self._count(after),
        }
        return Outcome(after, pieces, event)

    def _count(self, context: Context) -> int:
        return (self.template or PieceTemplate()).count(context)


class Outcome(NamedTuple):
    """What became of one context.

    Attributes:
        context: What the stage returned, or what it was given when it failed.
        pieces: What is kept; `None` when the stage failed and all stays as it was.
        event: `query`, the numbers of `documents` and of those `kept`, `original_tokens`, `compressed_tokens`, and
            `error` if there was one.
    """

    context: Context
    pieces: list[Piece] | None
    event: dict[str, Any]


def check_sources(sources: Any, kind: type) -> None:
    """Raises `InvalidInput` unless what is to be compressed is a list of a framework's documents."""
    is_list = hasattr(sources, "__getitem__") and not isinstance(sources, str | Mapping)  # an array, too
    if not is_list or not all(isinstance(source, kind) for source in sources):
        name = f"{kind.__module__.partition('.')[0]}'s {kind.__name__}"
        raise InvalidInput(f"What is to be compressed must be a list of {name}, not {sources!r:.80}")


def numbered(query: str, sources: Sequence[tuple[str, str, Frame]]) -> Context:
    """Returns the context of foreign documents `(text, title, frame)`; a document's id is its position."""
    documents = [Document(str(i), text, title, metadata={_FRAME: f}) for i, (text, title, f) in enumerate(sources)]
    return Context.whole(query, documents)


def name_of(value: Any) -> Any:
    """Returns what stands for a stage or a tokenizer in a saved configuration; loading refuses what has no name."""
    if isinstance(value, PathLike):
        return fspath(value)
    return value if value is None or isinstance(value, str) else repr(value)


def title_in(metadata: Any, key: str | None) -> str:
    """Returns the title that stands under a key of a foreign document's metadata, if it is a string."""
    title = metadata.get(key) if key is not None else None
    return title if isinstance(title, str) else ""


def with_k(stage: Stage, k: int | None) -> Stage:
    """Returns a retriever, or a pipeline that starts with one, that finds k documents; `None`: as many as it did.

    Raises:
        InvalidInput: There is no retriever.
    """
    if isinstance(stage, Pipeline):
        first = with_k(stage.stages[0], k)
        return stage if k is None else Pipeline((first, *stage.stages[1:]))
    if not isinstance(stage, Retriever):
        raise InvalidInput(f"stage must be a retriever, or a pipeline that starts with one, not {stage!r:.80}")
    return stage if k is None else _RetrieverWithK(stage, k)


@dataclass(frozen=True)
class _RetrieverWithK(Retriever):
    """A retriever with another k: not every retriever is a dataclass whose field could be replaced."""

    retriever: Retriever
    k: int = 10

    def rank(self, queries: Sequence[str], k: int) -> list[list[Document]]:
        """Returns what the retriever does."""
        return self.retriever.retrieve(queries, k)


def vectors(embed: Callable[[list[str]], Any], texts: Sequence[str]) -> NDArray[np.float32]:
    """Returns float32 `(len(texts), dim)` from a framework's embeddings, which may not take an empty list."""
    if not texts:
        return vectors(embed, [""])[:0]
    return np.asarray(embed(list(texts)), dtype=np.float32)
