"""Slow calls side by side."""

from __future__ import annotations

import asyncio
import threading
import time

from rag_compress.models.summarizers.concurrent import run_all


def test_order_errors_and_time() -> None:
    """Results are in order; an error stays with its item; a call that hangs is given up, and others take its turn."""
    release = threading.Event()

    def call(item: str) -> str:
        if item == "hang":
            release.wait(60)
        if item == "fail":
            raise ZeroDivisionError
        return item.upper()

    start = time.monotonic()
    found = run_all(call, ["a", "hang", "fail", "b", "hang", "c"], workers=1, timeout=0.3)
    assert time.monotonic() - start < 30
    release.set()
    assert [type(result) for result in found] == [str, TimeoutError, ZeroDivisionError, str, TimeoutError, str]
    assert [result for result in found if isinstance(result, str)] == ["A", "B", "C"]


def test_at_once() -> None:
    """As many calls run at once as there are workers, no more."""
    running, most, lock = 0, 0, threading.Lock()

    def call(_: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.05)
        with lock:
            running -= 1
        return 0

    assert run_all(call, range(9), workers=3, timeout=60) == [0] * 9
    assert most == 3
    assert run_all(call, [], workers=3, timeout=60) == []
    assert run_all(call, [1], workers=3, timeout=float("inf")) == [0]


def test_what_is_no_exception() -> None:
    """A cancelled call, or one that would end the program, is an error at once, not after its whole time."""

    def call(error: type[BaseException]) -> None:
        raise error

    found = run_all(call, [asyncio.CancelledError, SystemExit], workers=2, timeout=60)
    assert [str(result) for result in found] == ["CancelledError()", "SystemExit()"]
