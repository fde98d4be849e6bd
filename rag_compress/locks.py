"""A lock that a forked process does not inherit held."""

from __future__ import annotations

import os
from threading import Lock
from types import TracebackType


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
