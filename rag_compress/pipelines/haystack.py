"""The adapter for Haystack (extra `haystack`)."""

from __future__ import annotations

import asyncio
from copy import deepcopy
from dataclasses import replace
from typing import Any

from rag_compress.errors import importing
from rag_compress.pipelines.framework import (
    KEY,
    NO_FRAME,
    Compression,
    OnError,
    Per,
    Piece,
    check_sources,
    name_of,
    numbered,
    title_in,
)
from rag_compress.stages import Stage

with importing("haystack-ai", "haystack", "The Haystack adapter"):
    from haystack import Document, component, default_to_dict


@component
class ContextCompressor:
    """Compresses retrieved documents: put it between the retriever, or the ranker, and the prompt builder.

    Ids, scores and metadata stay; what was kept stands under `meta["rag_compress"]`. Documents without text pass
    through. A saved pipeline is loaded with `allowed_modules=["rag_compress.*"]`.

    Args are those of `framework.Compression`, and `title_key`, the metadata key of a document's title.
    """

    def __init__(
        self,
        stage: Stage | str = "default",
        threshold: float | None = None,
        max_tokens: int | None = None,
        keep_best: int = 0,
        tokenizer: Any = None,
        per: Per = "source",
        on_error: OnError = "raise",
        title_key: str | None = "title",
    ) -> None:
        self.compression = Compression(stage, threshold, max_tokens, keep_best, tokenizer, per, on_error)
        self.title_key = title_key

    def to_dict(self) -> dict[str, Any]:
        """Returns the configuration; a stage or tokenizer that is not given by name cannot be loaded again."""
        own = self.compression
        options = {name: getattr(own, name) for name in ("threshold", "max_tokens", "keep_best", "per", "on_error")}
        named = {name: name_of(getattr(own, name)) for name in ("stage", "tokenizer")}
        return default_to_dict(self, **named, **options, title_key=self.title_key)

    @component.output_types(documents=list[Document])
    def run(self, query: str, documents: list[Document]) -> dict[str, list[Document]]:
        """Returns what helps to answer the query, in the order of the documents."""
        check_sources(documents, Document)
        places = [i for i, document in enumerate(documents) if (document.content or "").strip()]
        sources = [(documents[i].content or "", title_in(documents[i].meta, self.title_key), NO_FRAME) for i in places]
        [outcome] = self.compression.run([numbered(query, sources)])
        if outcome.pieces is None:
            return {"documents": documents}
        kept = {i: [] if i in places else [document] for i, document in enumerate(documents)}
        for piece in outcome.pieces:
            kept[places[piece.source]].append(self._kept(documents[places[piece.source]], piece))
        return {"documents": [document for group in kept.values() for document in group]}

    @component.output_types(documents=list[Document])
    async def run_async(self, query: str, documents: list[Document]) -> dict[str, list[Document]]:
        """Returns what `run` does, computed in another thread."""
        return await asyncio.to_thread(self.run, query, documents)

    def _kept(self, source: Document, piece: Piece) -> Document:
        meta = {**deepcopy(source.meta), KEY: piece.record}
        return replace(source, id=piece.name(source.id, self.compression.per), content=piece.text, meta=meta)
