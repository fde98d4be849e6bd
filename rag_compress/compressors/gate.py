"""Selective augmentation: leaves the context empty when nothing that was retrieved is likely to help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rag_compress.checks import check_number
from rag_compress.compressors.extractive import ExtractiveCompressor
from rag_compress.models.protocols import SentenceScorer, check_scorer
from rag_compress.scorers.classifier import ClassifierScorer
from rag_compress.stages import Stage
from rag_compress.types import Context, as_contexts


@dataclass(frozen=True)
class RelevanceGate(Stage):
    """Keeps everything when the best sentence is likely enough to help, and nothing otherwise.

    It decides as `Selection(gate=)` does, for a stage that is to see whole documents: RECOMP trains its summarizer to
    write nothing when nothing helps; put this before one that never learned to. What it saw is in `notes["gate"]`. A
    blank query asks for nothing in particular, and passes.

    Attributes:
        scorer: Says how likely each sentence of the documents helps.
        threshold: The least score of the best one. At 0.2, on 200 dev questions each of squad and hotpotqa, 98.5% and
            98% of the contexts with passages on other matters are emptied, and 4% and none of those with their own. Of
            qmsum's meetings, of 10,000 words, none are: some sentence scores 0.2 whatever they are about.
    """

    scorer: SentenceScorer = field(default_factory=ClassifierScorer)
    threshold: float = 0.2

    def __post_init__(self) -> None:
        check_scorer("scorer", self.scorer)
        check_number("threshold", self.threshold)

    def __call__(self, batch: Sequence[Context]) -> list[Context]:
        """Returns each context as it is, or with everything dropped.

        Raises:
            ModelError: The scorer returned the wrong number of scores, or one that is not a number.
        """
        batch = as_contexts(batch)
        asked = [bool(context.segments and context.query.strip()) for context in batch]
        whole = [_whole(context) for context, is_asked in zip(batch, asked, strict=True) if is_asked]
        scored = iter(ExtractiveCompressor(self.scorer).score(whole))
        return [
            self._decided(context, next(scored)) if is_asked else context
            for context, is_asked in zip(batch, asked, strict=True)
        ]

    def _decided(self, context: Context, scored: Context) -> Context:
        relevance = max((segment.score or 0.0 for segment in scored.segments), default=0.0)
        passed = relevance >= self.threshold
        notes = {**context.notes, "gate": {"relevance": round(relevance, 4), "passed": passed}}
        if passed:
            return replace(context, notes=notes)
        return replace(context, segments=(), dropped=context.dropped + context.segments, notes=notes)


def _whole(context: Context) -> Context:
    """Returns the documents that still have a segment in the context, whole."""
    kept = {span.doc_id for segment in context.segments for span in segment.spans}
    return Context.whole(context.query, [document for document in context.documents if document.id in kept])
