"""Compares the two backends of BM25 on 100,000 passages: `python -m eval.index_speed`.

Each backend runs in its own process, so that its peak memory is its own; the passages are consecutive runs of 100
words of plain text, the queries real questions.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from eval.datasets import data_folder, measured, read_questions, read_texts
from eval.results import Result, machine
from rag_compress.retrievers import BM25Retriever
from rag_compress.types import Document
from rag_compress.words import words

BACKENDS = ("bm25s", "rank-bm25")
_TEXTS = ("peps", "techdocs", "books")
_WORDS = 100


def passages(data: Path, count: int) -> Iterator[Document]:
    """Yields passages of 100 words, from the first documents of the text files on."""
    texts = chain.from_iterable(read_texts(data, name) for name in _TEXTS)
    pieces = (piece for text in texts for piece in _pieces(text))
    for i, piece in enumerate(islice(pieces, count)):
        yield Document(str(i), piece)


def measure(backend: str, data: Path, documents: int, queries: int) -> dict[str, float]:
    """Returns seconds to index, milliseconds for a query (median), and MiB of memory at the peak, for one backend."""
    corpus = list(passages(data, documents))
    asked = [question.query for question in measured(read_questions(data, "squad", "test"), queries)]
    before = _peak()
    start = time.perf_counter()
    method: Any = "lucene" if backend == "bm25s" else "okapi"
    retriever = BM25Retriever.from_documents(corpus, method=method, backend=backend)  # type: ignore[arg-type]
    index_seconds = time.perf_counter() - start
    times = [_seconds(retriever, query) for query in asked]
    return {
        "documents": len(corpus),
        "index s": index_seconds,
        "query ms": 1000 * statistics.median(times),
        "query ms, 95th percentile": 1000 * statistics.quantiles(times, n=20)[-1],
        "peak MiB": _peak(),
        "peak MiB before indexing": before,
    }


def main(
    data: Annotated[Path | None, typer.Option(help="The data folder (default: $RAG_COMPRESS_DATA).")] = None,
    documents: Annotated[int, typer.Option(help="How many passages to index.")] = 100_000,
    queries: Annotated[int, typer.Option(help="How many questions to ask.")] = 200,
    backend: Annotated[str, typer.Option(help="Measure one backend here and print JSON.")] = "",
) -> None:
    """Measures both backends and writes `eval/results/index-speed.json`."""
    folder = data_folder(data)
    if backend:
        print(json.dumps(measure(backend, folder, documents, queries)))
        return
    found = {name: _measure_apart(name, folder, documents, queries) for name in BACKENDS}
    scores = {f"{name}: {key}": value for name, figures in found.items() for key, value in figures.items()}
    ours, theirs = (found[name] for name in BACKENDS)
    scores |= {f"ratio: {key}": theirs[key] / ours[key] for key in ("index s", "query ms", "peak MiB")}
    words_seconds = _seconds_for_words(folder, documents)
    details = {"words s": round(words_seconds, 1), "machine": machine()}
    file = Result("python -m eval.index_speed", scores, details).write("index-speed")
    Console().print(file.name, scores, details)


def _pieces(text: str) -> Iterator[str]:
    found = text.split()
    for start in range(0, len(found) - _WORDS + 1, _WORDS):
        yield " ".join(found[start : start + _WORDS])


def _measure_apart(backend: str, data: Path, documents: int, queries: int) -> dict[str, float]:
    options = ["--backend", backend, "--documents", str(documents), "--queries", str(queries), "--data", str(data)]
    child = subprocess.run([sys.executable, "-m", "eval.index_speed", *options], capture_output=True, check=True)
    figures: dict[str, float] = json.loads(child.stdout)
    return figures


def _seconds(retriever: BM25Retriever, query: str) -> float:
    start = time.perf_counter()
    retriever.retrieve([query])
    return time.perf_counter() - start


def _seconds_for_words(data: Path, documents: int) -> float:
    """Returns how long turning the passages into words takes, a part of indexing that both backends share."""
    corpus = list(passages(data, documents))
    start = time.perf_counter()
    for document in corpus:
        words(document.text)
    return time.perf_counter() - start


def _peak() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    typer.run(main)
