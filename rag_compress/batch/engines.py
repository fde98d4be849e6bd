"""Runs a worker over many lists of rows: in this process, in one process for each core, or on a Ray cluster.

Every engine takes work as it is ready for it, a few parts ahead, and gives it back in order; so memory is bounded.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from typing import Any, Generic, Protocol, TypeVar

from rag_compress.batch.inputs import Input
from rag_compress.batch.methods import find_method
from rag_compress.batch.worker import Outcome, Worker
from rag_compress.checks import check_count
from rag_compress.errors import JobError
from rag_compress.processes import cores

T = TypeVar("T")
F = TypeVar("F")
R = TypeVar("R")


@dataclass
class Work(Generic[T]):
    """A list of rows to compress, and whatever its owner wants to find beside the outcomes."""

    inputs: Sequence[Input]
    owner: T


class Engine(Protocol):
    """Something that runs a worker."""

    def map(self, worker: Worker, works: Iterable[Work[T]]) -> Iterator[tuple[Work[T], list[Outcome]]]:
        """Yields each work with its outcomes, in order."""
        ...


@dataclass(frozen=True)
class LocalEngine:
    """Every core of this machine and no more.

    A method that uses all cores from within one process runs in this one; any other gets a process for each core.

    Attributes:
        workers: How many processes; `None`: as the method needs. With 1 all happens in this process.
    """

    workers: int | None = None

    def __post_init__(self) -> None:
        if self.workers is not None:
            check_count("workers", self.workers, least=1)

    def map(self, worker: Worker, works: Iterable[Work[T]]) -> Iterator[tuple[Work[T], list[Outcome]]]:
        """Yields each work with its outcomes, in order; a row that kills its process is an outcome with an error."""
        workers = self.workers or (1 if find_method(worker.method).threads else cores())
        if workers == 1:
            for work in works:
                yield work, worker(work.inputs)
            return
        processes = _Processes(replace(worker), workers)
        try:
            yield from in_order(works, processes.submit, processes.result, ahead=2 * workers)
        finally:
            processes.close()


class _Processes:
    """Processes that are started anew when one of them dies."""

    def __init__(self, worker: Worker, count: int) -> None:
        self._worker, self._count = worker, count
        self._pool = self._started()

    def submit(self, inputs: Sequence[Input]) -> Future[list[Outcome]]:
        """Starts to compress rows."""
        return self._submit(_compress, inputs)

    def _submit(self, function: Callable[..., R], *given: Any) -> Future[R]:
        with _interrupts_held():  # this is where the pool starts its processes
            try:
                return self._pool.submit(function, *given)
            except BrokenProcessPool:
                self._pool = self._started()
                return self._pool.submit(function, *given)

    def result(self, inputs: Sequence[Input], future: Future[list[Outcome]]) -> list[Outcome]:
        """Returns the outcomes once they are there; when a process died, of what is tried again in ever smaller parts.

        The death of one process breaks off what all of them do, so that a row is blamed only when it was alone.
        """
        try:
            return future.result()
        except BrokenProcessPool:
            reason = "a script that starts a run lacks `if __name__ == '__main__':`; with 1 worker none is started"
            check_starting(lambda: self._submit(_prepare).result(), BrokenProcessPool, reason)
            return again(inputs, lambda part: self.submit(part).result(), BrokenProcessPool)

    def close(self) -> None:
        """Ends the processes; what they still do is lost."""
        for process in list((self._pool._processes or {}).values()):
            process.kill()
        self._pool.shutdown(wait=True, cancel_futures=True)  # or Python's own end meets pipes that are being closed

    def _started(self) -> ProcessPoolExecutor:
        spawn = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self._count, mp_context=spawn, initializer=_start, initargs=(self._worker,))


def again(
    inputs: Sequence[Input], compress: Callable[[Sequence[Input]], list[Outcome]], death: type[Exception]
) -> list[Outcome]:
    """Returns the outcomes of rows whose process has died, tried again in ever smaller parts.

    Args:
        inputs: The rows.
        compress: Returns their outcomes.
        death: What it raises when its process dies. A row for which it does so alone gets an error.
    """
    try:
        return compress(inputs)
    except death:
        if len(inputs) == 1:
            return [Outcome(None, error="the process died at this row: out of memory, or a crash in a library")]
        half = len(inputs) // 2
        return [*again(inputs[:half], compress, death), *again(inputs[half:], compress, death)]


def check_starting(prepare: Callable[[], object], death: type[Exception], reason: str) -> None:
    """Raises `JobError` where processes die without any row, or of the model: no row is to blame for that.

    Args:
        prepare: Has one of them make its stage.
        death: What that raises when the process dies.
        reason: What it may be besides too little memory.
    """
    for _ in range(2):  # the first time, another row that is under way may be what they die of
        with suppress(death):
            prepare()
            return
    raise JobError(
        f"Worker processes end as soon as they start or load the model: there is too little memory, or {reason}"
    )


def in_order(
    works: Iterable[Work[T]],
    submit: Callable[[Sequence[Input]], F],
    result: Callable[[Sequence[Input], F], list[Outcome]],
    ahead: int,
) -> Iterator[tuple[Work[T], list[Outcome]]]:
    """Yields works with their outcomes in order, while so many of the next ones are under way.

    Args:
        works: Are taken one by one, no sooner than there is room.
        submit: Starts to compress rows.
        result: Waits for what was started.
        ahead: The most works under way.
    """
    waiting: deque[tuple[Work[T], F]] = deque()
    for work in works:
        waiting.append((work, submit(work.inputs)))
        if len(waiting) == ahead:
            first, started = waiting.popleft()
            yield first, result(first.inputs, started)
    for first, started in waiting:
        yield first, result(first.inputs, started)


_WORKER: Worker


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Holds Ctrl-C, which reaches a whole group, back from processes that are started herein until they are ready."""
    if not hasattr(signal, "pthread_sigmask"):  # not on Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(worker: Worker) -> None:
    """Prepares a process: it leaves Ctrl-C to its parent, ends with it, and keeps libraries to one thread."""
    global _WORKER  # noqa: PLW0603 - a process has no other place for what it is started with
    _WORKER = worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _prepare() -> None:
    _WORKER.prepare()


def _compress(inputs: Sequence[Input]) -> list[Outcome]:
    return _WORKER(inputs)
