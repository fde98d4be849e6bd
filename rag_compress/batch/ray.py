"""The engine on a Ray cluster: actors that load the model once; parts are read and written where the run was started.

Parts go to actors one by one, not through Ray Data's blocks: a part is what is finished in one step, so the folder of a
job is the same as with the local engine, and so are its results.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any, TypeVar
from urllib.parse import urlsplit

from rag_compress.batch.engines import Work, again, check_starting, in_order
from rag_compress.batch.inputs import Input
from rag_compress.batch.worker import Outcome, Worker
from rag_compress.checks import check_count, check_number
from rag_compress.errors import JobError, importing

T = TypeVar("T")


@dataclass(frozen=True)
class RayEngine:
    """Actors on a Ray cluster; one that dies is started again, and its part with it.

    Attributes:
        workers: How many actors; `None`: one for each GPU, or CPU, of the cluster.
        gpus: GPUs of each actor; less than 1 lets several share one.
        address: The cluster's, or `auto`; `None`: Ray is started on this machine for the run.
    """

    workers: int | None = None
    gpus: float = 0
    address: str | None = None

    def __post_init__(self) -> None:
        if self.workers is not None:
            check_count("workers", self.workers, least=1)
        check_number("gpus", self.gpus, 0)

    def map(self, worker: Worker, works: Iterable[Work[T]]) -> Iterator[tuple[Work[T], list[Outcome]]]:
        """Yields each work with its outcomes, in order.

        Raises:
            MissingExtra: Ray is not installed.
            JobError: The cluster cannot be reached, has no room for the workers, or fails.
        """
        ray = _ray()
        started = not ray.is_initialized()
        if started:
            self._connect(ray)
        try:
            count = self._count(ray)
            make = ray.remote(num_cpus=0 if self.gpus else 1, num_gpus=self.gpus, max_restarts=-1, max_task_retries=1)
            actors = [make(_Actor).remote(replace(worker)) for _ in range(count)]
            turns = cycle(actors)

            def submit(inputs: Sequence[Input]) -> Any:
                return next(turns).compress.remote(list(inputs))

            def result(inputs: Sequence[Input], reference: Any) -> list[Outcome]:
                died = ray.exceptions.RayActorError
                try:
                    outcomes: list[Outcome] = _got(ray, reference)
                except died:
                    reason = "a library crashes on a node of the cluster; fewer workers need less memory"
                    check_starting(lambda: _got(ray, next(turns).prepare.remote()), died, reason)
                    return again(inputs, lambda part: _got(ray, submit(part)), died)
                return outcomes

            yield from in_order(works, submit, result, ahead=2 * count)
        finally:
            if started:
                ray.shutdown()

    def _connect(self, ray: Any) -> None:
        _check_reachable(self.address)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        local: dict[str, Any] = {} if self.address else {"include_dashboard": False}
        before = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(address=self.address, log_to_driver=False, logging_level="ERROR", **local)
        except Exception as error:  # a node that starts too slowly is a bare one
            what = f"The Ray cluster {self.address} cannot be reached" if self.address else "Ray cannot be started here"
            raise JobError(f"{what}: {error}") from error
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray has put its own in its place

    def _count(self, ray: Any) -> int:
        """Returns how many actors to start: no more than there is room for, as Ray would wait for room for ever."""
        resources = ray.cluster_resources()
        room = int(resources.get("GPU", 0) / self.gpus if self.gpus else resources.get("CPU", 1))
        if room < (self.workers or 1):
            kind = f"workers ({self.gpus:g} GPU each)" if self.gpus else "workers"
            wanted = f"has room for {room} {kind}, not for {self.workers or 1}"
            raise JobError(f"The Ray cluster {wanted}: it has {dict(resources)}")
        return self.workers or room


def _check_reachable(address: str | None) -> None:
    """Raises `JobError` unless something listens at `host:port`: Ray would end this process after a minute."""
    url = urlsplit(address if address and "//" in address else f"//{address or ''}")
    try:
        if url.port is not None:
            socket.create_connection((url.hostname or "", url.port), timeout=10).close()
    except (OSError, ValueError) as error:
        raise JobError(f"The Ray cluster {address} cannot be reached: {error}") from error


class _Actor:
    """A worker in a process of the cluster."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def prepare(self) -> None:
        """Makes the stage."""
        self._worker.prepare()

    def compress(self, inputs: Sequence[Input]) -> list[Outcome]:
        """Returns an outcome for each input."""
        return self._worker(inputs)


def _got(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayActorError:
        raise
    except ray.exceptions.RayError as error:
        raise JobError(f"The Ray cluster failed: {error}") from error


def _ray() -> Any:
    with importing("ray", "ray", "The engine ray"):
        import ray
    return ray
