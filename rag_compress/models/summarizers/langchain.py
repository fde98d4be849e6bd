"""Summarises with any LangChain chat model: an API, a server, a local LLM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rag_compress.checks import check_count, check_number
from rag_compress.errors import InvalidInput, ModelError, importing
from rag_compress.models.protocols import Summary
from rag_compress.models.summarizers.concurrent import run_all
from rag_compress.models.summarizers.instructions import messages, read_reply, without_last_sentence

_ENDINGS = ("finish_reason", "stop_reason", "stopReason", "done_reason")


@dataclass(frozen=True)
class ChatSummarizer:
    """Asks a chat model for each summary; several at once, again after an error, and none longer than the time limit.

    A call that fails, takes too long, or comes back blank is an error in place of its own summary only. Of a reply that
    the model's own limit broke off, the unfinished last sentence is left out.

    Attributes:
        chat: A LangChain chat model, or any runnable that takes its messages, such as `model.bind(max_tokens=300)`.
        concurrency: The most calls at once.
        attempts: How often a call that raises an error is made, in all; the time between two grows.
        timeout: Seconds for a summary, all attempts together.
    """

    chat: Any
    concurrency: int = 8
    attempts: int = 2
    timeout: float = 60.0

    def __post_init__(self) -> None:
        check_count("concurrency", self.concurrency, least=1)
        check_count("attempts", self.attempts, least=1)
        check_number("timeout", self.timeout, 0.001)

    def summarize(self, queries: Sequence[str], texts: Sequence[str], max_tokens: Sequence[int]) -> list[Summary]:
        """Returns the summaries; empty where the model says that nothing in the text helps.

        Raises:
            MissingExtra: langchain-core is not installed.
            InvalidInput: `chat` is no LangChain runnable.
        """
        chats = [messages(*item) for item in zip(queries, texts, max_tokens, strict=True)]
        return self.ask(chats)

    def ask(self, chats: Sequence[Sequence[dict[str, str]]]) -> list[Summary]:
        """Returns the model's reply to each chat, as `summarize` returns summaries."""
        chat = self._with_retry()

        def reply(chat_messages: Sequence[dict[str, str]]) -> Summary:
            message = chat.invoke(list(chat_messages))
            summary = read_reply(_text_of(message))
            is_cut = isinstance(summary, str) and summary and _is_cut(message)
            return without_last_sentence(str(summary)) if is_cut else summary

        return [
            result if isinstance(result, str | Exception) else ModelError(f"Not a reply: {result!r:.80}")
            for result in run_all(reply, chats, self.concurrency, self.timeout)
        ]

    def _with_retry(self) -> Any:
        with importing("langchain-core", "langchain", "ChatSummarizer"):
            from langchain_core.runnables import Runnable
        if not isinstance(self.chat, Runnable):
            raise InvalidInput(f"chat must be a LangChain chat model, not {self.chat!r:.80}")
        return self.chat.with_retry(stop_after_attempt=self.attempts)


def _is_cut(reply: Any) -> bool:
    """Returns whether a reply ended because it had no more tokens, as the providers say it."""
    metadata = getattr(reply, "response_metadata", None) or {}
    return any(str(metadata.get(key)).lower() in ("length", "max_tokens") for key in _ENDINGS)


def _text_of(reply: Any) -> str:
    """Returns the text of a chat message; models that think, or return images, reply in several parts."""
    text = getattr(reply, "text", reply)
    text = text() if callable(text) and not isinstance(text, str) else text
    if not isinstance(text, str):
        raise ModelError(f"The chat model returned {type(reply).__name__}, not a message with text")
    return str(text)
