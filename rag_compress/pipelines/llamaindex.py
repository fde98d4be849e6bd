"""Adapters for LlamaIndex (extra `llama-index`).

Whatever goes in comes out with its id, relationships, metadata, score and place; what was kept of it stands under
`metadata["rag_compress"]`: `score`, `spans` (`[start, end]` in the node's original text) and `scores`. That key is
hidden from the LLM and from embeddings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag_compress.checks import check_choice
from rag_compress.errors import importing
from rag_compress.pipelines.framework import (
    KEY,
    Compression,
    Frame,
    OnError,
    Outcome,
    Per,
    Piece,
    check_sources,
    name_of,
    numbered,
    pieces_of,
    title_in,
    vectors,
    with_k,
)
from rag_compress.stages import Retriever, Stage
from rag_compress.types import Document

with importing("llama-index-core", "llama-index", "The LlamaIndex adapter"):
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import ConfigDict, field_serializer, model_validator
    from llama_index.core.callbacks import CallbackManager
    from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined] # imported there, not re-exported
    from llama_index.core.instrumentation.events import BaseEvent
    from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.schema import (
        BaseNode,
        ImageNode,
        MetadataMode,
        Node,
        NodeRelationship,
        NodeWithScore,
        QueryBundle,
        TextNode,
    )

_dispatcher = get_dispatcher(__name__)


class CompressionEvent(BaseEvent):
    """What a compression did: numbers of documents and tokens, before and after.

    Attributes:
        query: The query.
        documents: How many text nodes there were.
        kept: Of how many something is kept.
        original_tokens: As the LLM would have read them.
        compressed_tokens: As it reads them now.
        error: The error, when the nodes were left as they were.
    """

    query: str
    documents: int
    kept: int
    original_tokens: int
    compressed_tokens: int
    error: str | None = None

    @classmethod
    def class_name(cls) -> str:
        """Returns the name of the event."""
        return "CompressionEvent"


class NodeCompressor(BaseNodePostprocessor):
    """Compresses retrieved nodes: `index.as_query_engine(node_postprocessors=[reranker, NodeCompressor()])`.

    Nodes without text, and images, pass through; without a query, all do. Nothing is loaded before the first use, and
    then once for each process.

    Attributes:
        stage: `default`, or another name of a scorer (`scorers.named.SCORERS`), or any stage, which
            takes its own threshold and budget with it.
        threshold: Keep sentences that score at least this; `None`: the named stage's own threshold.
        max_tokens: The most tokens that the nodes of one query may have as the response synthesizer joins them: with
            the metadata that the LLM sees, and blank lines between.
        keep_best: Keep the best n sentences even below the threshold.
        tokenizer: What counts them; see `rag_compress.tokens.Tokenizer`. `None`: an estimate.
        per: One node for each source, or one for each `sentence`, whose id then ends in `:start-end`.
        on_error: `raise`, or `original`: log the error and leave the nodes as they were.
        title_key: The metadata key of a node's title, which helps to score its sentences.
    """

    stage: Any = "default"
    threshold: float | None = None
    max_tokens: int | None = None
    keep_best: int = 0
    tokenizer: Any = None
    per: Per = "source"
    on_error: OnError = "raise"
    title_key: str | None = "title"

    model_config = ConfigDict(extra="forbid")

    @classmethod
    def class_name(cls) -> str:
        """Returns the name that stands in a saved configuration."""
        return "NodeCompressor"

    @field_serializer("stage", "tokenizer")
    def _by_name(self, value: Any) -> Any:
        return name_of(value)

    @model_validator(mode="after")
    def _check(self) -> NodeCompressor:
        self._compression()
        return self

    def _compression(self) -> Compression:
        return Compression.of(self)

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        check_sources(nodes, NodeWithScore)
        if query_bundle is None:
            return nodes
        name = self.stage if isinstance(self.stage, str) else type(self.stage).__name__
        _dispatcher.event(ReRankStartEvent(query=query_bundle, nodes=nodes, top_n=len(nodes), model_name=name))
        places = [i for i, scored in enumerate(nodes) if _has_text(scored.node)]
        sources = [_source(nodes[i].node, self.title_key) for i in places]
        [outcome] = self._compression().run([numbered(query_bundle.query_str, sources)])
        _dispatcher.event(CompressionEvent(**outcome.event))
        kept = self._kept(nodes, places, outcome)
        _dispatcher.event(ReRankEndEvent(nodes=kept))
        return kept

    def _kept(self, nodes: list[NodeWithScore], places: list[int], outcome: Outcome) -> list[NodeWithScore]:
        if outcome.pieces is None:
            return nodes
        kept: dict[int, list[NodeWithScore]] = {i: [scored] for i, scored in enumerate(nodes)}
        kept.update({i: [] for i in places})
        for piece in outcome.pieces:
            place = places[piece.source]
            node = _compressed(nodes[place].node, piece, self.per)
            kept[place].append(NodeWithScore(node=node, score=nodes[place].score))
        return [scored for group in kept.values() for scored in group]


class StageRetriever(BaseRetriever):
    """One of our retrievers, or a pipeline that starts with one, as a retriever of LlamaIndex.

    Args:
        stage: Such as `BM25Retriever.from_documents(...) >> ExtractiveCompressor.default()`.
        k: How many documents to retrieve; `None`: as many as the stage does.
        per: One node for each source, or for each sentence.
        title_key: The metadata key that a document's title gets.
        callback_manager: LlamaIndex's.
    """

    def __init__(
        self,
        stage: Stage,
        k: int | None = None,
        per: Per = "source",
        title_key: str = "title",
        callback_manager: CallbackManager | None = None,
    ) -> None:
        super().__init__(callback_manager)
        check_choice("per", per, Per)
        self.stage, self.per, self.title_key = with_k(stage, k), per, title_key

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        context = self.stage.run(query_bundle.query_str)
        return [self._node(context.documents[piece.source], piece) for piece in pieces_of(context, self.per)]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)

    def _node(self, document: Document, piece: Piece) -> NodeWithScore:
        title = {self.title_key: document.title} if document.title else {}
        node = TextNode(id_=document.id, text=document.text, metadata={**title, **document.metadata})
        return NodeWithScore(node=_compressed(node, piece, self.per), score=document.score)


@dataclass(frozen=True, eq=False)
class LlamaIndexRetriever(Retriever):
    """Any retriever of LlamaIndex as a stage; nodes without text are left out.

    Attributes:
        retriever: Asked as it is configured.
        k: At most this many of its nodes are used.
        title_key: The metadata key of a node's title.
    """

    retriever: BaseRetriever
    k: int = 10
    title_key: str | None = "title"

    def rank(self, queries: Sequence[str], k: int) -> list[list[Document]]:
        """Returns the nodes in LlamaIndex's order, with its scores; one that comes twice counts once."""
        return [self._documents(self.retriever.retrieve(query))[:k] for query in queries]

    def _documents(self, nodes: Sequence[NodeWithScore]) -> list[Document]:
        documents: dict[str, Document] = {}
        for scored in nodes:
            if _has_text(scored.node):
                text, title, _ = _source(scored.node, self.title_key)
                document = Document(scored.node.node_id, text, title, scored.score, scored.node.metadata)
                documents.setdefault(document.id, document)
        return list(documents.values())


@dataclass(frozen=True)
class LlamaIndexEncoder:
    """Any embedding model of LlamaIndex as an `Encoder` of documents."""

    embedding: BaseEmbedding

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns float32 `(len(texts), dim)`."""
        return vectors(self.embedding.get_text_embedding_batch, texts)


@dataclass(frozen=True)
class LlamaIndexQueryEncoder:
    """Any embedding model of LlamaIndex as an `Encoder` of queries, for models that treat them apart."""

    embedding: BaseEmbedding

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns float32 `(len(texts), dim)`."""
        return vectors(lambda own: [self.embedding.get_query_embedding(text) for text in own], texts)


def _has_text(node: BaseNode) -> bool:
    """Returns whether a node is text and nothing else; an image's caption is not worth its image."""
    if isinstance(node, Node):
        other = (node.image_resource, node.audio_resource, node.video_resource)
        return bool(node.get_content().strip()) and not any(other)
    return isinstance(node, TextNode) and not isinstance(node, ImageNode) and bool(node.text.strip())


def _source(node: BaseNode, title_key: str | None) -> tuple[str, str, Frame]:
    """Returns a node's text, its title, and what the LLM reads above and below the text."""
    text, whole = node.get_content(MetadataMode.NONE), node.get_content(MetadataMode.LLM).strip()
    above, _, below = whole.rpartition(text.strip())
    return text, title_in(node.metadata, title_key), (above, below)


def _compressed(node: BaseNode, piece: Piece, per: Per) -> BaseNode:
    """Returns a copy of a node with the text of a piece; nothing of the node is shared that could be changed."""
    changes: dict[str, Any] = {
        "metadata": {**deepcopy(node.metadata), KEY: piece.record},
        "relationships": dict(node.relationships),
        "excluded_llm_metadata_keys": _with_key(node.excluded_llm_metadata_keys),
        "excluded_embed_metadata_keys": _with_key(node.excluded_embed_metadata_keys),
    }
    if per == "sentence":
        changes["id_"] = piece.name(node.node_id, per)
        changes["relationships"].setdefault(NodeRelationship.PARENT, node.as_related_node_info())
        changes |= _indices(node, piece)
    copy = node.model_copy(update=changes)
    copy.set_content(piece.text)
    return copy


def _indices(node: BaseNode, piece: Piece) -> dict[str, int]:
    """Returns where a sentence stands in the document that the node was cut from, if it does and the node knows."""
    start, end = getattr(node, "start_char_idx", None), getattr(node, "end_char_idx", None)
    segment = piece.segments[0]
    # the text of a node may have been replaced, as by the window around its sentence
    if start is None or end is None or end - start != len(node.get_content()) or not segment.verbatim:
        return {}
    return {"start_char_idx": start + segment.spans[0].start, "end_char_idx": start + segment.spans[0].end}


def _with_key(keys: Sequence[str]) -> list[str]:
    return [*keys, *([] if KEY in keys else [KEY])]
