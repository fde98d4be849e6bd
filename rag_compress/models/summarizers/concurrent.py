"""Runs slow calls side by side, each with a time limit that holds even if the call never returns."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextvars import copy_context
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

Item = TypeVar("Item")
Reply = TypeVar("Reply")
_LONGEST = 1e6
"""Seconds of one wait: Python takes no infinite ones."""


def run_all(
    function: Callable[[Item], Reply], items: Sequence[Item], workers: int, timeout: float
) -> list[Reply | Exception]:
    """Returns what a function returns for each item, in order: an exception in place of a call that raised one.

    A call that takes longer than the limit is given up as a `TimeoutError`, and another takes its turn. Python cannot
    end it, so it runs on in its own thread, which does not keep the program from ending.

    Args:
        function: What to call.
        items: Its arguments.
        workers: The most calls that run at once, those given up not counted.
        timeout: Seconds for each call.
    """
    results: list[Reply | Exception] = [TimeoutError(f"No reply within {timeout:g} s") for _ in items]
    finished: SimpleQueue[tuple[int, Reply | Exception]] = SimpleQueue()
    waiting = list(range(len(items)))[::-1]
    deadlines: dict[int, float] = {}

    def call(place: int) -> None:
        try:
            finished.put((place, function(items[place])))
        except BaseException as error:  # noqa: BLE001 - in a thread nobody else would see even a SystemExit
            finished.put((place, error if isinstance(error, Exception) else RuntimeError(repr(error))))

    while waiting or deadlines:
        while waiting and len(deadlines) < workers:
            place = waiting.pop()
            deadlines[place] = time.monotonic() + timeout
            # LangChain, for one, keeps what a call belongs to in context variables.
            Thread(target=copy_context().run, args=(call, place), daemon=True).start()
        try:
            left = min(deadlines.values()) - time.monotonic()
            place, result = finished.get(timeout=min(max(0.0, left), _LONGEST))
        except Empty:
            now = time.monotonic()
            deadlines = {place: deadline for place, deadline in deadlines.items() if deadline > now}
            continue
        if deadlines.pop(place, None) is not None:
            results[place] = result
    return results
