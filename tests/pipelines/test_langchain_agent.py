"""The middleware for LangChain's agents, in agents that LangChain makes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from langchain.agents import create_agent
from langchain.tools import tool
from langchain_core.documents import Document
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.prompts import PromptTemplate
from langchain_core.tools import create_retriever_tool
from pydantic import Field
from samples import DOCUMENTS, FAILING, LOIRE, QUERY

from rag_compress import BM25Retriever
from rag_compress.errors import InvalidInput
from rag_compress.pipelines.langchain import DocumentCompressor, StageRetriever
from rag_compress.pipelines.langchain_agent import CompressionMiddleware

RETRIEVER = StageRetriever(stage=BM25Retriever.from_documents(DOCUMENTS))
LEXICAL = DocumentCompressor(stage="lexical", threshold=0.3)


class FakeModel(GenericFakeChatModel):
    """LangChain's fake, which also takes tools; notes what it was sent."""

    sent: list = Field(default_factory=list)

    def bind_tools(self, tools, **kwargs):
        """Returns the model: its answers are given."""
        return self

    def _generate(self, messages, *args, **kwargs):
        self.sent.append(messages)
        return super()._generate(messages, *args, **kwargs)


def agent_with(middleware, *tools, name="search", query=QUERY):
    """Returns an agent that calls one tool, then answers, and the model that it uses."""
    call = {"name": name, "args": {"query": query}, "id": "call-1"}
    model = FakeModel(messages=iter([AIMessage("", tool_calls=[call]), AIMessage("The Loire.")]), sent=[])
    return create_agent(model, tools, middleware=[middleware]), model


def retriever_tool(**options):
    """Returns LangChain's own retrieval tool."""
    return create_retriever_tool(RETRIEVER, "search", "Searches.", response_format="content_and_artifact", **options)


@tool
def search_text(query: str) -> str:
    """Returns plain text."""
    return LOIRE


@tool
def search_blocks(query: str) -> list[dict]:
    """Returns blocks of text, as a tool of an MCP server does."""
    return [{"type": "text", "text": LOIRE}, {"type": "text", "text": "Bananas are berries."}]


@tool
def look(query: str) -> list[dict]:
    """Returns a text and an image."""
    return [{"type": "text", "text": LOIRE}, {"type": "image", "url": "https://example.org/loire.png"}]


@tool
def broken(query: str) -> str:
    """Raises, and the agent goes on."""
    raise ValueError("no index")


def tool_message(state) -> ToolMessage:
    """Returns the message of the tool."""
    [message] = [m for m in state["messages"] if isinstance(m, ToolMessage)]
    return message


@pytest.mark.parametrize("is_async", [False, True])
async def test_what_a_retrieval_tool_returns_is_compressed_before_the_model_sees_it(is_async):
    """The conversation holds the compressed text; artifact, name and call id stay."""
    agent, model = agent_with(CompressionMiddleware(LEXICAL), retriever_tool())
    given = {"messages": "Which river?"}
    state = await agent.ainvoke(given) if is_async else agent.invoke(given)
    message = tool_message(state)
    assert message.content == "The Seine is a river in France.\n\nThe Loire is a river in France."
    assert model.sent[1][-1].content == message.content
    assert (message.name, message.tool_call_id, message.status) == ("search", "call-1", "success")
    assert message.artifact == RETRIEVER.invoke(QUERY)
    kept = message.response_metadata["rag_compress"]
    assert [(record["id"], record["spans"]) for record in kept] == [("seine", [[0, 31]]), ("loire", [[0, 31]])]


def test_documents_are_rendered_as_the_tool_renders_them():
    """Prompt and separator are those of the tool."""
    rendering = {"document_prompt": PromptTemplate.from_template("{title}: {page_content}"), "document_separator": "|"}
    middleware = CompressionMiddleware(LEXICAL, **rendering)
    agent, _ = agent_with(middleware, retriever_tool(**rendering))
    content = tool_message(agent.invoke({"messages": "x"})).content
    assert content == "Seine: The Seine is a river in France.|Loire: The Loire is a river in France."


def test_plain_text_is_compressed_only_where_the_tool_is_named():
    """The text of a tool may be anything; naming it says that it is retrieved text."""
    texts = []
    for middleware in (CompressionMiddleware(LEXICAL), CompressionMiddleware(LEXICAL, tool_names=["search_text"])):
        agent, _ = agent_with(middleware, search_text, name="search_text")
        texts.append(tool_message(agent.invoke({"messages": "x"})).content)
    assert texts == [LOIRE, "The Loire is a river in France."]


def test_blocks_of_text_are_compressed_and_an_image_is_not_lost():
    """A named tool may return its text in blocks; what holds more than text stays as it is."""
    contents = []
    for own in (search_blocks, look):
        agent, _ = agent_with(CompressionMiddleware(LEXICAL, tool_names=[own.name]), own, name=own.name)
        contents.append(tool_message(agent.invoke({"messages": "x"})).content)
    assert contents == ["The Loire is a river in France.", look.invoke({"query": QUERY})]


def test_tools_can_have_their_own_compressors():
    """An agent takes two of them for two tools, each with its own options."""
    other = CompressionMiddleware(LEXICAL, tool_names=["ask"], query_argument="question")
    call = {"name": "search_text", "args": {"query": QUERY}, "id": "call-1"}
    model = FakeModel(messages=iter([AIMessage("", tool_calls=[call]), AIMessage("The Loire.")]), sent=[])
    agent = create_agent(
        model, [search_text], middleware=[other, CompressionMiddleware(LEXICAL, tool_names=["search_text"])]
    )
    assert tool_message(agent.invoke({"messages": "x"})).content == "The Loire is a river in France."


def test_other_tools_are_left_alone():
    """A tool that is not named, and one whose call has no query, return what they return."""
    for middleware in (
        CompressionMiddleware(LEXICAL, tool_names=["other"]),
        CompressionMiddleware(LEXICAL, query_argument="question"),
    ):
        agent, _ = agent_with(middleware, retriever_tool())
        message = tool_message(agent.invoke({"messages": "x"}))
        assert message.content == "\n\n".join(d.page_content for d in message.artifact)
        assert message.response_metadata == {}


def test_an_error_of_a_tool_stays_as_it_is():
    """The model must see the whole error."""
    failed = ToolMessage("no index", tool_call_id="1", status="error", artifact=[Document(LOIRE)])
    middleware = CompressionMiddleware(LEXICAL)

    request = SimpleNamespace(tool_call={"name": "search", "args": {"query": QUERY}, "id": "1"})

    assert middleware.wrap_tool_call(request, lambda request: failed) is failed


def test_nothing_relevant_is_said():
    """When nothing is kept, the message says so: many chat APIs refuse an empty one."""
    agent, _ = agent_with(CompressionMiddleware(DocumentCompressor(stage="lexical", threshold=9)), retriever_tool())
    assert tool_message(agent.invoke({"messages": "x"})).content == "Nothing relevant was found."


def test_a_compressor_that_fails_can_leave_the_message_as_it_was():
    """`on_error="original"` is the compressor's option, and holds here too."""
    compressor = DocumentCompressor(stage=FAILING, on_error="original")
    agent, _ = agent_with(CompressionMiddleware(compressor), retriever_tool(), query="fail river")
    message = tool_message(agent.invoke({"messages": "x"}))
    assert message.artifact


def test_tool_names_are_a_list():
    """One string would match any tool whose name is part of it."""
    with pytest.raises(InvalidInput, match="search"):
        CompressionMiddleware(tool_names="search")
    with pytest.raises(InvalidInput, match="compressor must be a DocumentCompressor, not 'default'"):
        CompressionMiddleware("default")
