"""`rag-compress run`, `status`, `verify` and `export`: whole document stores."""

from __future__ import annotations

import json
import os
import signal
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table

from rag_compress.batch.engines import Engine, LocalEngine
from rag_compress.batch.folder import JobFolder
from rag_compress.batch.job import Job
from rag_compress.batch.methods import resolve
from rag_compress.batch.read import check_job, job_of, results, unfinished, whole_tally
from rag_compress.batch.report import render_report
from rag_compress.batch.run import Progress, Run
from rag_compress.batch.tally import Tally
from rag_compress.batch.worker import Worker
from rag_compress.checks import check_count
from rag_compress.cli import FAILED, SKIPPED
from rag_compress.cli.view import stderr, stdout, to_json, visible
from rag_compress.errors import InvalidInput, JobError, TooManyErrors, counted
from rag_compress.stores import absolute, open_store
from rag_compress.stores.files import compressing
from rag_compress.stores.protocol import Columns, WriteMode
from rag_compress.whole import written_whole

E = TypeVar("E", bound=Enum)


class ProgressKind(StrEnum):
    """How progress is shown: `auto` is a bar on a terminal and nothing elsewhere."""

    auto = "auto"
    json = "json"
    none = "none"


class EngineKind(StrEnum):
    """Where the work is done."""

    local = "local"
    ray = "ray"


@dataclass(frozen=True)
class Settings:
    """What decides the result, from flags and the file of `--config`; `None`: not given."""

    table: str | None = None
    text_col: str | None = None
    id_col: str | None = None
    title_col: str | None = None
    query_col: str | None = None
    out_col: str | None = None
    query: str | None = None
    method: str | None = None
    tokenizer: str | None = None
    write_mode: str | None = None
    part_rows: int | None = None

    def job(self, source: str, options: Mapping[str, Any]) -> Job:
        """Returns the job; what is not given has its default."""
        names = {"text": self.text_col, "id": self.id_col, "title": self.title_col, "query": self.query_col}
        columns = Columns(**{k: v for k, v in {**names, "out": self.out_col}.items() if v is not None})
        worker = Worker(resolve(self.method or "extractive"), dict(options), self.tokenizer)
        if self.part_rows is not None:
            check_count("part_rows", self.part_rows, least=1)
        mode = choice(WriteMode, self.write_mode or WriteMode.column.value)
        return Job(source, worker, columns, self.query, self.table, mode, self.part_rows)


@dataclass(frozen=True)
class Execution:
    """How a run is carried out; decides nothing about the result."""

    engine: EngineKind
    workers: int | None
    gpus: float
    address: str | None
    shard: str
    max_errors: int | None
    progress: ProgressKind
    restart: bool
    yes: bool


def run_job(
    source: str, out: str, given: Mapping[str, Any], options: Mapping[str, Any], config: Path | None, how: Execution
) -> None:
    """Runs or resumes a job; ends with exit code 3 when rows failed."""
    settings, all_options = _merged(given, options, config)
    job = settings.job(absolute(source), all_options)
    if job.mode is WriteMode.replace and not how.yes:
        raise InvalidInput("--write-mode replace overwrites the originals: say --yes as well")
    folder = JobFolder(out, _shard(how.shard))
    store = open_store(job.source, job.table, job.columns)
    failure: TooManyErrors | None = None
    with _watching(how.progress) as watch:
        run = Run(job, store, folder, _engine(how), _shard(how.shard), how.max_errors, watch)
        try:
            with _stoppable(run):
                run(restart=how.restart)
        except TooManyErrors as error:
            failure = error
    report = folder.write_report(render_report(job.settings, whole_tally(folder), folder.finished()))
    _conclude(run, report, how)
    if failure is not None:
        raise failure
    if run.stopped:
        raise KeyboardInterrupt
    if run.progress.tally.errors:
        sys.exit(SKIPPED)


def _conclude(run: Run, report: str, how: Execution) -> None:
    """Prints what a run has come to, and where the report is."""
    progress = run.progress
    if how.progress is ProgressKind.json:
        _print_event({**_event(progress), "event": "end", "stopped": run.stopped, "report": report})
        return
    figures = {
        "computed now": f"{progress.tally.fresh:,}",
        "this run": f"{progress.seconds:,.1f} s",
        "rows/s": f"{progress.rows_per_second:,.0f}",
    }
    _show(progress.tally, figures)
    stderr.print(f"report: {report}", markup=False, soft_wrap=True)
    if run.stopped:
        without = " without --restart" if how.restart else ""
        stderr.print(f"stopped: the same command{without} goes on from here", style="yellow")


def show_status(out: str, *, as_json: bool) -> None:
    """Prints how far a job is."""
    folder = JobFolder(out)
    settings, tally = job_of(folder), whole_tally(folder)
    shards = sorted(tuple(each["shard"]) for each in folder.finished())
    finished = not list(unfinished(folder))
    if as_json:
        record = {"finished": finished, "shards_finished": shards, "job": settings, **tally.to_json()}
        sys.stdout.write(to_json(record) + "\n")
        return
    stdout.print(f"{settings['method']} over {settings['source']}", markup=False)
    stdout.print("finished" if finished else "not finished: run the same command again to go on")
    _show(tally, {}, stdout)
    for row, error in tally.failed:
        stdout.print(visible(f"{row}: {error}"), markup=False)


def verify_job(out: str, source: str | None) -> None:
    """Checks everything that a job has written; ends with exit code 1 if anything is wrong."""
    problems = 0
    for problem in check_job(JobFolder(out), source):
        problems += 1
        stdout.print(problem, markup=False)
    if problems:
        stderr.print(f"[bold red]{counted(problems, 'problem')}[/]: run the job again, or with --restart")
        sys.exit(FAILED)
    stderr.print("all parts are there and as they were written", style="green")


def export_results(out: str, target: str, source: str | None) -> None:
    """Writes a line with id and text for each result, to a file or to standard output (`-`)."""
    folder = JobFolder(out)
    lines = (f"{to_json({'id': row.id, 'text': row.value})}\n".encode() for row in results(folder, source))
    try:
        with nullcontext(sys.stdout.buffer) if target == "-" else _opened(Path(target).resolve(), out) as file:
            for line in lines:
                file.write(line)
    except BrokenPipeError:  # its reader has gone
        raise
    except OSError as error:
        raise JobError(f"{target} cannot be written: {error.strerror or error}") from error
    missing = list(unfinished(folder))
    if missing:
        stderr.print(f"only what is finished was written: {'; '.join(missing)}", style="yellow", markup=False)
    if failed := whole_tally(folder).errors:
        stderr.print(f"{counted(failed, 'row')} failed, without a result: see `rag-compress status`", style="yellow")
    if missing or failed:
        sys.exit(SKIPPED)


@contextmanager
def _opened(path: Path, folder: str) -> Iterator[BinaryIO]:
    """Opens a file for results, compressed if its name says so."""
    root = Path(folder).resolve()
    if path.is_relative_to(root / "_job") or (path.parent == root and path.name.startswith("part-")):
        raise InvalidInput(f"{path} is one of the job's own files: choose another name")
    is_device = path.exists() and not path.is_file()  # or a pipe
    with path.open("wb") if is_device else written_whole(path) as file, compressing(file, path.name) as compressed:
        yield compressed


def _merged(
    given: Mapping[str, Any], options: Mapping[str, Any], config: Path | None
) -> tuple[Settings, dict[str, Any]]:
    """Returns the settings and options of the file, overruled by the flags."""
    read = _read_config(config) if config is not None else {}
    file_options = read.pop("options", {})
    if unknown := read.keys() - Settings.__dataclass_fields__:
        known = ", ".join(Settings.__dataclass_fields__)
        raise InvalidInput(f"{config}: unknown setting {min(unknown)!r:.80}; it may have {known} and a table [options]")
    settings = Settings(**{**read, **{name: value for name, value in given.items() if value is not None}})
    for name, value in vars(settings).items():
        kind = int if name == "part_rows" else str
        if value is not None and type(value) is not kind:
            expected = "an integer" if kind is int else "a string"
            raise InvalidInput(f"{config}: {name} must be {expected}, not {value!r:.80}")
    if not isinstance(file_options, dict):
        raise InvalidInput(f"{config}: [options] must be a table, not {file_options!r:.80}")
    return settings, {**file_options, **{name: value for name, value in options.items() if value is not None}}


def _read_config(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:  # not UTF-8, or not TOML
        raise InvalidInput(f"{file} is not TOML: {error}") from error


def read_options(pairs: list[str]) -> dict[str, Any]:
    """Returns the options of `NAME=VALUE`; a value that is not TOML is a string."""
    options = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise InvalidInput(f"An option is NAME=VALUE, not {pair!r}")
        try:
            options[name] = tomllib.loads(f"v = {value}")["v"]
        except ValueError:
            options[name] = value
    return options


def choice(kind: type[E], name: str) -> E:
    """Returns one of the values of an enumeration by name.

    Raises:
        InvalidInput: There is none.
    """
    try:
        return kind(name)
    except ValueError as error:
        raise InvalidInput(f"{name!r} is not one of {', '.join(each.value for each in kind)}") from error


def _shard(text: str) -> tuple[int, int]:
    number, _, of = text.partition("/")
    try:
        return int(number), int(of)
    except ValueError as error:
        raise InvalidInput(f"A shard is i/n, such as 0/8, not {text!r}") from error


def _engine(how: Execution) -> Engine:
    if how.engine is EngineKind.local:
        return LocalEngine(how.workers)
    from rag_compress.batch.ray import RayEngine

    return RayEngine(how.workers, how.gpus, how.address)


@contextmanager
def _stoppable(run: Run) -> Iterator[None]:
    """Stops a run on Ctrl-C, or on the request to terminate that cluster managers send; ends it on a second one."""
    signals = 0

    def stop(*_: object) -> None:
        nonlocal signals
        signals += 1
        if signals > 1 or run.is_waiting:
            raise KeyboardInterrupt
        run.stop()
        os.write(2, b"\nstopping after what is under way; once more stops at once\n" if shown else b"")

    shown = stderr.is_terminal  # written past its console, which may be in the middle of a line
    heard = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
    before = [(number, signal.signal(number, stop)) for number in heard]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


@contextmanager
def _watching(kind: ProgressKind) -> Iterator[Callable[[Progress], None]]:
    """Yields what shows progress on stderr."""
    if kind is ProgressKind.json:
        yield lambda progress: _print_event(_event(progress))
    elif kind is ProgressKind.none or not stderr.is_terminal:
        yield lambda _: None
    else:
        columns = (BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
        with Bar(*columns, console=stderr, transient=True) as bar:
            task = bar.add_task("starting", total=1.0)
            yield lambda progress: bar.update(task, completed=progress.share or 0.0, description=_line(progress))


def _print_event(event: Mapping[str, Any]) -> None:
    stderr.out(json.dumps(event), highlight=False)


def _event(progress: Progress) -> dict[str, Any]:
    tally = progress.tally
    left = progress.seconds_left
    return {
        "event": "part",
        "parts": progress.parts,
        "rows": tally.rows,
        "computed": tally.fresh,
        "errors": tally.errors,
        "tokens_before": tally.tokens_before,
        "tokens_after": tally.tokens_after,
        "rows_per_second": round(progress.rows_per_second, 1),
        "share": progress.share and round(progress.share, 4),
        "seconds": round(progress.seconds, 2),
        "seconds_left": left and round(left, 1),
    }


def _line(progress: Progress) -> str:
    tally, left = progress.tally, progress.seconds_left
    text = f"{tally.rows:,} rows, {progress.rows_per_second:,.0f}/s"
    text += f", {tally.tokens_before:,} to {tally.tokens_after:,} tokens"
    failed = f", {tally.errors:,} failed" if tally.errors else ""
    return text + failed + (f", {_duration(left)} left" if left is not None else "")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _show(tally: Tally, more: Mapping[str, str], console: Any = stderr) -> None:
    """Prints the closing table."""
    table = Table(show_header=False)
    figures = {
        "rows": f"{tally.rows:,}",
        "failed": f"{tally.errors:,}",
        "tokens": f"{tally.tokens_before:,} to {tally.tokens_after:,} ({tally.rate:.0%})",
        **more,
    }
    for name, value in figures.items():
        table.add_row(name, value)
    console.print(table)
