"""Selective augmentation: leaves the context empty when nothing that was retrieved is likely to help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rag_compress.checks import check_number
from rag_compress.models.protocols import Passage, PassageScorer
from rag_compress.scorers.classifier import ClassifierScorer
from rag_compress.stages import Stage
from rag_compress.text import cut
from rag_compress.types import Context


@dataclass(frozen=True)
class RelevanceGate(Stage):
    """Keeps everything when the best document is likely enough to help, and nothing otherwise.

    RECOMP trains its summarizer to write nothing when nothing helps; put this stage before one that never learned to.
    What it saw is in `notes["gate"]`. A blank query asks for nothing in particular, and passes.

    Attributes:
        scorer: Says how likely each document helps.
        threshold: The least probability of the best one.
    """

    scorer: PassageScorer = field(default_factory=ClassifierScorer)
    threshold: float = 0.1

    def __post_init__(self) -> None:
        check_number("threshold", self.threshold, 0, 1)

    def __call__(self, batch: Sequence[Context]) -> list[Context]:
        """Returns each context as it is, or with everything dropped."""
        asked = [context for context in batch if context.segments and context.query.strip()]
        passages = [_passages(context) for context in asked]
        found = iter(self.scorer.relevance([context.query for context in asked], passages))
        return [
            self._decided(context, max(map(float, next(found)), default=0.0))
            if context.segments and context.query.strip()
            else context
            for context in batch
        ]

    def _decided(self, context: Context, relevance: float) -> Context:
        passed = relevance >= self.threshold
        notes = {**context.notes, "gate": {"relevance": round(relevance, 4), "passed": passed}}
        if passed:
            return replace(context, notes=notes)
        return replace(context, segments=(), dropped=context.dropped + context.segments, notes=notes)


def _passages(context: Context) -> list[Passage]:
    """Returns the documents that still have a segment in the context."""
    kept = {span.doc_id for segment in context.segments for span in segment.spans}
    return [Passage(d.title, d.text, cut(d.text)) for d in context.documents if d.id in kept]
