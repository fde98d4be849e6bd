"""The smallest prompt that still holds the answer, from a question and what was retrieved for it.

>>> from rag_compress import ExtractiveCompressor
>>> context = ExtractiveCompressor.default(keep_best=1, threshold=1).compress(
...     "Which river is in France?",
...     ["The Loire is a river in France. It is 1,006 km long.", "The Rhine rises in Switzerland."],
... )
>>> [(segment.text, segment.spans[0].start, segment.spans[0].end) for segment in context.segments]
[('The Loire is a river in France.', 0, 31)]
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rag_compress.compressors import (
        AbstractiveCompressor,
        Chunking,
        Exactness,
        ExtractiveCompressor,
        Grounding,
        ProjectorCompressor,
        RelevanceGate,
    )
    from rag_compress.prompts import PromptTemplate
    from rag_compress.retrievers import BM25Retriever, DenseRetriever, FeedbackRetriever, HybridRetriever
    from rag_compress.scorers import BiEncoderScorer, CascadeScorer, ClassifierScorer, EnsembleScorer, LexicalScorer
    from rag_compress.selection import Selection
    from rag_compress.stages import Pipeline, Retriever, Stage
    from rag_compress.types import Context, Document, Prompt, Segment, Span

__version__ = "0.1.0"

_HOMES = {
    "compressors": (
        "AbstractiveCompressor",
        "Chunking",
        "Exactness",
        "ExtractiveCompressor",
        "Grounding",
        "ProjectorCompressor",
        "RelevanceGate",
    ),
    "prompts": ("PromptTemplate",),
    "retrievers": ("BM25Retriever", "DenseRetriever", "FeedbackRetriever", "HybridRetriever"),
    "scorers": ("BiEncoderScorer", "CascadeScorer", "ClassifierScorer", "EnsembleScorer", "LexicalScorer"),
    "selection": ("Selection",),
    "stages": ("Pipeline", "Retriever", "Stage"),
    "types": ("Context", "Document", "Prompt", "Segment", "Span"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AbstractiveCompressor",
    "BM25Retriever",
    "BiEncoderScorer",
    "CascadeScorer",
    "Chunking",
    "ClassifierScorer",
    "Context",
    "DenseRetriever",
    "Document",
    "EnsembleScorer",
    "Exactness",
    "ExtractiveCompressor",
    "FeedbackRetriever",
    "Grounding",
    "HybridRetriever",
    "LexicalScorer",
    "Pipeline",
    "ProjectorCompressor",
    "Prompt",
    "PromptTemplate",
    "RelevanceGate",
    "Retriever",
    "Segment",
    "Selection",
    "Span",
    "Stage",
]


def __getattr__(name: str) -> Any:
    """Imports a public name on its first use, so that `import rag_compress` is instant."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'rag_compress' has no attribute {name!r}")
    return getattr(import_module(f"rag_compress.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
