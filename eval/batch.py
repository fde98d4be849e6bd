"""Measures jobs over whole stores: `python -m eval.batch speed | kill | stores`.

`speed` has rows per second, peak memory and what the promise costs; `kill` ends runs with `kill -9` at random moments
and holds what the resumed run leaves against an undisturbed one; `stores` reprocesses 3,000 documents in every store.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice, product
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from eval.datasets import data_folder
from eval.index_speed import passages
from eval.kills import ENGINES, MODES, QUERY, Trial, engine_ways
from eval.results import Result, find_result, machine
from eval.stores import KINDS, Made
from rag_compress.batch.inputs import Input
from rag_compress.batch.worker import Worker


def _known(name: str) -> str:
    if name and name not in (*KINDS, *ENGINES, *MODES):
        raise typer.BadParameter(f"{name}: one of {', '.join((*KINDS, *ENGINES, *MODES))}")
    return name


Store = Annotated[str, typer.Option(help="One kind of store.", callback=_known)]
app = typer.Typer(no_args_is_help=True, help="Measures jobs over whole stores.")
_RUN = [sys.executable, "-m", "rag_compress", "run"]
_LEXICAL = ["--method", "lexical", "--query", QUERY]
_MINUTE = 60

Data = Annotated[Path | None, typer.Option(help="The data folder (default: $RAG_COMPRESS_DATA).")]


@app.command()
def speed(
    data: Data = None,
    rows: Annotated[str, typer.Option(help="How many rows the lexical scorer gets.")] = "10000,100000,1000000",
    classifier_rows: Annotated[int, typer.Option(help="How many rows the classifier gets.")] = 20_000,
    overhead_rows: Annotated[int, typer.Option(help="How many rows a plain loop gets.")] = 20_000,
) -> None:
    """Measures rows per second, peak memory and overhead; writes `batch-speed.json`."""
    scores: dict[str, float] = {}
    folder, counts = data_folder(data), [int(count) for count in rows.split(",")]
    with tempfile.TemporaryDirectory() as place:
        for method, count in [*(("lexical", count) for count in counts), ("classifier", classifier_rows)]:
            source = _write(folder, Path(place) / "docs.jsonl", count)
            options = ["--method", method, "--query", QUERY, "--progress", "none", "--restart"]
            seconds, peak, early = _measured([*_RUN, str(source), f"{place}/out", *options])
            scores[f"{method}, {count:,} rows: rows/s"] = count / seconds
            scores[f"{method}, {count:,} rows: peak MiB"] = peak
            scores[f"{method}, {count:,} rows: peak MiB of the first minute"] = early
            Console(stderr=True).print(method, count, seconds, peak, early)
        source = _write(folder, Path(place) / "docs.jsonl", overhead_rows)
        scores["overhead of the promise, %"] = _overhead(source, Path(place))
    if len(counts) > 1:
        low, high = (scores[f"lexical, {count:,} rows: peak MiB"] for count in (min(counts), max(counts)))
        scores["lexical: peak MiB, most rows over fewest"] = high / low
        scores["lexical, most rows: peak, the whole run over its first minute"] = (
            high / scores[f"lexical, {max(counts):,} rows: peak MiB of the first minute"]
        )
    _report("speed", scores)


@app.command()
def kill(
    kills: Annotated[int, typer.Option(help="How often runs over each store are killed.")] = 30,
    documents: Annotated[int, typer.Option(help="How many documents a store has.")] = 400,
    store: Store = "",
    engine: Annotated[str, typer.Option(help="local or ray: one of them.", callback=_known)] = "",
    mode: Annotated[str, typer.Option(help="column, sidecar, replace or shards: one of them.", callback=_known)] = "",
    data: Data = None,
) -> None:
    """Kills runs at random moments and resumes them, with Ray in one mode; adds its figures to `batch-kill.json`."""
    texts = _texts(data_folder(data), documents)
    for each in [name for name in ENGINES if engine in ("", name)]:
        with engine_ways(each) as ways:
            modes = [name for name in MODES if mode in ("", name) and (each == "local" or name == "column")]
            for name, way in product([store] if store else KINDS, modes):
                start = time.perf_counter()
                key = name + (f" on {each}" if each != "local" else "") + (f", {way}" if way != "column" else "")
                same = Trial(name, texts, ways, way).killed(kills, random.Random(key))  # noqa: S311 - moments
                scores = {f"{key}: kills": float(kills), f"{key}: rows as undisturbed, %": same}
                _report("kill", {**scores, f"{key}: s": time.perf_counter() - start}, merge=True)


@app.command()
def stores(
    documents: Annotated[int, typer.Option(help="How many documents a store has.")] = 3000,
    store: Store = "",
    data: Data = None,
) -> None:
    """Reprocesses real documents in every store, twice, and after a change; adds its figures to `batch-stores.json`."""
    texts = _texts(data_folder(data), documents)
    for name in [store] if store else KINDS:
        figures = _reprocessed(name, texts)
        _report("stores", {f"{name}: {key}": value for key, value in figures.items()}, merge=True)


def _report(command: str, scores: dict[str, float], *, merge: bool = False) -> None:
    """Writes and prints figures; `merge` adds them to those that are there, of other stores or engines."""
    Console().print(command, scores)
    earlier = find_result(f"batch-{command}") if merge else None
    known = dict(earlier.scores) if earlier else {}
    Result(f"python -m eval.batch {command}", known | scores, {"machine": machine()}).write(f"batch-{command}")


def _reprocessed(name: str, texts: dict[int, str | None]) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as place:
        made = KINDS[name].make(Path(place), texts)
        start = time.perf_counter()
        _run(made, f"{place}/out")
        seconds = time.perf_counter() - start
        right = _share_right(_exported(f"{place}/out"), texts)
        second = _computed(made, f"{place}/out")
        made.write({7: "The program returns an error when the file cannot be read. Nothing else."})
        changed = _computed(made, f"{place}/out")
        verified = (
            subprocess.run([*_RUN[:-1], "verify", f"{place}/out"], capture_output=True, check=False).returncode == 0
        )
    figures = {"rows right, %": right, "second run computes": second, "after one change": changed}
    return {**figures, "verified": 100.0 * verified, "s": seconds}


def _command(made: Made, out: str, *options: str) -> list[str]:
    table = ["--table", made.table] if made.table else []
    return [*_RUN, made.address, out, *_LEXICAL, *table, "--progress", "none", *options]


def _run(made: Made, out: str, *options: str) -> None:
    subprocess.run(_command(made, out, *options), check=True, stderr=subprocess.DEVNULL)


def _exported(out: str) -> list[dict[str, Any]]:
    """Returns the results, by id."""
    lines = subprocess.run([*_RUN[:-1], "export", out, "-"], check=True, capture_output=True).stdout.splitlines()
    return sorted((json.loads(line) for line in lines), key=lambda row: int(row["id"]))


def _computed(made: Made, out: str) -> int:
    """Runs a job and returns how many rows that computed."""
    command = [*_command(made, out), "--progress", "json"]
    events = subprocess.run(command, check=True, capture_output=True, text=True).stderr.splitlines()
    return int(json.loads([line for line in events if line.startswith("{")][-1])["computed"])


def _share_right(found: Sequence[dict[str, Any]], texts: dict[int, str | None]) -> float:
    """Returns the percentage of documents that have, once, what the compressor makes of them one by one."""
    worker = Worker("lexical")
    by_id = {int(row["id"]): row["text"] for row in found}
    right = sum(worker([_input(text or "")])[0].value == by_id.get(i) for i, text in texts.items())
    return 100 * right / len(texts) if len(found) == len(texts) else 0.0


def _overhead(source: Path, place: Path) -> float:
    """Returns how much longer a job takes than a plain loop, in percent: the best of five each, in turns."""
    _plain(source, place)  # loads what both need
    pairs = [(_plain(source, place), _with_promise(source, place)) for _ in range(5)]
    return 100 * (min(promise for _, promise in pairs) / min(plain for plain, _ in pairs) - 1)


def _plain(source: Path, place: Path) -> float:
    """Returns the seconds of a loop that reads, compresses and writes the same rows and promises nothing."""
    worker, start = Worker("lexical"), time.perf_counter()
    with source.open() as lines, (place / "plain.jsonl").open("w") as out:
        while batch := [json.loads(line) for line in islice(lines, 1000)]:
            outcomes = worker([_input(row["text"]) for row in batch])
            for row, outcome in zip(batch, outcomes, strict=True):
                out.write(json.dumps({**row, "compressed": outcome.value, "tokens": outcome.tokens}) + "\n")
    return time.perf_counter() - start


def _with_promise(source: Path, place: Path) -> float:
    """Returns the seconds of a job over the same rows, in one process like the loop, without starting it."""
    from rag_compress.batch.engines import LocalEngine
    from rag_compress.batch.folder import JobFolder
    from rag_compress.batch.job import Job
    from rag_compress.batch.run import Run
    from rag_compress.stores import open_store

    job = Job(str(source), Worker("lexical"), query=QUERY)
    store = open_store(job.source, None, job.columns)
    return Run(job, store, JobFolder(str(place / "promise")), LocalEngine(workers=1))(restart=True).seconds


def _input(text: str) -> Input:
    return Input(QUERY, (("", text),), listed=False)


def _texts(data: Path, count: int) -> dict[int, str | None]:
    return {i: document.text for i, document in enumerate(passages(data, count))}


def _write(data: Path, file: Path, count: int) -> Path:
    """Writes passages of 100 words as JSON lines; when there are not enough they come again."""
    texts = [document.text for document in passages(data, min(count, 100_000))]
    with file.open("w", encoding="utf-8") as out:
        for i, text in enumerate(islice(cycle(texts), count)):
            out.write(json.dumps({"id": i, "text": text}) + "\n")
    return file


def _measured(command: Sequence[str]) -> tuple[float, float, float]:
    """Returns the seconds of a command, and the peak MiB of all its processes together, looked at every 0.2 s.

    The last is the peak of its first minute, in which processes fill their caches.
    """
    start, peak, early = time.perf_counter(), 0.0, 0.0
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, sum(map(_resident, _family(process.pid))))
            early = peak if time.perf_counter() - start < _MINUTE else early
            time.sleep(0.2)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return time.perf_counter() - start, peak, early


def _family(pid: int) -> Iterator[int]:
    """Yields a process and those that it started, as Linux lists them."""
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from _family(int(child))


def _resident(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) / 1024


if __name__ == "__main__":
    app()
