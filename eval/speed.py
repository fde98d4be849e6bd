"""Compares the speed of our default with that of its peers, on a CPU: `python -m eval.speed`.

Each system runs in a process of its own, warm, on the same texts and as many threads. A peer and ours take turns run by
run, so that a machine that slows down does so for both; figures are medians, ratios those of medians of one duel.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import count as counting
from itertools import islice
from pathlib import Path
from statistics import median
from typing import IO, Annotated, Any, Protocol

import numpy as np
import typer
from rich.console import Console

from eval.datasets import Question, data_folder, read_questions
from eval.results import Result, machine
from eval.speed_floor import exponent, graph_seconds, matrix_rate, scaling
from eval.speed_systems import OURS, SYSTEMS, Run, tokens_in

COUNTS = (5, 20, 100)
SOME = "some"
"""The name of a result of only some systems."""
WORDS = 130
_LEAST, _MOST = 3, 30
"""Runs of one system with one number of passages."""
_PARTS = ("passages", "words", "sentences")


@dataclass(frozen=True)
class Texts:
    """What is compressed: run `i` asks another question of other passages, so that nothing can be remembered.

    Attributes:
        queries: Questions.
        passages: Passages of `WORDS` words.
    """

    queries: Sequence[str]
    passages: Sequence[str]

    @classmethod
    def of(cls, questions: Iterable[Question], words: int = WORDS) -> Texts:
        """Returns the texts of an evidence set: the beginnings of its passages that are long enough, each once."""
        questions = list(questions)
        found = dict.fromkeys(p.text for question in questions for p in question.passages)
        pieces = [" ".join(text.split()[:words]) for text in found if len(text.split()) >= words]
        return cls([question.query for question in questions], pieces)

    def task(self, number: int, count: int) -> tuple[str, list[str]]:
        """Returns the query and the passages of a run."""
        start = number * count
        passages = [self.passages[(start + i) % len(self.passages)] for i in range(count)]
        return self.queries[number % len(self.queries)], passages


class Timed(Protocol):
    """Runs tasks and says how long each takes."""

    def seconds(self, query: str, passages: Sequence[str]) -> float:
        """Returns the seconds that a system takes to compress the passages of a query."""
        ...


@dataclass
class Worker:
    """A system in a process of its own.

    Attributes:
        process: Answers each line of JSON on its standard input by one on its standard output.
        scale: By how much its seconds are multiplied.
        cold: Seconds from the start of the process to its first answer, about one passage.
    """

    process: subprocess.Popen[str]
    scale: float
    cold: float = 0.0

    def seconds(self, query: str, passages: Sequence[str]) -> float:
        """Returns the seconds of one run."""
        return float(self._ask({"query": query, "passages": list(passages)})["seconds"]) * self.scale

    def peak(self) -> float:
        """Returns the most MiB of memory that the process has used."""
        return float(self._ask({})["peak"])

    def _ask(self, task: Mapping[str, Any]) -> dict[str, Any]:
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("The process has no pipes")
        with suppress(BrokenPipeError):  # then there is no answer either
            print(json.dumps(task), file=self.process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self.process.stdout.readline() or "{}")
        if not answer:
            raise RuntimeError(f"The process ended with exit code {self.process.wait()}; its errors are above")
        return answer


@contextmanager
def started(name: str, threads: int, texts: Texts) -> Iterator[Worker]:
    """Starts a system's process and waits for its first answer; it ends when its standard input is closed."""
    command = [sys.executable, "-m", "eval.speed", "--worker", name, "--threads", str(threads)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONWARNINGS": "ignore"}
    start = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        worker = Worker(process, SYSTEMS[name].scale)
        try:
            worker.seconds(*texts.task(0, 1))
            worker.cold = time.perf_counter() - start
            yield worker
        finally:
            process.communicate()


def serve(run: Run, tasks: Iterable[str], answers: IO[str]) -> None:
    """Answers tasks: the seconds of a query's run, or for one without passages, the peak of the process's memory."""
    for line in tasks:
        task = json.loads(line)
        if "passages" in task:
            start = time.perf_counter()
            run(task["query"], task["passages"])
            answer = {"seconds": time.perf_counter() - start}
        else:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            answer = {"peak": peak / (1024 * 1024 if sys.platform == "darwin" else 1024)}
        print(json.dumps(answer), file=answers, flush=True)


def duel(
    ours: Timed, peer: Timed, texts: Texts, seconds: float, counts: Sequence[int] = COUNTS, first: int = 0
) -> dict[int, tuple[list[float], list[float]]]:
    """Returns the seconds of both for each number of passages, in turns.

    Each number gets about an equal share of the seconds; larger ones for which these are not enough are left out, the
    smallest never. Runs are counted from `first` on.
    """
    tasks = counting(first)
    for system in (ours, peer):
        system.seconds(*texts.task(next(tasks), 2))
    task = texts.task(next(tasks), 2)
    for_one = (ours.seconds(*task) + peer.seconds(*task)) / 2
    found: dict[int, tuple[list[float], list[float]]] = {}
    for count in counts:
        runs = int(seconds / len(counts) / max(1e-9, for_one * count))
        if found and for_one * count * _LEAST > seconds:
            break
        found[count] = ([], [])
        for number in islice(tasks, min(_MOST, max(_LEAST, runs))):
            for system, times in zip((ours, peer), found[count], strict=True):
                times.append(system.seconds(*texts.task(number, count)))
    return found


def figures_of(name: str, times: Mapping[int, Sequence[float]], tokens_a_passage: float) -> dict[str, float]:
    """Returns a system's figures: percentiles for each number of passages, and rates at the largest."""
    figures: dict[str, float] = {}
    for count, seconds in times.items():
        figures[f"{name}: p50 ms, {count}"] = 1000 * median(seconds)
        figures[f"{name}: p95 ms, {count}"] = 1000 * float(np.quantile(seconds, 0.95))
    largest = max(times)
    rate = largest / median(times[largest])
    return figures | {f"{name}: passages/s": rate, f"{name}: tokens/s": rate * tokens_a_passage}


def compare(names: Sequence[str], texts: Texts, threads: int, seconds: float) -> tuple[dict[str, float], list[str]]:
    """Returns the figures of ours and of the peers, and what could not be measured, with the reason."""
    a_passage = tokens_in(texts.passages[:50]) / len(texts.passages[:50])
    own: dict[int, list[float]] = {}
    figures: dict[str, float] = {}
    failed: list[str] = []
    with started(OURS, threads, texts) as ours:
        for i, name in enumerate(names):
            try:
                with started(name, threads, texts) as peer:
                    found = duel(ours, peer, texts, seconds, first=100 * i)
                    figures |= {f"{name}: cold start s": peer.cold, f"{name}: peak MiB": peer.peak()}
            except (RuntimeError, OSError) as error:
                failed.append(f"{name}: {error}")
                continue
            for count, (mine, _) in found.items():
                own.setdefault(count, []).extend(mine)
            figures |= figures_of(name, {count: theirs for count, (_, theirs) in found.items()}, a_passage)
            mine, theirs = found[max(found)]
            figures[f"{name}: times slower"] = median(theirs) / median(mine)
        if own:
            figures |= figures_of(OURS, own, a_passage)
        figures |= {f"{OURS}: cold start s": ours.cold, f"{OURS}: peak MiB": ours.peak()}
    return figures, failed


def floor_figures(texts: Texts, threads: int) -> dict[str, float]:
    """Returns the machine's rates, how near the graph alone comes, and what share of the time is spent in it."""
    query, passages = texts.task(3, 40)
    kinds = ("fp32", "torch fp32", "int8") if find_spec("torch") else ("fp32", "int8")
    rates = {kind: matrix_rate(kind, threads) for kind in kinds}
    seconds, operations, tokens = graph_seconds(query, passages, threads)
    return {
        **{f"floor: {kind} GFLOP/s": rate / 1e9 for kind, rate in rates.items() if kind != "int8"},
        "floor: int8 GOP/s": rates["int8"] / 1e9,
        "floor: passages/s": len(passages) * rates["int8"] / operations,
        "graph: passages/s": len(passages) / seconds,
        "graph: share of the int8 floor": 100 * operations / rates["int8"] / seconds,
        "graph: tokens a passage": tokens / len(passages),
        "outside the graph": 100 * max(0.0, _outside_the_graph(texts, threads)),
    }


def _outside_the_graph(texts: Texts, threads: int, repeats: int = 9) -> float:
    """Returns the median share of the time of ours that the graph alone does not take, over tasks run both ways."""
    run = SYSTEMS[OURS].build(threads)
    run(*texts.task(2, 5))
    tasks = [texts.task(3 + i, 40) for i in range(repeats)]
    return median(1 - graph_seconds(*task, threads, repeats=1)[0] / _seconds(run, *task) for task in tasks)


def scaling_figures(texts: Texts, threads: int) -> dict[str, float]:
    """Returns milliseconds of ours at each size, and the exponents: 1 is linear."""
    times = scaling(texts.passages, texts.queries[0], threads)
    figures = {f"{part}: ms at {size}": ms for part in _PARTS for size, ms in times[part].items()}
    return figures | {f"{part}: exponent": exponent(times[part]) for part in _PARTS}


def main(
    only: Annotated[str, typer.Option(help="Only systems whose name matches this regular expression.")] = "",
    threads: Annotated[int, typer.Option(help="Threads of each system.")] = os.cpu_count() or 1,
    seconds: Annotated[float, typer.Option(help="About how long each duel takes.")] = 30.0,
    data: Annotated[Path | None, typer.Option(help="The data folder (default: $RAG_COMPRESS_DATA).")] = None,
    name: Annotated[str, typer.Option(help="Write `speed-NAME.json`: the same on another machine.")] = "",
    worker: Annotated[str, typer.Option(help="Be this system's process.", hidden=True)] = "",
) -> None:
    """Measures all systems and writes `eval/results/speed.json`; with `--only` alone, `speed-some.json`."""
    if worker:
        be_worker(worker, threads)
        return
    texts = Texts.of(read_questions(data_folder(data), "squad", "test"))
    names = [system for system in SYSTEMS if system != OURS and re.search(only, system)]
    figures, failed = compare(names, texts, threads, seconds)
    figures |= floor_figures(texts, threads) | scaling_figures(texts, threads)
    details = {
        "machine": machine(),
        "threads": threads,
        "words a passage": WORDS,
        "systems": {system: [SYSTEMS[system].title, SYSTEMS[system].weights] for system in (OURS, *names)},
        "not measured": failed,
    }
    command = "python -m eval.speed" + (f" --only '{only}'" if only else "") + (f" --name {name}" if name else "")
    name = name or (SOME if only else "")
    file = Result(command, figures, details).write(f"speed-{name}" if name else "speed")
    Console().print(file.name, figures, details)


def be_worker(name: str, threads: int) -> None:
    """Serves a system on standard input and output; what the system itself prints goes to standard error."""
    answers, sys.stdout = sys.stdout, sys.stderr
    serve(SYSTEMS[name].build(threads), sys.stdin, answers)


def _seconds(run: Run, query: str, passages: Sequence[str]) -> float:
    start = time.perf_counter()
    run(query, passages)
    return time.perf_counter() - start


if __name__ == "__main__":
    typer.run(main)
