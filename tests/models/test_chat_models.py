"""A LangChain chat model as summarizer: every way in which it can go wrong has a defined outcome."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from rag_compress import AbstractiveCompressor, ExtractiveCompressor, LexicalScorer, PromptTemplate, Selection
from rag_compress.errors import InvalidInput, ModelError

pytest.importorskip("langchain_core")
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from rag_compress.models.summarizers.langchain import ChatSummarizer

TEXT = "The Loire is a river in France. It is 1,006 km long. Many castles stand near it. It ends in the Atlantic."
QUERY = "How long is the Loire?"
HUNG = threading.Event()


class Chat(BaseChatModel):
    """Replies by a script; what the script holds may also be an error, or "hang"."""

    script: list[Any]
    asked: list[Any] = []  # noqa: RUF012 - pydantic copies it

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        self.asked.append(messages)
        reply = self.script[min(len(self.asked), len(self.script)) - 1]
        if reply == "hang":
            HUNG.wait(30)
        if reply == "echo":
            reply = "\n".join(str(message.content) for message in messages)
        if isinstance(reply, Exception):
            raise reply
        message = reply if isinstance(reply, AIMessage) else AIMessage(content=reply)
        return ChatResult(generations=[ChatGeneration(message=message)])


def stage(*script: Any, **options: Any) -> AbstractiveCompressor:
    """Returns the compressor over a chat model."""
    fallback = ExtractiveCompressor(LexicalScorer(), Selection(threshold=0.2))
    summarizer = ChatSummarizer(Chat(script=list(script)), **{"attempts": 1, "timeout": 20.0, **options})
    return AbstractiveCompressor(summarizer, fallback=fallback)


def test_summary() -> None:
    """The reply is the summary; the model sees the instructions, the documents and the question."""
    compressor = stage("The Loire is 1006 kilometres long.")
    context = compressor.compress(QUERY, [TEXT])
    assert PromptTemplate().render_context(context) == "[1] The Loire is 1006 kilometres long."
    [[system, user]] = compressor.summarizer.chat.asked  # type: ignore[attr-defined]
    assert "NOTHING" in system.content
    assert TEXT in user.content
    assert QUERY in user.content


@pytest.mark.parametrize(
    ("reply", "options", "reason"),
    [
        (ValueError("quota"), {}, "ValueError"),
        ("hang", {"timeout": 0.2}, "TimeoutError"),
        ("", {}, "ModelError"),
        ("The Loire. " * 1_000_000, {}, "longer than its input"),
        ("echo", {}, "longer than its input"),
    ],
    ids=["fails", "hangs", "says nothing", "returns 10 MB", "returns the prompt"],
)
def test_what_goes_wrong(reply: Any, options: dict[str, Any], reason: str) -> None:
    """A model that fails, hangs, says nothing, returns 10 MB or the prompt: the extract stands in, and it is noted."""
    start = time.monotonic()
    context = stage(reply, **options).compress(QUERY, [TEXT])
    assert time.monotonic() - start < 25
    assert context.notes["abstractive"]["stood_in"] == {reason: 1}
    assert [segment.text for segment in context.segments] == ["The Loire is a river in France.", "It is 1,006 km long."]


def test_nothing_helps() -> None:
    """The word for nothing leaves the context empty."""
    assert stage("NOTHING").compress(QUERY, [TEXT]).is_empty


def test_again_after_an_error() -> None:
    """A call that raised an error is made again."""
    assert ChatSummarizer(Chat(script=[ValueError("busy"), "The Loire."]), attempts=2).summarize(
        [QUERY], [TEXT], [50]
    ) == ["The Loire."]


def test_one_failure_is_its_own() -> None:
    """Batch-mates of a call that fails keep their summaries, in order."""
    summarizer = ChatSummarizer(Chat(script=["One.", ValueError("no"), "Three."]), concurrency=1, attempts=1)
    one, two, three = summarizer.summarize([QUERY] * 3, [TEXT] * 3, [50] * 3)
    assert (one, three) == ("One.", "Three.")
    assert isinstance(two, ValueError)


def test_parts_and_odd_replies() -> None:
    """Of a reply in parts the text counts; a runnable that returns no message is an error in place of a summary."""
    from langchain_core.runnables import RunnableLambda

    parts: Any = [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "The Loire."}]
    assert ChatSummarizer(Chat(script=[parts])).summarize([QUERY], [TEXT], [50]) == ["The Loire."]
    [odd] = ChatSummarizer(RunnableLambda(lambda _: 5)).summarize([QUERY], [TEXT], [50])
    assert isinstance(odd, ModelError)


@pytest.mark.parametrize("ending", [{"finish_reason": "length"}, {"stop_reason": "max_tokens"}])
def test_a_reply_that_is_broken_off(ending: dict[str, str]) -> None:
    """Where tokens ran out, the unfinished last sentence is left out; one alone is an error in place of a summary."""
    replies = [AIMessage(text, response_metadata=ending) for text in ("The Loire. It is 1,006", "It is", "")]
    summarizer = ChatSummarizer(Chat(script=replies), concurrency=1)
    cut, *others = summarizer.summarize([QUERY] * 3, [TEXT] * 3, [50] * 3)
    assert cut == "The Loire."
    assert all(isinstance(other, ModelError) for other in others)


def test_wrong_options() -> None:
    """What is no chat model, and numbers that are none, are errors."""
    with pytest.raises(InvalidInput, match="chat model"):
        ChatSummarizer("gpt").summarize([QUERY], [TEXT], [50])
    for option in ("concurrency", "attempts", "timeout"):
        with pytest.raises(InvalidInput, match=option):
            ChatSummarizer(Chat(script=[""]), **{option: 0})
