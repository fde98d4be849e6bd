"""Measures the retrievers on a test collection: `python -m eval.retrieval --collection cranfield`.

Parameters are the library's defaults except where a system's name says otherwise; nothing is tuned on the collections.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import ir_measures
import typer
from ir_measures import R, nDCG
from rich.console import Console

from eval.datasets import Collection, data_folder, read_collection
from eval.results import Result
from eval.systems import minilm
from rag_compress.retrievers import (
    Average,
    BM25Retriever,
    DenseRetriever,
    FeedbackRetriever,
    HybridRetriever,
    Interpolation,
    Rocchio,
)
from rag_compress.stages import Retriever
from rag_compress.types import Document

Rankings = Mapping[str, Sequence[Document]]
MEASURES = (nDCG @ 10, R @ 100)
_SAME_SCORE = 1e-5


@dataclass(frozen=True)
class Parents:
    """What every other system is made of, indexed once."""

    bm25: BM25Retriever
    dense: DenseRetriever


SYSTEMS: Mapping[str, Callable[[Parents], Retriever]] = {
    "bm25": lambda p: p.bm25,
    "dense": lambda p: p.dense,
    "hybrid (RRF)": lambda p: HybridRetriever((p.bm25, p.dense)),
    "hybrid (interpolation)": lambda p: HybridRetriever((p.bm25, p.dense), fusion=Interpolation()),
    "dense + feedback (Rocchio)": lambda p: FeedbackRetriever(p.dense, interpolate="never"),
    "dense + feedback (average)": lambda p: FeedbackRetriever(p.dense, interpolate="never", method=Average()),
    "hybrid + feedback, before": lambda p: FeedbackRetriever(p.dense, p.bm25, interpolate="before"),
    "hybrid + feedback, after": lambda p: FeedbackRetriever(p.dense, p.bm25, interpolate="after"),
    "hybrid + feedback, both": lambda p: FeedbackRetriever(p.dense, p.bm25, interpolate="both"),
    "hybrid (RRF) of bm25 and dense + feedback": lambda p: HybridRetriever(
        (p.bm25, FeedbackRetriever(p.dense, interpolate="never"))
    ),
    "hybrid + feedback, both, beta 0.25": lambda p: FeedbackRetriever(
        p.dense, p.bm25, interpolate="both", method=Rocchio(1.0, 0.25)
    ),
}


def parents_of(collection: Collection) -> Parents:
    """Returns BM25 (bm25s, Lucene's variant) and exact dense retrieval with all-MiniLM-L6-v2."""
    dense = DenseRetriever.from_documents(collection.documents, minilm(), index="numpy")
    return Parents(BM25Retriever.from_documents(collection.documents), dense)


def rank(retriever: Retriever, collection: Collection, k: int = 100) -> Rankings:
    """Returns the k best documents by query id."""
    found = retriever.retrieve(list(collection.queries.values()), k)
    return dict(zip(collection.queries, found, strict=True))


def measure(rankings: Rankings, collection: Collection) -> dict[str, list[float]]:
    """Returns nDCG@10 and recall@100 of each query by ir_measures, in the order of the queries.

    Source: MacAvaney, Macdonald, Ounis, "Streamlining Evaluation with ir-measures", ECIR 2022. Recall counts every
    grade above 0 as relevant; nDCG uses the grades as gains. Queries without a relevant document are left out.
    """
    run = [
        ir_measures.ScoredDoc(query, document.id, float(-place))  # by rank, so that ties stay in the order returned
        for query, documents in rankings.items()
        for place, document in enumerate(documents)
    ]
    judged = {q: grades for q, grades in collection.judgements.items() if any(g > 0 for g in grades.values())}
    values = {(m.query_id, str(m.measure)): m.value for m in ir_measures.iter_calc(MEASURES, judged, run)}
    queries = [query for query in collection.queries if query in judged]
    return {str(m): [values.get((query, str(m)), 0.0) for query in queries] for m in MEASURES}


def parity(one: Rankings, other: Rankings) -> tuple[float, float]:
    """Returns the shares of queries whose rankings are the same, and the same but for the order of equal scores."""
    same = [[d.id for d in one[query]] == [d.id for d in other[query]] for query in one]
    alike = [_equal_but_for_ties(one[query], other[query]) for query in one]
    return sum(same) / len(same), sum(alike) / len(alike)


def main(
    name: Annotated[str, typer.Option("--collection", help="cranfield or cisi.")],
    data: Annotated[Path | None, typer.Option(help="The data folder (default: $RAG_COMPRESS_DATA).")] = None,
) -> None:
    """Measures every retriever on a collection and writes `eval/results/retrieval-<collection>.json`."""
    collection = read_collection(data_folder(data), name)
    parents = parents_of(collection)
    scores: dict[str, float] = {}
    samples: dict[str, list[float]] = {}
    for system, make in SYSTEMS.items():
        for measured, values in measure(rank(make(parents), collection), collection).items():
            scores[f"{system}: {measured}"] = 100 * sum(values) / len(values)
            samples[f"{system}: {measured}"] = values
    same, alike = parity(*(_top_10(collection, backend) for backend in ("bm25s", "rank-bm25")))
    scores |= {"parity: same top 10": 100 * same, "parity: same but for ties": 100 * alike}
    details = {"documents": len(collection.documents), "queries": len(collection.queries)}
    file = Result(f"python -m eval.retrieval --collection {name}", scores, details, samples).write(f"retrieval-{name}")
    Console().print(file.name, scores)


def _top_10(collection: Collection, backend: str) -> Rankings:
    retriever = BM25Retriever.from_documents(collection.documents, method="okapi", backend=backend)  # type: ignore[arg-type]
    return rank(retriever, collection, k=10)


def _equal_but_for_ties(one: Sequence[Document], other: Sequence[Document]) -> bool:
    """Returns whether both rankings have the same scores, and the same documents wherever a score is not tied.

    The lowest score may be tied with documents below the cut, so documents that have it need not be the same.
    """
    if len(one) != len(other) or any(not _near(a, b) for a, b in zip(one, other, strict=True)):
        return False
    above = ({d.id for d in ranking if not _near(d, ranking[-1])} for ranking in (one, other))
    return next(above) == next(above)


def _near(one: Document, other: Document) -> bool:
    return abs((one.score or 0) - (other.score or 0)) <= _SAME_SCORE * max(1.0, abs(one.score or 0))


if __name__ == "__main__":
    typer.run(main)
