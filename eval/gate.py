"""Measures when nothing should be kept: `python -m eval.gate --set squad`.

Each question meets its own passages, and those of a question on something else. A gate should let the first through
and hold back the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from eval.datasets import Question, data_folder, measured, read_questions
from eval.metrics import auroc
from eval.results import RESULTS, Out, Result, check_command, limited
from rag_compress.compressors import RelevanceGate
from rag_compress.types import Context, Document

LIMIT = 200
THRESHOLDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
_FOREIGN = 5
"""The most passages of another question."""


def foreign(questions: Sequence[Question]) -> list[Context]:
    """Returns each question with passages of another one, none of whose titles is among its own.

    Raises:
        ValueError: The passages of all questions have titles in common with those of one of them.
    """
    return [_elsewhere(questions, place) for place in range(len(questions))]


def _elsewhere(questions: Sequence[Question], place: int) -> Context:
    own = {passage.title for passage in questions[place].passages}
    for step in range(len(questions)):
        other = questions[(place + len(questions) // 2 + step) % len(questions)].passages[:_FOREIGN]
        if own.isdisjoint(passage.title for passage in other):
            documents = [Document(str(i), p.text, p.title) for i, p in enumerate(other)]
            return Context.whole(questions[place].query, documents)
    raise ValueError(f"Every question is on the same matter as {questions[place].id}")


def seen(contexts: Sequence[Context], gate: RelevanceGate) -> list[float]:
    """Returns what the gate compares with its threshold, for each context."""
    return [float(context.notes["gate"]["relevance"]) for context in gate(contexts)]


def figures(own: Sequence[float], other: Sequence[float]) -> dict[str, float]:
    """Returns the AUROC, and for each threshold the share of contexts that it empties, in percent."""
    scores = {"AUROC": 100 * auroc([*own, *other], [True] * len(own) + [False] * len(other))}
    for threshold in THRESHOLDS:
        for name, values in (("answerable", own), ("foreign", other)):
            scores[f"empty at {threshold:g}, {name}"] = 100 * sum(v < threshold for v in values) / len(values)
    return scores


def main(
    name: Annotated[str, typer.Option("--set", help="An evidence set whose passages have titles.")],
    split: Annotated[str, typer.Option(help="test or dev.")] = "test",
    limit: Annotated[int, typer.Option(help="The most questions.")] = LIMIT,
    data: Annotated[Path | None, typer.Option(help="The data folder (default: $RAG_COMPRESS_DATA).")] = None,
    out: Out = RESULTS,
) -> None:
    """Measures the gate on one set and writes `gate-<set>-<split>.json`."""
    command = f"python -m eval.gate --set {name} --split {split}{limited(limit, LIMIT)}"
    stem = f"gate-{name}-{split}"
    check_command(stem, command, out)
    questions = measured(read_questions(data_folder(data), name, split), limit)
    gate = RelevanceGate()
    scores = figures(seen([question.context for question in questions], gate), seen(foreign(questions), gate))
    result = Result(
        command=command,
        scores=scores,
        details={"questions": len(questions), "default threshold": gate.threshold},
    )
    file = result.write(stem, out)
    Console().print(f"{file.name}: " + ", ".join(f"{key} {value:.1f}" for key, value in scores.items()))


if __name__ == "__main__":
    typer.run(main)
