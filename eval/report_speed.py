"""The sections of the report on time and memory."""

from __future__ import annotations

from collections.abc import Iterator

from eval.markdown import table
from eval.results import find_result


def index_sections() -> Iterator[str]:
    """Yields the comparison of the backends of BM25."""
    if result := find_result("index-speed"):
        s = result.scores
        keys = ("index s", "query ms", "query ms, 95th percentile", "peak MiB", "peak MiB before indexing")
        yield "## 100,000 passages of 100 words: bm25s against rank-bm25\n"
        yield f"""\
`{result.command}` on {result.details["machine"]}; each backend in its own process, queries one by one. Finding the
words takes {result.details["words s"]} s of either's index time. Ratios are rank-bm25 over bm25s.
"""
        rows = [[k, s[f"bm25s: {k}"], s[f"rank-bm25: {k}"], s.get(f"ratio: {k}")] for k in keys]
        yield table(["figure", "bm25s", "rank-bm25", "ratio"], rows)


def import_sections() -> Iterator[str]:
    """Yields what starting costs."""
    if result := find_result("import-time"):
        yield "## Start-up\n"
        yield f"`{result.command}`: medians, each run in a process of its own.\n"
        yield table(["figure", "seconds"], [[k, f"{v:.3f}"] for k, v in result.scores.items()])
        yield f"Heavy modules that `import rag_compress` loads: {result.details['heavy modules loaded']}.\n"
