"""The section of the report on jobs over whole stores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from eval.markdown import table
from eval.results import find_result


def batch_sections() -> Iterator[str]:
    """Yields speed and memory, every store, and what kills leave, as far as they were measured."""
    if result := find_result("batch-speed"):
        yield "## Jobs over whole stores: speed and memory\n"
        yield f"""\
`{result.command}` on {result.details["machine"]}: passages of 100 words as JSON lines, from the start of the command to
its end; the peak is of all processes together, which fill their caches of words for about a minute and then need no
more. The overhead is that of a job, in one process, over a loop that reads,
compresses, counts tokens and writes the same rows.
"""
        yield table(["figure", "value"], result.scores.items())
    if result := find_result("batch-stores"):
        yield "## Every store, reprocessed\n"
        yield f"`{result.command}` on {result.details['machine']}: rows by what they have, and rows computed.\n"
        yield _by_kind(result.scores)
    if result := find_result("batch-kill"):
        yield "## Killed and resumed\n"
        yield f"`{result.command}` on {result.details['machine']}: runs ended by `kill -9` at random moments.\n"
        yield _by_kind(result.scores)


def _by_kind(scores: Mapping[str, float]) -> str:
    """Returns a row for each kind of store, a column for each figure."""
    kinds = list(dict.fromkeys(name.partition(": ")[0] for name in scores))
    figures = list(dict.fromkeys(name.partition(": ")[2] for name in scores))
    return table(["store", *figures], [[kind, *(scores.get(f"{kind}: {name}") for name in figures)] for kind in kinds])
