"""Ends jobs with `kill -9` at random moments, resumes them, and holds the result against that of an undisturbed run.

Every run is a process of its own, forked from one that has imported everything: it costs no more than its work, and
the moments fall into the work and not into its start. With Ray the cluster outlives the command that is killed.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from eval.stores import KINDS, Documents, Made

QUERY = "What does the program return when the file cannot be read?"
ENGINES = ("local", "ray")
MODES: dict[str, list[list[str]]] = {
    "column": [[]],
    "sidecar": [["--write-mode", "sidecar"]],
    "replace": [["--write-mode", "replace", "--yes"]],
    "shards": [["--shard", "0/2"], ["--shard", "1/2"]],
}
"""Options by mode: of each command that has to run."""
_PROCESSES = get_context("forkserver")
_PROCESSES.set_forkserver_preload(
    ["eval.index_speed", "eval.results", "rag_compress.cli.app", "rag_compress.cli.batch"]
)


@dataclass(frozen=True)
class Trial:
    """A job over a kind of store, to be killed.

    Attributes:
        store: The name of the kind.
        texts: The documents.
        ways: Options of the engine, each tried in turns; the job must come to the same whichever resumes it.
        mode: One of `MODES`.
    """

    store: str
    texts: Documents
    ways: Sequence[Sequence[str]]
    mode: str = "column"

    def killed(self, kills: int, draw: random.Random) -> float:
        """Kills runs so many times; returns how many rows, in percent, were in the end as undisturbed, at the least.

        A moment is drawn from the seconds that an undisturbed run takes; of shards, for one of them. A store is resumed
        until a run ends before its moment; then what is left is run to its end, and the next store is made.

        Raises:
            RuntimeError: A run failed, or runs end too soon to be killed.
        """
        shares: list[float] = []
        with tempfile.TemporaryDirectory() as place:
            measured = [self._undisturbed(Path(place) / f"whole-{i}", way) for i, way in enumerate(self.ways)]
            wanted = measured[0][1]
            for number in range(20 * kills):
                way, (seconds, _) = self.ways[number % len(self.ways)], measured[number % len(self.ways)]
                folder = Path(place) / str(number)
                commands = self._commands(self._made(folder), folder, way)
                ended = False
                while kills and not ended:
                    ended = _ends(draw.choice(commands), draw.uniform(0, seconds / len(commands)))
                    kills -= not ended
                for command in commands:
                    _ends(command)
                shares.append(_share_same(_exported(folder), wanted))
                if not kills:
                    return min(shares, default=100.0)
        raise RuntimeError(f"{self.store}: the runs end before they can be killed; give more documents")

    def _undisturbed(self, folder: Path, way: Sequence[str]) -> tuple[float, list[dict[str, Any]]]:
        commands = self._commands(self._made(folder), folder, way)
        start = time.perf_counter()
        for command in commands:
            _ends(command)
        return time.perf_counter() - start, _exported(folder)

    def _made(self, folder: Path) -> Made:
        folder.mkdir()
        return KINDS[self.store].make(folder, self.texts)

    def _commands(self, made: Made, folder: Path, way: Sequence[str]) -> list[list[str]]:
        table = ["--table", made.table] if made.table else []
        method = ["--method", "lexical", "--query", QUERY, "--part-rows", "10", "--progress", "none"]
        return [["run", made.address, str(folder / "out"), *table, *method, *way, *each] for each in MODES[self.mode]]


@contextmanager
def engine_ways(engine: str) -> Iterator[list[list[str]]]:
    """Yields the options for an engine: one worker and two; for Ray, which is started here, two."""
    if engine == "local":
        yield [["--workers", "1"], ["--workers", "2"]]
        return
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # a killed command's actors are there for a moment longer, so there is room for theirs and those of the next
    context = ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        yield [["--engine", "ray", "--address", context.address_info["gcs_address"], "--workers", "2"]]
    finally:
        ray.shutdown()


def _ends(command: Sequence[str], seconds: float | None = None) -> bool:
    """Runs a command and kills it after so many seconds; returns whether it had ended by itself.

    Raises:
        RuntimeError: It had ended with an error.
    """
    process = _PROCESSES.Process(target=_run, args=(list(command),))
    process.start()
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
        return False
    if process.exitcode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.exitcode}")
    return True


def _run(arguments: list[str]) -> None:
    """Is the command line, and says nothing."""
    from rag_compress.cli import main

    silent = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silent, stream)
    sys.argv = ["rag-compress", *arguments]
    main()


def _exported(folder: Path) -> list[dict[str, Any]]:
    """Returns the results by id."""
    _ends(["export", str(folder / "out"), str(folder / "results.jsonl")])
    lines = (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()
    return sorted((json.loads(line) for line in lines), key=lambda row: int(row["id"]))


def _share_same(found: Sequence[dict[str, Any]], wanted: Sequence[dict[str, Any]]) -> float:
    """Returns the percentage of rows that are the same; one too many counts against it."""
    same = sum(a == b for a, b in zip(found, wanted, strict=False))
    return 100 * same / max(len(found), len(wanted), 1)
