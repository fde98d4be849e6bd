"""A lock that another thread holds when a process is forked."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from rag_compress.processes import ProcessLock, load_once


def test_it_excludes_threads() -> None:
    """While one thread holds it, another waits."""
    lock, order = ProcessLock(), []

    def second() -> None:
        with lock:
            order.append("second")

    with lock:
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.05)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on Windows")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork")
def test_a_forked_child_finds_it_free() -> None:
    """The thread that held it does not exist in the child, which would wait for ever."""
    lock, held, done = ProcessLock(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        with lock:
            os._exit(7)
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_model_is_loaded_once() -> None:
    """Threads that ask for the same at once wait for one result; cleared, it is loaded anew."""
    loaded = []

    @load_once(maxsize=2)
    def load(name: str) -> str:
        time.sleep(0.02)
        loaded.append(name)
        return name.upper()

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(load, ["a"] * 4)) == ["A"] * 4
    assert loaded == ["a"]
    load.cache_clear()
    assert (load("a"), loaded) == ("A", ["a", "a"])
