"""Adapters for LangChain (extra `langchain`, which is langchain-core alone); `langchain_agent` has the one for agents.

Whatever goes in comes out with its id, its metadata and its place; what was kept of it stands under
`metadata["rag_compress"]`: `score`, `spans` (`[start, end]` in the original text) and `scores`.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rag_compress.errors import InvalidInput, importing
from rag_compress.pipelines.framework import (
    KEY,
    NO_FRAME,
    Compression,
    OnError,
    Outcome,
    Per,
    Piece,
    check_sources,
    numbered,
    pieces_of,
    title_in,
    vectors,
    with_k,
)
from rag_compress.prompts import QUESTION_ANSWERING, PromptTemplate
from rag_compress.stages import Retriever
from rag_compress.tokens import estimate_tokens
from rag_compress.types import Document

with importing("langchain-core", "langchain", "The LangChain adapter"):
    from langchain_core.callbacks import (
        AsyncCallbackManagerForChainRun,
        AsyncCallbackManagerForRetrieverRun,
        CallbackManagerForChainRun,
        CallbackManagerForRetrieverRun,
        Callbacks,
    )
    from langchain_core.documents import BaseDocumentCompressor
    from langchain_core.documents import Document as LangChainDocument
    from langchain_core.embeddings import Embeddings
    from langchain_core.load.serializable import Serializable
    from langchain_core.prompt_values import StringPromptValue
    from langchain_core.retrievers import BaseRetriever, RetrieverLike
    from langchain_core.runnables import RunnableConfig, RunnableSerializable, run_in_executor
    from langchain_core.runnables.config import (
        ensure_config,
        get_async_callback_manager_for_config,
        get_callback_manager_for_config,
        set_config_context,
    )
    from pydantic import ConfigDict, Field, field_validator, model_validator

Found = TypeVar("Found")
Query = tuple[str, Sequence[LangChainDocument]]
"""A query with what was retrieved for it."""


_NO_OTHERS = ConfigDict(arbitrary_types_allowed=True, extra="forbid")
"""Makes a misspelt option an error; in every class, because LangChain's bases pass unknown ones over."""


class CompressionOptions(Serializable):
    """The options that the adapters share. Nothing is loaded before the first use, and then once for each process.

    `dumpd` and `load` keep them all, as long as `stage` and `tokenizer` are given by name.

    Attributes:
        stage: `default`, or another name of a scorer (`scorers.named.SCORERS`), or any stage, which
            takes its own threshold and budget with it.
        threshold: Keep sentences that score at least this; `None`: the named stage's own threshold.
        max_tokens: The most tokens that the documents of one query may have, joined by blank lines.
        keep_best: Keep the best n sentences even below the threshold.
        tokenizer: What counts them; see `rag_compress.tokens.Tokenizer`. `None`: an estimate.
        per: One document for each source, or one for each `sentence`, whose id then ends in `:start-end`.
        on_error: `raise`, or `original`: log the error and leave the documents as they were.
        title_key: The metadata key of a document's title, which helps to score its sentences.
    """

    stage: Any = "default"
    threshold: float | None = None
    max_tokens: int | None = None
    keep_best: int = 0
    tokenizer: Any = None
    per: Per = "source"
    on_error: OnError = "raise"
    title_key: str | None = "title"

    model_config = _NO_OTHERS

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Returns True: `dumpd` writes the options."""
        return True

    @field_validator("tokenizer")
    @classmethod
    def _by_name(cls, tokenizer: Any) -> Any:
        return fspath(tokenizer) if isinstance(tokenizer, PathLike) else tokenizer

    @model_validator(mode="after")
    def _check(self) -> CompressionOptions:
        self._compression()
        return self

    def _template(self) -> PromptTemplate | None:
        return None

    def _compression(self) -> Compression:
        return Compression.of(self, self._template())

    def _run(self, queries: Sequence[Query]) -> list[Outcome]:
        """Returns what becomes of each query's documents: one batch of the model for all."""
        for _, documents in queries:
            check_sources(documents, LangChainDocument)
        return self._compression().run(
            [
                numbered(query, [(d.page_content, title_in(d.metadata, self.title_key), NO_FRAME) for d in documents])
                for query, documents in queries
            ]
        )

    def _documents(self, documents: Sequence[LangChainDocument], outcome: Outcome) -> list[LangChainDocument]:
        if outcome.pieces is None:
            return list(documents)
        return [_kept(documents[piece.source], piece, self.per) for piece in outcome.pieces]


class DocumentCompressor(CompressionOptions, BaseDocumentCompressor):
    """Compresses retrieved documents, in `ContextualCompressionRetriever`, `DocumentCompressorPipeline` or alone."""

    def compress_documents(
        self, documents: Sequence[LangChainDocument], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[LangChainDocument]:
        """Returns what helps to answer the query, in the order of the documents, which stay as they are.

        Within a run, the custom event `rag_compress` tells the numbers of documents and tokens, before and after.
        """
        config: RunnableConfig | None = {"callbacks": callbacks} if callbacks else None
        [outcome] = _within(config, self._run, [(query, documents)])
        _report(outcome, config)
        return self._documents(documents, outcome)

    async def acompress_documents(
        self, documents: Sequence[LangChainDocument], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[LangChainDocument]:
        """Returns what `compress_documents` does, computed in another thread."""
        config: RunnableConfig | None = {"callbacks": callbacks} if callbacks else None
        [outcome] = await run_in_executor(None, _within, config, self._run, [(query, documents)])
        await _areport(outcome, config)
        return self._documents(documents, outcome)


class _CompressionRunnable(CompressionOptions, RunnableSerializable[dict[str, Any], Any]):
    """`batch` and `abatch` give all inputs to the model at once; `invoke` is a batch of one."""

    query_key: str = "query"
    documents_key: str = "documents"

    model_config = _NO_OTHERS

    @abstractmethod
    def _output(self, documents: Sequence[LangChainDocument], outcome: Outcome) -> Any:
        """Returns what a runnable makes of an outcome."""

    def invoke(self, input: dict[str, Any], config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002 - LangChain's name
        """Returns the output for one input."""
        return self.batch([input], config, **kwargs)[0]

    async def ainvoke(self, input: dict[str, Any], config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002 - LangChain's name
        """Returns the output for one input, computed in another thread."""
        return (await self.abatch([input], config, **kwargs))[0]

    def batch(
        self,
        inputs: list[dict[str, Any]],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any | None,
    ) -> list[Any]:
        """Returns the outputs, in order."""
        return self._batch_with_config(self._reported, inputs, config, return_exceptions=return_exceptions, **kwargs)

    async def abatch(
        self,
        inputs: list[dict[str, Any]],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any | None,
    ) -> list[Any]:
        """Returns the outputs, in order, computed in another thread."""
        return await self._abatch_with_config(
            self._areported, inputs, config, return_exceptions=return_exceptions, **kwargs
        )

    def _reported(
        self, inputs: list[dict[str, Any]], run_manager: list[CallbackManagerForChainRun], config: list[RunnableConfig]
    ) -> list[Any]:
        del run_manager  # the configs hold its children
        outcomes = _within(_only(config), self._outcomes, inputs)
        for outcome, own in zip(outcomes, config, strict=True):
            if isinstance(outcome, Outcome):
                _report(outcome, own)
        return self._outputs(inputs, outcomes)

    async def _areported(
        self,
        inputs: list[dict[str, Any]],
        run_manager: list[AsyncCallbackManagerForChainRun],
        config: list[RunnableConfig],
    ) -> list[Any]:
        del run_manager
        outcomes = await run_in_executor(None, _within, _only(config), self._outcomes, inputs)
        for outcome, own in zip(outcomes, config, strict=True):
            if isinstance(outcome, Outcome):
                await _areport(outcome, own)
        return self._outputs(inputs, outcomes)

    def _outputs(self, inputs: list[dict[str, Any]], outcomes: list[Outcome | Exception]) -> list[Any]:
        return [
            self._output(given[self.documents_key], outcome) if isinstance(outcome, Outcome) else outcome
            for given, outcome in zip(inputs, outcomes, strict=True)
        ]

    def _outcomes(self, inputs: list[dict[str, Any]]) -> list[Outcome | Exception]:
        """Returns what becomes of each input; an error is that of its own input, as LangChain expects."""
        try:
            return [*self._run([self._query(given) for given in inputs])]
        except Exception as error:  # noqa: BLE001 - LangChain raises it, or returns it if so asked
            if len(inputs) == 1:
                return [error]
            return [outcome for given in inputs for outcome in self._outcomes([given])]

    def _query(self, given: Any) -> Query:
        keys = (self.query_key, self.documents_key)
        if not isinstance(given, Mapping) or not all(key in given for key in keys):
            raise InvalidInput(f"The input must be a dict with {keys[0]!r} and {keys[1]!r}, not {given!r:.80}")
        return given[self.query_key], given[self.documents_key]


class CompressDocuments(_CompressionRunnable):
    """Compresses within a chain: `{"query", "documents"}` to documents; the two keys can be named otherwise."""

    def _output(self, documents: Sequence[LangChainDocument], outcome: Outcome) -> list[LangChainDocument]:
        return self._documents(documents, outcome)


class CompressToPrompt(_CompressionRunnable):
    """Compresses and renders: `{"query", "documents"}` to a prompt with numbered sources, for any model.

    Attributes:
        template: The prompt, with `{context}` and `{query}`; `max_tokens` holds for the sources as they stand in it.
    """

    template: str = QUESTION_ANSWERING

    def _template(self) -> PromptTemplate:
        return PromptTemplate(template=self.template, tokenizer=self.tokenizer or estimate_tokens)

    def _output(self, documents: Sequence[LangChainDocument], outcome: Outcome) -> StringPromptValue:  # noqa: ARG002 - the context holds them
        return StringPromptValue(text=self._template().format(outcome.context).text)


class CompressedRetriever(BaseRetriever):
    """A retriever whose documents are compressed; options of `invoke` go to the retriever.

    Attributes:
        retriever: Any retriever of LangChain, or a runnable that takes its place, such as `retriever.with_retry()`.
        compressor: Any compressor of LangChain; by default ours.
    """

    retriever: RetrieverLike
    compressor: BaseDocumentCompressor = Field(default_factory=DocumentCompressor)

    model_config = _NO_OTHERS

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[LangChainDocument]:
        callbacks = run_manager.get_child()
        found = self.retriever.invoke(query, {"callbacks": callbacks}, **kwargs)
        return list(self.compressor.compress_documents(found, query, callbacks))

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[LangChainDocument]:
        callbacks = run_manager.get_child()
        found = await self.retriever.ainvoke(query, {"callbacks": callbacks}, **kwargs)
        return list(await self.compressor.acompress_documents(found, query, callbacks))


class StageRetriever(BaseRetriever):
    """One of our retrievers, or a pipeline that starts with one, as a retriever of LangChain.

    Attributes:
        stage: Such as `BM25Retriever.from_documents(...) >> ExtractiveCompressor.default()`.
        k: How many documents to retrieve; `None`: as many as the stage does. `invoke(query, k=...)` goes before.
        per: One document for each source, or for each sentence.
        title_key: The metadata key that a document's title gets.
    """

    stage: Any
    k: int | None = None
    per: Per = "source"
    title_key: str = "title"

    model_config = _NO_OTHERS

    @model_validator(mode="after")
    def _check(self) -> StageRetriever:
        with_k(self.stage, self.k)
        return self

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[LangChainDocument]:
        config: RunnableConfig = {"callbacks": run_manager.get_child()}
        return _within(config, self._found, query, k)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[LangChainDocument]:
        config: RunnableConfig = {"callbacks": run_manager.get_child()}
        return await run_in_executor(None, _within, config, self._found, query, k)

    def _found(self, query: str, k: int | None) -> list[LangChainDocument]:
        context = with_k(self.stage, self.k if k is None else k).run(query)
        pieces = pieces_of(context, self.per)
        return [_kept(_foreign(context.documents[p.source], self.title_key), p, self.per) for p in pieces]


@dataclass(frozen=True, eq=False)
class LangChainRetriever(Retriever):
    """Any retriever of LangChain as a stage: `LangChainRetriever(retriever) >> ExtractiveCompressor.default()`.

    A document without an id gets one from its text, so that a hybrid knows it again; one that comes twice counts once.

    Attributes:
        retriever: Asked as it is configured; also a runnable that takes its place, such as `retriever.with_retry()`.
        k: At most this many of its documents are used.
        title_key: The metadata key of a document's title.
    """

    retriever: RetrieverLike
    k: int = 10
    title_key: str | None = "title"

    def rank(self, queries: Sequence[str], k: int) -> list[list[Document]]:
        """Returns the documents in LangChain's order, without scores, which LangChain does not have."""
        return [self._documents(found)[:k] for found in self.retriever.batch(list(queries))]

    def _documents(self, found: Sequence[LangChainDocument]) -> list[Document]:
        documents: dict[str, Document] = {}
        for document in found:
            text, title = document.page_content, title_in(document.metadata, self.title_key)
            name = document.id or hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
            documents.setdefault(name, Document(name, text, title, metadata=document.metadata))
        return list(documents.values())


@dataclass(frozen=True)
class LangChainEncoder:
    """Any embeddings of LangChain as an `Encoder` of documents."""

    embeddings: Embeddings

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns float32 `(len(texts), dim)`."""
        return vectors(self.embeddings.embed_documents, texts)


@dataclass(frozen=True)
class LangChainQueryEncoder:
    """Any embeddings of LangChain as an `Encoder` of queries, for models that treat them apart."""

    embeddings: Embeddings

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns float32 `(len(texts), dim)`."""
        return vectors(lambda own: [self.embeddings.embed_query(text) for text in own], texts)


def _kept(source: LangChainDocument, piece: Piece, per: Per) -> LangChainDocument:
    metadata = {**deepcopy(source.metadata), KEY: piece.record}
    name = piece.name(source.id, per) if source.id is not None else None
    return source.model_copy(update={"id": name, "page_content": piece.text, "metadata": metadata})


def _foreign(document: Document, title_key: str) -> LangChainDocument:
    title = {title_key: document.title} if document.title else {}
    return LangChainDocument(document.text, id=document.id, metadata={**title, **document.metadata})


def _within(config: RunnableConfig | None, function: Callable[..., Found], *arguments: Any) -> Found:
    """Returns what a function returns; what it asks of LangChain is reported as part of the run that a config names."""
    with set_config_context(ensure_config(config)) as context:
        return context.run(function, *arguments)


def _only(configs: Sequence[RunnableConfig]) -> RunnableConfig | None:
    """Returns the config of the one input that there is; what is done for several at once is part of none."""
    return configs[0] if len(configs) == 1 else None


def _report(outcome: Outcome, config: RunnableConfig | None) -> None:
    """Dispatches the event; outside of a run there is nobody to hear it."""
    manager = get_callback_manager_for_config(ensure_config(config))
    if manager.parent_run_id is not None:
        manager.on_custom_event(KEY, outcome.event, run_id=manager.parent_run_id)


async def _areport(outcome: Outcome, config: RunnableConfig | None) -> None:
    manager = get_async_callback_manager_for_config(ensure_config(config))
    if manager.parent_run_id is not None:
        await manager.on_custom_event(KEY, outcome.event, run_id=manager.parent_run_id)
