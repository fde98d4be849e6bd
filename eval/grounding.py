"""Measures the grounding check on spoiled summaries: `python -m eval.grounding --set scitldr`.

Human summaries are taken as good, although some say what their source does not: of those whose every figure and
capitalised word stands somewhere in the source, the share that is rejected is told as well. For each way of
`eval.corruptions`, one sentence of each summary that has something to spoil is spoiled and checked alone against the
whole source; it is caught when the check rejects it.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from eval.corruptions import CORRUPTIONS, Material
from eval.datasets import data_folder
from eval.results import RESULTS, Out, Result, check_command, limited
from eval.summaries import SETS, SummaryRow, read_summaries
from eval.words import plain_words
from rag_compress.compressors import Grounding
from rag_compress.text import cut, sentences

LIMIT = 300
_MARK = re.compile(r"\d+|(?<![A-Za-z])[A-Z]\w*")


def pieces(text: str) -> list[str]:
    """Returns the sentences of a source."""
    return [text[start:end] for start, end in cut(text)]


def corrupted(rows: Sequence[SummaryRow], seed: int = 0) -> Iterator[tuple[str, SummaryRow, str]]:
    """Yields the kind of corruption, the row, and one of its summary's sentences spoiled; each kind once at most."""
    rng = random.Random(seed)  # noqa: S311 - nothing here is secret
    for i, row in enumerate(rows):
        summary = row.references[0]
        own = [summary[start:end] for start, end in sentences(summary)]
        elsewhere = rows[(i + len(rows) // 2) % len(rows)].references[0]
        other = [elsewhere[start:end] for start, end in sentences(elsewhere)]
        for kind, corrupt in CORRUPTIONS.items():
            material = Material(row.source, rng.choice(other) if other else "", rng)
            spoiled = [text for sentence in own if (text := corrupt(sentence, material)) and text != sentence]
            if spoiled:
                yield kind, row, rng.choice(spoiled)


def unsupported_share(texts: Sequence[str], sources: Sequence[str]) -> float:
    """Returns the share, in percent, of the words of texts that their sources do not hold."""
    missing = total = 0
    for text, source in zip(texts, sources, strict=True):
        known = set(plain_words(source))
        own = plain_words(text)
        missing += sum(word not in known for word in own)
        total += len(own)
    return 100 * missing / max(1, total)


def has_all_marks(sentence: str, source: str) -> bool:
    """Returns whether every figure and every capitalised word of a sentence, but its first, stands in the source."""
    return set(_MARK.findall(sentence[1:])) <= set(_MARK.findall(source))


def main(
    name: Annotated[str, typer.Option("--set", help=f"One of {', '.join(SETS)}.")],
    split: Annotated[str, typer.Option(help="test or dev.")] = "test",
    limit: Annotated[int, typer.Option(help="The most summaries.")] = LIMIT,
    data: Annotated[Path | None, typer.Option(help="The data folder (default: $RAG_COMPRESS_DATA).")] = None,
    out: Out = RESULTS,
) -> None:
    """Measures the check on one set and writes `grounding-<set>-<split>.json`."""
    command = f"python -m eval.grounding --set {name} --split {split}{limited(limit, LIMIT)}"
    stem = f"grounding-{name}-{split}"
    check_command(stem, command, out)
    rows = list(read_summaries(data_folder(data), name, split))[:limit]
    grounding = Grounding()
    sources = {row.id: pieces(row.source) for row in rows}
    good = [(verdict, row) for row in rows for verdict in grounding.check(row.references[0], sources[row.id])]
    faithful = [verdict for verdict, row in good if has_all_marks(verdict.text, row.source)]
    caught: defaultdict[str, list[float]] = defaultdict(list)
    before, after, texts = [], [], []
    for kind, row, spoiled in corrupted(rows):
        verdicts = grounding.check(spoiled, sources[row.id])
        caught[kind].append(float(not all(verdict.holds for verdict in verdicts)))
        before.append(spoiled)
        after.append(" ".join(verdict.text for verdict in verdicts if verdict.holds))
        texts.append(row.source)
    scores = {f"caught: {kind}": 100 * sum(values) / len(values) for kind, values in caught.items()}
    everything = [value for values in caught.values() for value in values]
    scores["caught: all"] = 100 * sum(everything) / len(everything)
    scores["good sentences rejected"] = 100 * sum(not verdict.holds for verdict, _ in good) / len(good)
    scores["of those with marks of the source only"] = 100 * sum(not v.holds for v in faithful) / len(faithful)
    scores["unsupported words, spoiled"] = unsupported_share(before, texts)
    scores["unsupported words, after the check"] = unsupported_share(after, texts)
    counts = {kind: len(values) for kind, values in caught.items()}
    result = Result(
        command=command,
        scores=scores,
        details={"check": repr(grounding), "summaries": len(rows), "good sentences": len(good), "spoiled": counts},
    )
    file = result.write(stem, out)
    Console().print(f"{file.name}: " + ", ".join(f"{key} {value:.1f}" for key, value in scores.items()))


if __name__ == "__main__":
    typer.run(main)
