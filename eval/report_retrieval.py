"""The section of the report on retrievers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from eval.markdown import interval_cell, p_cell, table
from eval.results import Result, find_result
from eval.significance import randomisation_test

_RETRIEVAL = """\
## Retrieval

`python -m eval.retrieval --collection COLLECTION`

The library's defaults, untuned: BM25 (bm25s, Lucene's variant, k1 1.5, b 0.75), exact dense retrieval with
all-MiniLM-L6-v2, fusion of the first 100 of both, interpolation with weights 1/2, Rocchio feedback with alpha 1,
beta 0.5 and 3 documents. nDCG@10 with its 95% bootstrap interval; p by a paired randomisation test on nDCG@10 against
each parent.
"""


def retrieval_sections() -> Iterator[str]:
    """Yields what was measured on each collection."""
    found = {name: result for name in ("cranfield", "cisi") if (result := find_result(f"retrieval-{name}"))}
    if not found:
        return
    yield _RETRIEVAL
    for name, result in found.items():
        sizes = f"{result.details['documents']} documents, {result.details['queries']} queries"
        yield f"### {name} ({sizes})\n"
        yield table(["system", "nDCG@10", "against bm25", "against dense", "recall@100"], _retrieval_rows(result))
        same, ties = (result.scores[f"parity: same {x}"] for x in ("top 10", "but for ties"))
        yield f"""\
The first 10 of bm25s in parity mode (`okapi`) and of rank-bm25 are the same for {same:.1f}% of the queries, and the
same but for ties for {ties:.1f}%.
"""


def _retrieval_rows(result: Result) -> Iterator[list[str | float | None]]:
    for key in result.scores:
        system, _, figure = key.partition(": ")
        if figure != "nDCG@10":
            continue
        tests = [
            None if system in ("bm25", "dense") else p_cell(randomisation_test(*_pair(result, system, parent)))
            for parent in ("bm25", "dense")
        ]
        yield [system, interval_cell(result, key), *tests, result.scores[f"{system}: R@100"]]


def _pair(result: Result, system: str, parent: str) -> tuple[Sequence[float], Sequence[float]]:
    return result.samples[f"{system}: nDCG@10"], result.samples[f"{parent}: nDCG@10"]
