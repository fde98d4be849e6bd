"""Runs a job: reads parts, computes what is new or stale, and writes each part in one step.

No row is lost, twice or half-written, whatever happens: a part is finished as a whole or done again, and its rows are
held against what an earlier run left. Running a job again resumes it; when nothing has changed, nothing is computed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, NamedTuple
from zlib import crc32

from rag_compress.batch.engines import Engine, LocalEngine, Work
from rag_compress.batch.folder import JobFolder
from rag_compress.batch.inputs import Input, read_input
from rag_compress.batch.job import Job, check_settings
from rag_compress.batch.outputs import Done, Notes, Output, Record, TableOutput, make_output
from rag_compress.batch.tally import Finished, Tally
from rag_compress.batch.worker import Outcome
from rag_compress.checks import check_count
from rag_compress.errors import InvalidInput, TooManyErrors, counted
from rag_compress.stores import split_scheme
from rag_compress.stores.files import STANDARD_INPUT
from rag_compress.stores.protocol import Derived, FileStore, Part, Row, Store


class Progress(NamedTuple):
    """How far a run has come.

    Attributes:
        parts: How many are finished.
        tally: Of their rows.
        share: How much of the store that is, in [0, 1]; `None`: not known.
        seconds: Since the start.
    """

    parts: int
    tally: Tally
    share: float | None
    seconds: float

    @property
    def rows_per_second(self) -> float:
        """Rows that this run computed, each second."""
        return self.tally.fresh / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """About how long the rest will take."""
        return self.seconds * (1 - self.share) / self.share if self.share else None


@dataclass
class Run:
    """One run of a job, or of one share of its parts.

    Attributes:
        job: What to do.
        store: With what; `job.source` is its address.
        folder: Where the job stands.
        engine: What computes.
        shard: This process does the parts whose number modulo the second is the first; of a table, such rows.
        max_errors: Stop once more rows than this have failed; `None`: never.
        watch: Is called after every part.
        progress: How far this run has come.
        stopped: Whether it was told to stop.
        is_waiting: Whether it waits for standard input.
    """

    job: Job
    store: Store
    folder: JobFolder
    engine: Engine = field(default_factory=LocalEngine)
    shard: tuple[int, int] = (0, 1)
    max_errors: int | None = None
    watch: Callable[[Progress], None] = lambda _: None
    progress: Progress = field(init=False)
    stopped: bool = field(default=False, init=False)
    is_waiting: bool = field(default=False, init=False)
    _output: Output = field(init=False, repr=False)
    _record: dict[str, Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.shard[0] < self.shard[1]:
            raise InvalidInput(f"A shard is i/n with 0 <= i < n, not {self.shard[0]}/{self.shard[1]}")
        if self.max_errors is not None:
            check_count("max_errors", self.max_errors)

    def __call__(self, *, restart: bool = False) -> Progress:
        """Runs the job to its end, or resumes it; returns what all rows have come to.

        Args:
            restart: Forget what is there and start anew.

        Raises:
            ChangedJob: The folder's job has other settings.
            TooManyErrors: More than `max_errors` rows failed; what was under way is written.
            StoreError: The store cannot be read or written.
            JobError: The folder cannot be written, or another process is at work on it.
            InvalidInput: The method does not take the options.
        """
        if restart and self.shard[1] > 1:
            raise InvalidInput("A shard cannot start the whole job anew: remove its folder, then start every shard")
        self.job.worker.prepare()  # what is wrong with the method shows before anything is written
        parts = self._read(self.store.parts(self.job.part_rows))
        begun = list(islice(parts, 1))  # and whether there is such a store, with such columns
        self.folder.check_free(restart=restart)
        with self.folder.locked():
            self._open(restart=restart)
            self._start, self.progress = time.perf_counter(), Progress(0, Tally(), None, 0.0)
            for work, outcomes in self.engine.map(self.job.worker, self._works(chain(begun, parts))):
                self._commit(work.owner, outcomes)
            self._check_errors()
            if not self.stopped:
                self.folder.finish({"parts": self._parts, "shard": self.shard, "seconds": self.progress.seconds})
                if self._record["anew"]:
                    self.folder.start({**self._record, "anew": False})
        return self.progress

    def stop(self) -> None:
        """Takes no more parts: the run ends once those under way are written."""
        self.stopped = True

    def _open(self, *, restart: bool) -> None:
        wanted, place = self.job.settings, self.folder.place_of(*split_scheme(self.job.source))
        found = None if restart else self.folder.settings()
        job, anew = self.job, restart or bool(found and found.get("anew"))
        self._output = make_output(self.store, self.folder, job.mode, job.config_hash, job.columns, anew=anew)
        if found is None and isinstance(self._output, TableOutput):
            self._output.check_free(job.part_rows)
        if restart:
            self.folder.clear()
        if found is not None:
            known = {name: value for name, value in found.items() if name not in ("place", "anew")}
            moved = place is not None and found.get("place") == place  # with its store, whose address is another
            check_settings(known | {"source": wanted["source"]} if moved else known, wanted, self.folder.address)
        self._record = {**wanted, "place": place, "anew": anew}  # the last until a restarted job is finished
        if found != self._record:
            self.folder.start(self._record)
        self.folder.reopen()

    def _works(self, parts: Iterable[Part]) -> Iterator[Work[_Planned]]:
        """Yields the parts of this shard that are not finished."""
        self._parts = 0
        for number, part in self._shared(parts):
            if self.stopped:
                return
            record = self.folder.record(number)
            tally = self._output.finished(record, part)
            if tally is None:
                planned = self._plan(_Planned(number, part, record))
                yield Work(planned.inputs, planned)
            else:
                tally.fresh, tally.slowest = 0, []
                self._advance(part, tally)

    def _read(self, parts: Iterable[Part]) -> Iterator[Part]:
        """Yields the parts, and notes when it waits for one from standard input, which may take for ever."""
        parts = iter(parts)
        while True:
            self.is_waiting = self.job.source == STANDARD_INPUT
            part = next(parts, None)
            self.is_waiting = False
            if part is None:
                return
            yield part

    def _shared(self, parts: Iterable[Part]) -> Iterator[tuple[int, Part]]:
        """Yields this shard's parts with their numbers.

        Of files it has every n-th part. The rows of a table may come and go, or become shorter, while another shard is
        at work, so that its parts are not the same for all: there, a shard has the rows whose id falls to it.
        """
        own, of = self.shard
        by_row = of > 1 and not isinstance(self.store, FileStore)
        for number, part in enumerate(parts):
            self._parts = (number + 1) * (of if by_row else 1)
            if by_row:
                rows = [row for row in part.rows if crc32(repr(row.id).encode(errors="surrogatepass")) % of == own]
                yield number * of + own, part._replace(rows=rows)
            elif number % of == own:
                yield number, part

    def _plan(self, planned: _Planned) -> _Planned:
        """Returns a part with what is to be computed of it, and what is known already."""
        earlier = self._output.earlier(planned.record, planned.part)
        for row in planned.part.rows:
            try:
                content = read_input(row, self.job.columns, self.job.query)
                done = earlier(row, content)
            except InvalidInput as error:
                done = self._failed(str(error))
            if done is None:
                planned.inputs.append(content)
            planned.known.append(done)
        return planned

    def _failed(self, error: str) -> Done:
        return Done(Derived(None, Notes(self.job.config_hash).of_error(error)), error=error)

    def _commit(self, planned: _Planned, outcomes: list[Outcome]) -> None:
        done = list(self._put_together(planned, outcomes))
        tally = Tally.of(_finished(row, each) for row, each in zip(planned.part.rows, done, strict=True))
        if planned.record is not None:
            kept = {str(row.id) for row, each in zip(planned.part.rows, done, strict=True) if not each.fresh}
            tally.recall(Tally.from_json(planned.record["tally"]), kept)
        self._output.write(planned.number, planned.part, done, tally)
        self._advance(planned.part, tally)
        if self._has_too_many_errors:
            self.stop()

    @property
    def _has_too_many_errors(self) -> bool:
        return self.max_errors is not None and self.progress.tally.errors > self.max_errors

    def _check_errors(self) -> None:
        tally = self.progress.tally
        if self._has_too_many_errors:
            row, error = tally.failed[-1]
            rows = counted(tally.errors, "row")
            raise TooManyErrors(f"{rows} failed, more than {self.max_errors}, such as {row:.80}: {error}")

    def _put_together(self, planned: _Planned, outcomes: list[Outcome]) -> Iterator[Done]:
        computed = iter(zip(planned.inputs, outcomes, strict=True))
        for row, known in zip(planned.part.rows, planned.known, strict=True):
            if known is not None:
                yield known
                continue
            content, outcome = next(computed)
            if outcome.error is not None:
                yield self._failed(outcome.error)
                continue
            derived = self._output.derive(row, content, outcome.value, outcome.tokens)
            yield Done(derived, outcome.tokens, None, outcome.seconds, fresh=True, pieces=outcome.pieces)

    def _advance(self, part: Part, tally: Tally) -> None:
        before = self.progress
        before.tally.merge(tally)
        self.progress = Progress(before.parts + 1, before.tally, part.share, time.perf_counter() - self._start)
        self.watch(self.progress)


@dataclass
class _Planned:
    """A part on its way: for each row what is known of it, `None` for the rows whose inputs are to be computed.

    `record` is what an earlier run left of it.
    """

    number: int
    part: Part
    record: Record | None
    known: list[Done | None] = field(default_factory=list)
    inputs: list[Input] = field(default_factory=list)


def _finished(row: Row, done: Done) -> Finished:
    return Finished(str(row.id), done.tokens, done.error, done.seconds, done.fresh, done.pieces)
