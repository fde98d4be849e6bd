"""Summarizers by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rag_compress.errors import InvalidInput
from rag_compress.models.summarizers.generation import Seq2SeqSummarizer
from rag_compress.models.summarizers.langchain import ChatSummarizer
from rag_compress.models.summarizers.named import named_summarizer
from rag_compress.testing import LeadSummarizer

LEAD = LeadSummarizer()


class Chat:
    """As much of a chat model as is looked at before it is used."""

    def invoke(self, _: Any) -> str:
        """Returns a reply."""
        return "A river."


def make_chat() -> Chat:
    """Returns a chat model."""
    return Chat()


def test_objects() -> None:
    """A name stands for a summarizer, a chat model, or what makes one."""
    assert named_summarizer(f"{__name__}:LEAD") is LEAD
    assert named_summarizer("rag_compress.testing:LeadSummarizer") == LEAD
    for name in ("make_chat", "Chat"):
        made = named_summarizer(f"{__name__}:{name}", timeout=5)
        assert isinstance(made, ChatSummarizer)
        assert isinstance(made.chat, Chat)
        assert made.timeout == 5


def test_folders(tmp_path: Path) -> None:
    """A folder stands for the summarizer that was trained into it."""
    (tmp_path / "summarizer.json").write_text('{"template": "{documents}", "max_source_tokens": 7}')
    assert named_summarizer(str(tmp_path)) == Seq2SeqSummarizer(str(tmp_path), "{documents}", 7)


@pytest.mark.parametrize("name", ["absent", "absent:model", "json:absent", "json:__name__", ":", "tests"])
def test_what_is_not_there(name: str) -> None:
    """A name that stands for nothing is shown."""
    with pytest.raises(InvalidInput, match=name):
        named_summarizer(name)
