"""The section of the report on what a reader still answers."""

from __future__ import annotations

from collections.abc import Iterator

from eval.markdown import interval_cell, p_cell, table
from eval.reader import CONTEXTS
from eval.results import RESULTS, Result, find_result, read_result
from eval.significance import randomisation_test

_READER = """\
## What a reader still answers

`python -m eval.reader --system SYSTEM --set SET --split test --threshold THRESHOLD`

A small extractive reader, all-MiniLM-L6-v2 with a span head, learned from the training split of squad
(`python -m eval.reader --train`) and answers from the full context, from what the compressor keeps at its default
threshold, and from the gold passages alone. Exact match and F1 are SQuAD's, with 95% bootstrap intervals. The
difference is compressed minus full, paired by question, with its interval and p by a paired randomisation test.
Answerable questions must be answered unless the context is empty; of `all` questions, with as many unanswerable ones,
the reader may leave some without an answer. Half of the passages that it learned from were runs of their sentences, as
a compressor leaves them, so that it is at home in both; its training ends by the clock, so another machine gets another
reader.
"""


def reader_sections() -> Iterator[str]:
    """Yields what was measured with the reader."""
    results = [read_result(file.stem, RESULTS) for file in sorted(RESULTS.glob("reader-*-test.json"))]
    if not results:
        return
    yield _READER
    if training := find_result("reader-training"):
        s, d = training.scores, training.details
        yield f"After {d['updates']} updates it reads gold passages of {d['set']} with F1 {s['F1 gold']:.1f}.\n"
    header = ["system", "set", "figure", "words kept", *CONTEXTS, "compressed - full"]
    yield table(header, [row for result in results for row in _rows(result)])


def _rows(result: Result) -> Iterator[list[str | float | None]]:
    words = result.command.split()
    system, name = words[words.index("--system") + 1], words[words.index("--set") + 1]
    for figure in ("EM", "F1", "all: EM", "all: F1"):
        if f"{figure} full" in result.scores:
            cells = [interval_cell(result, f"{figure} {context}") for context in CONTEXTS]
            yield [system, name, figure, result.scores["words kept"], *cells, _difference(result, figure)]


def _difference(result: Result, figure: str) -> str:
    name = f"{figure} compressed - full"
    middle, low, high = (result.scores[f"{name}{end}"] for end in ("", ", low", ", high"))
    p = randomisation_test(result.samples[f"{figure} compressed"], result.samples[f"{figure} full"])
    return f"{middle:+.1f} [{low:+.1f}, {high:+.1f}] ({p_cell(p)})"
