"""The adapter for LangChain's agents (extra `langchain-agent`): compresses what a retrieval tool returns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from rag_compress.errors import InvalidInput, importing
from rag_compress.pipelines.framework import KEY

with importing("langchain", "langchain-agent", "The adapter for LangChain's agents"):
    from langchain.agents.middleware import AgentMiddleware
    from langchain.agents.middleware.types import ToolCallRequest
    from langchain.messages import ToolMessage

from langchain_core.documents import Document
from langchain_core.prompts import BasePromptTemplate, PromptTemplate, format_document
from langchain_core.runnables import run_in_executor

from rag_compress.pipelines.langchain import DocumentCompressor

_PLAIN = PromptTemplate.from_template("{page_content}")


@dataclass(eq=False)
class CompressionMiddleware(AgentMiddleware[Any, Any, Any]):
    """Compresses the `ToolMessage` of a retrieval tool by the query of its call: `create_agent(middleware=[...])`.

    A tool made with `response_format="content_and_artifact"` returns its documents as the message's artifact: they are
    compressed and rendered again, and the artifact keeps the originals. The text of any other tool is left alone,
    unless the tool is named. Ids, artifact and status stay; `response_metadata["rag_compress"]` says what was kept of
    which document.

    Attributes:
        compressor: Compresses the documents.
        tool_names: Compress what these tools return, also plain text or blocks of it, as tools of MCP servers return;
            `None`: any tool that returns documents.
        query_argument: The argument of the tool that holds the query; a call without it is left alone.
        document_prompt: As for `create_retriever_tool`: give both the same.
        document_separator: As for `create_retriever_tool`.
        empty: What the model reads when nothing is kept; many chat APIs take no empty message.
    """

    compressor: DocumentCompressor = field(default_factory=DocumentCompressor)
    tool_names: Collection[str] | None = None
    query_argument: str = "query"
    document_prompt: BasePromptTemplate[str] | None = None
    document_separator: str = "\n\n"
    empty: str = "Nothing relevant was found."

    def __post_init__(self) -> None:
        if not isinstance(self.compressor, DocumentCompressor):
            raise InvalidInput(f"compressor must be a DocumentCompressor, not {self.compressor!r:.80}")
        if isinstance(self.tool_names, str):
            raise InvalidInput(f"tool_names must be a list of names, not one string: [{self.tool_names!r}]")

    @property
    def name(self) -> str:
        """The name, with those of the tools: an agent takes several that compress other tools, but none twice."""
        own = super().name
        return own if self.tool_names is None else f"{own}[{','.join(sorted(self.tool_names))}]"

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]) -> Any:
        """Returns the tool's message, compressed."""
        result = handler(request)
        found = self._found(request, result)
        if found is None:
            return result
        kept = self.compressor.compress_documents(*found)
        return self._compressed(result, kept)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Any]]
    ) -> Any:
        """Returns the tool's message, compressed in another thread."""
        result = await handler(request)
        found = self._found(request, result)
        if found is None:
            return result
        kept = await self.compressor.acompress_documents(*found)
        return await run_in_executor(None, self._compressed, result, kept)

    def _found(self, request: ToolCallRequest, result: Any) -> tuple[list[Document], str] | None:
        """Returns the documents of a message and the query, or `None` when there is nothing to compress."""
        query = request.tool_call["args"].get(self.query_argument)
        if not isinstance(result, ToolMessage) or result.status == "error" or not isinstance(query, str):
            return None
        if self.tool_names is not None and request.tool_call["name"] not in self.tool_names:
            return None
        artifact = result.artifact
        if isinstance(artifact, list) and artifact and all(isinstance(d, Document) for d in artifact):
            return artifact, query
        texts = _texts_of(result.content)
        if self.tool_names is None or not texts:
            return None
        return [Document(text) for text in texts], query

    def _compressed(self, message: ToolMessage, kept: Any) -> ToolMessage:
        prompt = self.document_prompt or _PLAIN
        content = self.document_separator.join(format_document(document, prompt) for document in kept)
        record = [{"id": document.id, **document.metadata.get(KEY, {})} for document in kept]
        metadata = {**message.response_metadata, KEY: record}
        return message.model_copy(update={"content": content or self.empty, "response_metadata": metadata})


def _texts_of(content: str | list[Any]) -> list[str]:
    """Returns the texts of a message's content, which may be a list of blocks; none if one is no text, as an image."""
    blocks: list[Any] = [content] if isinstance(content, str) else content
    texts = [own.get("text") if isinstance(own, dict) and own.get("type") == "text" else own for own in blocks]
    found = [text for text in texts if isinstance(text, str)]
    return found if len(found) == len(blocks) else []
