"""Opens files where they are: on this machine, or by URL through fsspec; compressed ones as what they hold."""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from rag_compress.errors import InvalidInput, RagCompressError, StoreError, importing
from rag_compress.stores.protocol import reporting

STANDARD_INPUT = "-"


def is_remote(address: str) -> bool:
    """Returns whether an address is a URL."""
    return "://" in address


def filesystem(address: str) -> tuple[Any, str]:
    """Returns fsspec's file system for a URL, and the path in it.

    Raises:
        MissingExtra: fsspec is not installed.
        InvalidInput: There is no such kind of URL.
        StoreError: What fsspec needs for it is not installed, or does not take the URL.
    """
    with importing("fsspec", "remote", f"Reading {address}"):
        import fsspec
    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(address)
    except ValueError as error:
        raise InvalidInput(f"{address} cannot be opened: {error}") from error
    except Exception as error:  # its packages raise what they like
        raise StoreError(f"{address} cannot be opened: {error}") from error
    return found


@contextmanager
def as_os_errors() -> Iterator[None]:
    """Makes what the packages of fsspec raise, for want of credentials or of a network, into `OSError`."""
    try:
        yield
    except (OSError, RagCompressError):
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


def files_of(address: str) -> list[str] | None:
    """Returns the files in a folder or behind its URL that are not hidden; `None` where there is no folder.

    Raises:
        StoreError: There is nothing at the address.
    """
    found = _remote_files(address) if is_remote(address) else _local_files(Path(address))
    return None if found is None else [file for file in found if Path(file).name[0] not in "._"]


def find_files(address: str, suffixes: tuple[str, ...]) -> list[str]:
    """Returns a file, or the files of a folder that end like this and are not hidden, in order of name.

    Raises:
        StoreError: There is none.
    """
    if address == STANDARD_INPUT:
        return [address]
    found = files_of(address)
    if found is None:
        return [address]
    kept = sorted(file for file in found if file.lower().endswith(suffixes))
    if not kept:
        raise StoreError(f"{address}: no file ends in {' or '.join(suffixes)}")
    return kept


@contextmanager
def open_file(address: str) -> Iterator[tuple[BinaryIO, BinaryIO, int | None]]:
    """Yields a file's content, decompressed by its suffix (.gz, .zst); the file itself; and its size in bytes.

    Raises:
        StoreError: The file cannot be read, from the beginning or later.
        MissingExtra: A package is missing for this kind of file.
    """
    try:
        with _open(address) as file:
            yield _decompressed(file, address), file, _size(file)
    except (OSError, EOFError, zlib.error) as error:  # a cut or altered gzip file raises the last two
        reason = getattr(error, "strerror", None) or error
        raise StoreError(f"{address}: cannot be read: {reason}") from error
    except RagCompressError:
        raise
    except Exception as error:
        if not is_remote(address) and type(error).__name__ != "ZstdError":  # whose package may not be installed
            raise
        raise StoreError(f"{address}: cannot be read: {error}") from error


def compress(content: bytes, suffix: str) -> bytes:
    """Returns a content as a file with this suffix holds it; the same bytes for the same content."""
    if suffix.endswith(".gz"):
        return gzip.compress(content, mtime=0)
    if suffix.endswith(".zst"):
        return bytes(_zstandard().ZstdCompressor().compress(content))
    return content


@contextmanager
def compressing(file: BinaryIO, name: str) -> Iterator[BinaryIO]:
    """Yields what compresses into an open file, if a file of this name holds compressed content; else the file."""
    if name.endswith(".gz"):
        with gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as zipped:
            yield cast("BinaryIO", zipped)
    elif name.endswith(".zst"):
        with _zstandard().ZstdCompressor().stream_writer(file, closefd=False) as zipped:
            yield zipped
    else:
        yield file


def decompress(content: bytes, suffix: str) -> bytes:
    """Returns the content of a file that `compress` made."""
    if suffix.endswith(".gz"):
        return gzip.decompress(content)
    if suffix.endswith(".zst"):
        return bytes(_zstandard().ZstdDecompressor().decompress(content))
    return content


def _local_files(path: Path) -> list[str] | None:
    """Returns the files of a folder, `None` if it is a file."""
    with reporting(str(path), OSError):
        if not path.exists():
            raise StoreError(f"{path}: no such file or folder")
        return [str(file) for file in path.iterdir() if file.is_file()] if path.is_dir() else None


def _remote_files(address: str) -> list[str] | None:
    files, path = filesystem(address)
    with reporting(address, OSError), as_os_errors():
        if not files.exists(path):
            raise StoreError(f"{address}: {_why_absent(files, path)}")
        return [files.unstrip_protocol(name) for name in files.ls(path, detail=False)] if files.isdir(path) else None


def _why_absent(files: Any, path: str) -> str:
    """Returns why there is no such file: over HTTP, none exists on a host that cannot be reached."""
    try:
        files.info(path)
    except FileNotFoundError as error:
        if isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, FileNotFoundError):
            return f"the host cannot be reached: {error.__cause__}"
    return "no such file or folder"


def _open(address: str) -> Any:
    if address == STANDARD_INPUT:
        return _StandardInput()
    if is_remote(address):
        files, path = filesystem(address)
        return files.open(path, "rb")
    return Path(address).open("rb")


class _StandardInput:
    def __enter__(self) -> BinaryIO:
        return cast("BinaryIO", io.BytesIO() if sys.stdin is None else sys.stdin.buffer)

    def __exit__(self, *_: object) -> None:
        pass  # it is not ours to close


def _decompressed(file: IO[bytes], address: str) -> BinaryIO:
    if address.lower().endswith(".gz"):
        return cast("BinaryIO", gzip.open(file))
    if address.lower().endswith(".zst"):
        return io.BufferedReader(_ZstdFile(file))
    return cast("BinaryIO", file)


class _ZstdFile(io.RawIOBase):
    """Reads frame after frame; unlike the package's own reader, it raises `EOFError` where a file ends within one."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._decompressor = file, _zstandard().ZstdDecompressor()
        self._frame: Any = None
        self._left = b""
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        """Returns `True`."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer; returns how many bytes that took, 0 at the end."""
        while not self._ready:
            compressed, self._left = self._left or self._file.read(1 << 16), b""
            if not compressed and self._frame is not None:
                raise EOFError("it ends within a frame: the file was cut")
            if not compressed:
                return 0
            self._frame = self._frame or self._decompressor.decompressobj()
            self._ready = memoryview(self._frame.decompress(compressed))
            if self._frame.eof:
                self._left, self._frame = self._frame.unused_data, None
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count


def _size(file: IO[bytes]) -> int | None:
    if not file.seekable():
        return None
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return size


def _zstandard() -> Any:
    with importing("zstandard", "zstd", "A file that ends in .zst"):
        import zstandard
    return zstandard
