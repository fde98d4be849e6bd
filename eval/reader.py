"""Measures what a reader can still answer from a compressed context: `python -m eval.reader --system classifier`.

The reader is trained once, by `python -m eval.reader --train`, on the training split of squad; its weights go into
`eval/cache/`. It then answers the questions of a set from the full context, from what the library's
`ExtractiveCompressor` keeps at a threshold, and from the gold passages alone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.console import Console

from eval import metrics
from eval.datasets import Question, data_folder, measured, read_questions, unanswerable
from eval.results import RESULTS, Out, Result, check_command
from eval.significance import bootstrap_interval
from eval.systems import SYSTEMS, minilm_folder, scorer_named
from eval.words import count_words
from rag_compress.compressors import ExtractiveCompressor
from rag_compress.selection import Selection

if TYPE_CHECKING:  # torch is only loaded when the reader runs
    from eval.reader_training import ReaderSchedule
    from eval.span_model import Answer, Reader

WEIGHTS = Path(__file__).parent / "cache" / "reader.pt"
CONTEXTS = ("full", "compressed", "gold")
_DEV = 300
_MEASURES = {"EM": metrics.exact_match, "F1": metrics.answer_f1}

Texts = list[list[str]]
"""For each question, what the reader sees of each of its passages."""


def full_texts(questions: Sequence[Question]) -> Texts:
    """Returns all passages whole."""
    return [[passage.text for passage in question.passages] for question in questions]


def gold_texts(questions: Sequence[Question]) -> Texts:
    """Returns the gold passages whole; nothing for an unanswerable question."""
    return [[passage.text for passage in question.passages if passage.gold] for question in questions]


def compressed_texts(compressor: ExtractiveCompressor, questions: Sequence[Question]) -> Texts:
    """Returns what the compressor keeps of each passage, its sentences joined by spaces."""
    texts: Texts = []
    for context in compressor([question.context for question in questions]):
        kept: dict[str, list[str]] = {}
        for segment in context.segments:
            kept.setdefault(segment.spans[0].doc_id, []).append(segment.text)
        texts.append([" ".join(sentences) for sentences in kept.values()])
    return texts


def answer_samples(
    questions: Sequence[Question], answers: Sequence[Answer], *, may_refuse: bool = False
) -> dict[str, list[float]]:
    """Returns exact match and F1 of each answer; with `may_refuse`, an answer below the null answer counts as none."""
    texts = ["" if may_refuse and answer.score < 0 else answer.text for answer in answers]
    return {
        name: [measure(text, question.answers) for text, question in zip(texts, questions, strict=True)]
        for name, measure in _MEASURES.items()
    }


def figures_of(samples: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Returns the means of all samples, and the differences of the contexts to the full one with their intervals.

    Differences are paired: the 95% bootstrap interval of the mean of single questions' differences.
    """
    figures = {name: 100 * float(np.mean(values)) for name, values in samples.items()}
    for measure in [name.removesuffix(" full") for name in samples if name.endswith(" full")]:
        for context in CONTEXTS[1:]:
            difference = np.subtract(samples[f"{measure} {context}"], samples[f"{measure} full"])
            low, high = bootstrap_interval(difference.tolist())
            name = f"{measure} {context} - full"
            figures |= {name: 100 * float(difference.mean()), f"{name}, low": 100 * low, f"{name}, high": 100 * high}
    return figures


def read_contexts(
    reader: Reader, compressor: ExtractiveCompressor, questions: Sequence[Question], without: Sequence[Question]
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Returns figures and samples of the reader on the three contexts.

    `F1 full` and its likes are of answerable questions, to which the reader must answer unless the context is empty;
    `all: F1 full` are of all, and there it may say that there is no answer.
    """
    everything = [*questions, *without]
    compressed = compressed_texts(compressor, everything)
    texts = dict(zip(CONTEXTS, (full_texts(everything), compressed, gold_texts(everything)), strict=True))
    samples: dict[str, list[float]] = {}
    for context, own in texts.items():
        answers = reader.read([question.query for question in everything], own)
        forced = answer_samples(questions, answers[: len(questions)])
        samples |= {f"{measure} {context}": values for measure, values in forced.items()}
        free = answer_samples(everything, answers, may_refuse=True) if without else {}
        samples |= {f"all: {measure} {context}": values for measure, values in free.items()}
    shares = [_words(kept) / max(1, _words(all_)) for kept, all_ in zip(compressed, texts["full"], strict=True)]
    return {"words kept": 100 * float(np.mean(shares[: len(questions)]))} | figures_of(samples), samples


def main(
    system: Annotated[str, typer.Option(help=f"One of {', '.join(SYSTEMS)}, or module:object.")] = "classifier",
    name: Annotated[str, typer.Option("--set", help="An evidence set with answers.")] = "squad",
    split: Annotated[str, typer.Option(help="test or dev.")] = "test",
    threshold: Annotated[float, typer.Option(help="What the compressor keeps at least; its default.")] = 0.02,
    limit: Annotated[int, typer.Option(help="The most answerable, and the most unanswerable questions.")] = 500,
    train: Annotated[bool, typer.Option("--train", help="Train the reader instead.")] = False,  # noqa: FBT002 - typer makes a flag of it
    steps: Annotated[int, typer.Option(help="Updates, when training.")] = 700,
    minutes: Annotated[float, typer.Option(help="The most minutes of training.")] = 15.0,
    threads: Annotated[int, typer.Option(help="Threads.")] = 2,
    data: Annotated[Path | None, typer.Option(help="The data folder (default: $RAG_COMPRESS_DATA).")] = None,
    out: Out = RESULTS,
) -> None:
    """Measures one system on one set, or trains the reader; writes `reader-….json`."""
    import torch

    from eval.reader_training import ReaderSchedule

    torch.set_num_threads(threads)
    folder = data_folder(data)
    if train:
        result, file = train_and_check(folder, ReaderSchedule(steps, minutes, threads=threads)), "reader-training"
    else:
        options = f"--threshold {threshold:g} --limit {limit}"
        command = f"python -m eval.reader --system {system} --set {name} --split {split} {options}"
        file = f"reader-{system}-{name}-{split}".replace(":", "-")
        check_command(file, command, out)
        questions = list(read_questions(folder, name, split))
        compressor = ExtractiveCompressor(scorer_named(system, questions), Selection(threshold=threshold))
        result = measure(compressor, questions, limit, command)
    written = result.write(file, out)
    Console().print(f"{written.name}: " + ", ".join(f"{key} {value:.1f}" for key, value in result.scores.items()))


def measure(compressor: ExtractiveCompressor, everything: Sequence[Question], limit: int, command: str) -> Result:
    """Returns the result of the trained reader on the questions that the figures are measured on.

    Raises:
        FileNotFoundError: The reader was not trained yet.
    """
    start = time.perf_counter()
    questions, without = measured(everything, limit), unanswerable(everything, limit)
    figures, samples = read_contexts(trained_reader(), compressor, questions, without)
    details = {"questions": len(questions), "unanswerable": len(without), "compressor": repr(compressor)}
    return Result(command, figures, details | {"seconds": round(time.perf_counter() - start, 1)}, samples)


def trained_reader(weights: Path = WEIGHTS) -> Reader:
    """Returns the reader with its weights.

    Raises:
        FileNotFoundError: It was not trained yet.
    """
    from eval.span_model import Reader

    if not weights.is_file():
        raise typer.BadParameter(f"There is no {weights}: train the reader with python -m eval.reader --train")
    return Reader.new(minilm_folder()).load(weights)


def train_and_check(data: Path, schedule: ReaderSchedule, weights: Path = WEIGHTS) -> Result:
    """Trains the reader on squad-train, writes its weights, and returns how well it reads squad-dev."""
    from eval.reader_training import train_reader
    from eval.span_model import Reader

    start = time.perf_counter()
    reader = Reader.new(minilm_folder())
    losses = train_reader(reader, list(read_questions(data, "squad", "train")), schedule)
    reader.save(weights)
    seconds = time.perf_counter() - start
    questions = measured(read_questions(data, "squad", "dev"), _DEV)
    answers = reader.read([question.query for question in questions], gold_texts(questions))
    samples = {f"{measure} gold": values for measure, values in answer_samples(questions, answers).items()}
    details = {"schedule": repr(schedule), "updates": len(losses), "seconds": round(seconds), "set": "squad-dev"}
    scores = figures_of(samples) | {"loss": float(np.mean(losses[-50:]))}
    command = f"python -m eval.reader --train --steps {schedule.steps} --minutes {schedule.minutes:g}"
    return Result(command, scores, details)


def _words(texts: Sequence[str]) -> int:
    return sum(map(count_words, texts))


if __name__ == "__main__":
    typer.run(main)
