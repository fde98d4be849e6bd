"""Query-agnostic compression: summarises the documents of a store once, independently of any question.

Source: the task of CoLoR (Seo et al., "Efficient Long Context Language Model Retrieval with Compression", 2025):
shorter passages that are still found and still hold what they are found for. CoLoR trains a model for it; here any
summarizer is held to the source by the grounding check, and the document's keywords stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from rag_compress.prompts import PromptTemplate
from rag_compress.stages import Stage
from rag_compress.types import Context, Document, as_contexts, as_documents

_BARE = PromptTemplate(source="{text}")


def summarize_documents(documents: Iterable[Document | str], compressor: Stage) -> list[Document]:
    """Returns the documents with their summaries as text, in order; one that is left empty keeps its text.

    The id and title stay, so that a summary stands for its document. Its metadata gain `summary_of`: the `spans` of
    the original text that each sentence rests on, and the compressor's `notes`; its embedding, the text's, goes.

    Args:
        documents: What to summarise.
        compressor: Such as `AbstractiveCompressor(summarizer, keywords=8)`; it gets each document with an empty query.
    """
    originals = as_documents(documents)
    contexts = compressor([Context.whole("", [document]) for document in originals])
    return [_shortened(document, context) for document, context in zip(originals, contexts, strict=True)]


@dataclass(frozen=True)
class EachDocument(Stage):
    """Compresses each document alone and without the question: what it becomes serves every question.

    A budget of the compressor holds for each document. Its notes, one for each document, are in `notes["each"]`.

    Attributes:
        compressor: Gets each document with an empty query.
    """

    compressor: Stage

    def __call__(self, batch: Sequence[Context]) -> list[Context]:
        """Returns each context with what the compressor made of its documents, in order."""
        batch = as_contexts(batch)
        alone = [_alone(context, document) for context in batch for document in context.documents]
        done = iter(self.compressor(alone))
        return [_together(context, [next(done) for _ in context.documents]) for context in batch]


def _alone(context: Context, document: Document) -> Context:
    segments = tuple(each for each in context.segments if each.spans[0].doc_id == document.id)
    return Context("", (document,), segments)


def _together(context: Context, done: Sequence[Context]) -> Context:
    segments = tuple(segment for each in done for segment in each.segments)
    dropped = (*context.dropped, *(segment for each in done for segment in each.dropped))
    notes = {**context.notes, "each": [each.notes for each in done]}
    return replace(context, segments=segments, dropped=dropped, notes=notes)


def _shortened(document: Document, context: Context) -> Document:
    text = _BARE.render_context(context)
    if not text.strip():
        return document
    sources: Sequence[list[list[int]]] = [[[s.start, s.end] for s in segment.spans] for segment in context.segments]
    metadata = {**document.metadata, "summary_of": {"spans": sources, "notes": dict(context.notes)}}
    return replace(document, text=text, metadata=metadata, embedding=None)
