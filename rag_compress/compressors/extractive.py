"""The extractive machine: cut documents into sentences, score them, choose the best. Every kept piece is verbatim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag_compress.errors import InvalidInput
from rag_compress.models.protocols import Encoder, Passage, SentenceScorer, check_scorer, scores_of
from rag_compress.scorers.named import DEFAULT, Model, named_scorer
from rag_compress.selection import Selection
from rag_compress.stages import Stage
from rag_compress.text import Offsets, Splitter, cut, fine_cut
from rag_compress.types import Context, Document, Segment, as_contexts


@dataclass(frozen=True)
class ExtractiveCompressor(Stage):
    """Keeps the sentences that help to answer the query, word for word and in their order.

    Attributes:
        scorer: Says how much each sentence helps.
        selection: Chooses by score and budget. Another stage may choose behind it (`>>`), or from what `score` returns.
        splitter: Cuts a text into pieces `[(start, end), ...]`.
    """

    scorer: SentenceScorer
    selection: Selection = field(default_factory=Selection)
    splitter: Splitter = cut

    def __post_init__(self) -> None:
        given: object = self.selection
        if not isinstance(given, Selection):
            kind = type(given).__name__
            raise InvalidInput(f"selection must be a Selection, not a {kind}: put another stage behind it with >>")
        check_scorer("scorer", self.scorer)

    @classmethod
    def default(cls, **options: Any) -> ExtractiveCompressor:
        """Returns the compressor to start with; `options` are the fields of `Selection`, and `language`.

        It scores with the library's own classifier where onnxruntime and tokenizers are installed (extra `cpu`), and
        otherwise by BM25 over sentences, which needs no model.

        The threshold, unless given, is for the classifier a probability of 0.02, which on the dev splits of squad and
        hotpotqa keeps 20% and 25% of the words with 99% and 92% of the evidence; for BM25 it is 0.05, a twentieth of
        the best score that the query allows, which there keeps 35% and 43% of the words with 96% and 87%.
        """
        return cls.named(DEFAULT, **options)

    @classmethod
    def named(
        cls, scorer: str, model: Model | None = None, language: str | None = None, **options: Any
    ) -> ExtractiveCompressor:
        """Returns the compressor with a scorer by its name, as the command line, jobs and adapters ask for it.

        Args:
            scorer: A name of `scorers.named.SCORERS`, or `default`.
            model: The folder of a classifier; the name or folder of a bi-encoder, or an `Encoder`; `None`: the
                classifier in the wheel, all-MiniLM-L6-v2.
            language: Of the texts, as for `text.cut`.
            options: The fields of `Selection`.

        Raises:
            InvalidInput: There is no such scorer or model, or it is no language.
        """
        row = named_scorer(scorer)
        splitter = cut if language is None else partial(cut, language=language)
        splitter("")  # what is no language is said before anything is read
        return cls(row.make(model), Selection(**{"threshold": row.threshold, **options}), splitter)

    @classmethod
    def classifier(cls, **options: Any) -> ExtractiveCompressor:
        """Returns the compressor with the library's own classifier; `options` are the fields of `Selection`."""
        return cls.named("classifier", **options)

    @classmethod
    def lexical(cls, **options: Any) -> ExtractiveCompressor:
        """Returns the compressor with BM25 over sentences; `options` are the fields of `Selection`."""
        return cls.named("lexical", **options)

    @classmethod
    def biencoder(cls, encoder: Encoder, **options: Any) -> ExtractiveCompressor:
        """Returns the compressor with a bi-encoder; `options` are the fields of `Selection`."""
        return cls.named("biencoder", encoder, **options)

    @classmethod
    def ensemble(cls, encoder: Encoder, **options: Any) -> ExtractiveCompressor:
        """Returns the compressor with the library's own classifier and a bi-encoder together.

        `options` are the fields of `Selection`. How much the bi-encoder counts is for unit vectors of all-MiniLM-L6-v2;
        for others, give `EnsembleScorer` a weight and a center of their own.
        """
        return cls.named("ensemble", encoder, **options)

    def __call__(self, batch: Sequence[Context]) -> list[Context]:
        """Returns each context with its best sentences kept.

        Where what helps is too long for the budget, as a log without sentences may be, its parts are tried, so that a
        context is not empty for want of a period.

        Raises:
            InvalidInput: A segment is not verbatim: extract before a summarizer, not after it.
            ModelError: The scorer returned the wrong number of scores, or one that is not a number.
        """
        scored = self.score(batch)
        kept = list(self.selection(scored))
        tight = {i: self._too_long(scored[i]) for i, context in enumerate(kept) if context.is_empty}
        tight = {i: context for i, context in tight.items() if not context.is_empty}
        in_parts = replace(self, splitter=fine_cut).score(list(tight.values())) if tight else []
        for i, context in zip(tight, self.selection(in_parts), strict=True):
            kept[i] = kept[i] if context.is_empty else context
        return kept

    def _too_long(self, scored: Context) -> Context:
        """Returns the context with what would be kept without a budget, if a part of it fits; else with nothing."""
        [helpful] = self.selection.without_budget([scored])
        if helpful.is_empty:
            return helpful
        parts = [Segment.of(document, *place) for document, places in pieces_of(helpful, fine_cut) for place in places]
        [fitting] = self.selection([replace(helpful, segments=tuple(parts))])
        return helpful if len(parts) > len(helpful.segments) and not fitting.is_empty else replace(helpful, segments=())

    def score(self, batch: Sequence[Context]) -> list[Context]:
        """Returns each context with every sentence kept and scored: what a sweep over selections starts from."""
        batch = as_contexts(batch)
        pieces = [pieces_of(context, self.splitter) for context in batch]
        passages = [
            [Passage(document.title, document.text, offsets) for document, offsets in groups] for groups in pieces
        ]
        scores = scores_of(self.scorer, [context.query for context in batch], passages)
        return [
            replace(context, segments=_scored(groups, arrays))
            for context, groups, arrays in zip(batch, pieces, scores, strict=True)
        ]


def pieces_of(context: Context, splitter: Splitter) -> list[tuple[Document, list[Offsets]]]:
    """Returns the pieces of the kept segments by document, in prompt order.

    Raises:
        InvalidInput: A segment is not verbatim, or the splitter returned offsets outside its text.
    """
    documents = context.by_id()
    pieces: dict[str, list[Offsets]] = {}
    for segment in context.segments:
        if not segment.verbatim or segment.spans[0].doc_id not in documents:
            raise InvalidInput(f"Only verbatim segments can be cut into sentences, not {segment.text!r:.80}")
        span = segment.spans[0]
        offsets = _cut(splitter, segment.text)
        pieces.setdefault(span.doc_id, []).extend((span.start + start, span.start + end) for start, end in offsets)
    return [(documents[doc_id], offsets) for doc_id, offsets in pieces.items()]


def _cut(splitter: Splitter, text: str) -> list[Offsets]:
    """Returns what a splitter does, after checking that it is pieces of the text, in order and apart."""
    found = splitter(text)
    try:
        offsets = [(index(start), index(end)) for start, end in found]
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"A splitter returns pairs (start, end) of integers, not {found!r:.80}") from error
    ends = [0, *(end for _, end in offsets)]
    if any(not last <= start < end for last, (start, end) in zip(ends, offsets, strict=False)) or ends[-1] > len(text):
        raise InvalidInput(f"The splitter {splitter!r} returned pieces outside the text or out of order: {found!r:.80}")
    return offsets


def _scored(
    groups: Sequence[tuple[Document, list[Offsets]]], arrays: Sequence[NDArray[np.float32]]
) -> tuple[Segment, ...]:
    return tuple(
        Segment.of(document, start, end, float(score))
        for (document, offsets), scores in zip(groups, arrays, strict=True)
        for (start, end), score in zip(offsets, scores, strict=True)
    )
