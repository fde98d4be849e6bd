"""What a process needs to know of itself: its processors, locks that a fork leaves free, models loaded once."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache, update_wrapper
from threading import Lock
from types import TracebackType
from typing import Generic, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


def cores() -> int:
    """Returns the processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """Returns how many threads should share the work: `OMP_NUM_THREADS`, if it is set, otherwise one for each core."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(wanted) if wanted.isdigit() and int(wanted) else cores()


class ProcessLock:
    """A lock of the threads of one process: in a forked child, whose other threads are gone, it is free again."""

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()


class LoadOnce(Generic[_P, _T]):
    """A function as `lru_cache` makes it, but two threads that ask for the same at once wait for one result."""

    def __init__(self, load: Callable[_P, _T], maxsize: int) -> None:
        self._cached = lru_cache(maxsize)(load)
        self._lock = ProcessLock()
        self.cache_clear, self.cache_info = self._cached.cache_clear, self._cached.cache_info
        update_wrapper(self, load)

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Returns what the function returned for these arguments, now or before."""
        with self._lock:
            return self._cached(*args, **kwargs)  # type: ignore[arg-type]


def load_once(maxsize: int) -> Callable[[Callable[_P, _T]], LoadOnce[_P, _T]]:
    """Returns a decorator for functions that load a model: the `maxsize` used last are kept in the process."""
    return lambda load: LoadOnce(load, maxsize)
