"""Reads files of training data."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from rag_compress.errors import InvalidInput


def content_of(path: str | Path) -> bytes:
    """Returns what is in a file, decompressed if its name ends in `.gz`.

    Raises:
        InvalidInput: It cannot be read, or is cut off.
    """
    try:
        data = Path(path).read_bytes()
        return gzip.decompress(data) if Path(path).suffix == ".gz" else data
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidInput(f"{path} cannot be read as training data: {reason}") from error
