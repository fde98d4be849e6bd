"""`rag-compress teach`: candidate summaries from a chat model."""

from __future__ import annotations

from pathlib import Path

from rag_compress.cli.view import stderr
from rag_compress.models.named import named_summarizer
from rag_compress.training.teaching import Teaching


def run_teach(data: Path, out: Path, teacher: str, candidates: int, max_tokens: int, timeout: float) -> None:
    """Writes the lines of a file with candidate summaries added, and says how many."""
    summarizer = named_summarizer(teacher, timeout=timeout)
    taught = Teaching(summarizer, candidates, max_tokens).teach(data, out)
    stderr.print(f"wrote {taught.lines} lines to {out}; {taught.failed} summaries failed", markup=False)
