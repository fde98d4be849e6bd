"""Summarizers by name: the folder of a trained one, or an object of the user's own Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rag_compress.checks import is_folder
from rag_compress.errors import InvalidInput
from rag_compress.models.protocols import Summarizer
from rag_compress.models.summarizers.generation import Seq2SeqSummarizer
from rag_compress.models.summarizers.langchain import ChatSummarizer
from rag_compress.named import named_object


def named_summarizer(name: str, **options: Any) -> Summarizer:
    """Returns the summarizer of a name.

    Args:
        name: A folder that `rag-compress train summarizer` left, or `module:object`: a summarizer, a LangChain chat
            model, or a function that makes one of them.
        options: The fields of `ChatSummarizer`, for a chat model.

    Raises:
        InvalidInput: There is neither such a folder nor such an object.
    """
    if is_folder(name):
        return Seq2SeqSummarizer.from_folder(name)
    if ":" not in name:
        raise InvalidInput(f"{name!r} is no folder of a trained summarizer, nor module:object")
    found = named_object(name)
    made = _made(name, found) if isinstance(found, type) or (callable(found) and not _is_model(found)) else found
    if isinstance(made, Summarizer):
        return made
    if not hasattr(made, "invoke"):
        raise InvalidInput(f"{name} is neither a summarizer nor a LangChain chat model, but {made!r:.80}")
    return ChatSummarizer(made, **options)


def _made(name: str, make: Callable[[], Any]) -> Any:
    """Returns what a class or function of the user's makes."""
    try:
        return make()
    except Exception as error:
        raise InvalidInput(f"{name} cannot be made: {type(error).__name__}: {error}") from error


def _is_model(found: Any) -> bool:
    """Returns whether an object is a model itself, and not a function that makes one."""
    return isinstance(found, Summarizer) or hasattr(found, "invoke")
