"""`rag-compress teach`: candidate summaries from a chat model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rag_compress.cli.named import named_object
from rag_compress.cli.view import stderr
from rag_compress.models.langchain import ChatSummarizer
from rag_compress.models.protocols import Summarizer
from rag_compress.training.teaching import Teaching


def run_teach(data: Path, out: Path, teacher: str, candidates: int, max_tokens: int, timeout: float) -> None:
    """Writes the lines of a file with candidate summaries added, and says how many."""
    found = named_object(teacher)
    made: Any = found() if isinstance(found, type) or (callable(found) and not _is_model(found)) else found
    summarizer = made if isinstance(made, Summarizer) else ChatSummarizer(made, timeout=timeout)
    taught = Teaching(summarizer, candidates, max_tokens).teach(data, out)
    stderr.print(f"wrote {taught.lines} lines to {out}; {taught.failed} summaries failed", markup=False)


def _is_model(found: Any) -> bool:
    """Returns whether an object is a teacher itself, and not a function that makes one."""
    return isinstance(found, Summarizer) or hasattr(found, "invoke")
