"""`rag-compress teach`: candidate summaries from a chat model."""

from __future__ import annotations

import sys
from pathlib import Path

from rag_compress.cli import SKIPPED
from rag_compress.cli.view import progress, stderr, visible
from rag_compress.errors import counted
from rag_compress.models.summarizers.named import named_summarizer
from rag_compress.training.teaching import Teaching


def run_teach(data: Path, out: Path, teacher: str, candidates: int, max_tokens: int, timeout: float) -> None:
    """Writes the lines of a file with candidate summaries added, and says how many."""
    summarizer = named_summarizer(teacher, timeout=timeout)
    taught = Teaching(summarizer, candidates, max_tokens).teach(data, out, lambda lines: progress(lines, "asking"))
    written = f"wrote {counted(taught.lines, 'line')} to {out}; summaries that failed: {taught.failed}"
    stderr.print(written, markup=False, soft_wrap=True)
    if taught.error:
        stderr.print(f"the first error: {visible(taught.error)}", markup=False, style="yellow", soft_wrap=True)
    if taught.left:
        left = counted(taught.left, "line")
        stderr.print(f"{left} without a summary: the same command asks for more", style="yellow")
        sys.exit(SKIPPED)
