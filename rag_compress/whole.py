"""Writes a file whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def written_whole(path: Path, scratch: Path | None = None) -> Iterator[BinaryIO]:
    """Yields a file that takes its name once all of it is on the disk; until then, what stood there stays.

    Args:
        path: The name.
        scratch: Where it is until then, on the same disk, used by nobody else; `None`: beside it.
    """
    scratch = scratch or path.with_name(f"{path.name}.partial")
    try:
        with scratch.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except BaseException:
        with suppress(OSError):
            scratch.unlink()
        raise
