"""Reads the summary sets, and writes one split for training: `python -m eval.summaries --set wikisplit --out FILE`."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from eval.datasets import data_folder

SETS = {"gsc": "google-sentence-compression", "wikisplit": "wikisplit", "scitldr": "scitldr", "squality": "squality"}


class SummaryRow(NamedTuple):
    """A text with reference summaries.

    Attributes:
        id: Unique in its set.
        query: What the summaries answer; empty for summaries of the text as it is.
        source: The text.
        references: One or more summaries.
        licence: Of this line.
    """

    id: str
    query: str
    source: str
    references: tuple[str, ...]
    licence: str


def read_summaries(folder: Path, name: str, split: str) -> Iterator[SummaryRow]:
    """Yields the rows of one split of a summary set, in the order of the file."""
    with gzip.open(folder / "summaries" / f"{SETS[name]}.jsonl.gz", "rt", encoding="utf-8") as file:
        for record in map(json.loads, file):
            if record["split"] == split:
                yield SummaryRow(
                    record["id"],
                    record["query"] or "",
                    record["source"],
                    tuple(record["summaries"]),
                    record["licence"],
                )


def main(
    name: Annotated[str, typer.Option("--set", help=f"One of {', '.join(SETS)}.")],
    out: Annotated[Path, typer.Option(help="The .jsonl file to write.")],
    split: Annotated[str, typer.Option(help="train, dev or test.")] = "train",
    data: Annotated[Path | None, typer.Option(help="The data folder (default: $RAG_COMPRESS_DATA).")] = None,
) -> None:
    """Writes one split as training data for `rag-compress train summarizer`."""
    out.parent.mkdir(parents=True, exist_ok=True)
    rows = read_summaries(data_folder(data), name, split)
    lines = [{"query": r.query, "documents": [r.source], "summaries": r.references, "licence": r.licence} for r in rows]
    out.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
