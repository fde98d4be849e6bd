"""The folder of a job: the parts of its output, and under `_job` what is known of them.

Every file is written whole and then put in its place in one step. A part counts as finished when its record stands, and
the record is written after the part: a crash at any moment loses no more than the parts in work. A record holds the
SHA-256 of its file, so that what was altered later is noticed.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from rag_compress.errors import JobError, without_password
from rag_compress.stores.files import as_os_errors, filesystem, is_remote
from rag_compress.whole import written_whole

_JOB = "_job"
_TRIES, _PAUSE = 10, 0.02
_RECORD = {"part", "file", "sha256", "digest", "tally"}


class _AlteredPart(JobError):
    """The file of a part is gone, or not as it was written."""


class Files(Protocol):
    """The files under a root, named by paths relative to it."""

    def read(self, name: str) -> bytes:
        """Returns a file's content; raises `FileNotFoundError`."""
        ...

    def write(self, name: str, content: bytes, scratch: str) -> None:
        """Writes a file in one step, by way of a scratch file that no other process uses."""
        ...

    def remove(self, name: str) -> None:
        """Removes a file."""
        ...

    def names(self, folder: str) -> list[str]:
        """Returns the names of the files in a folder, sorted; none if there is no such folder."""
        ...


class LocalFiles:
    """Files on this machine, flushed to the disk before they are put in place."""

    def __init__(self, root: str) -> None:
        self.root = Path(root)

    def read(self, name: str) -> bytes:
        """Returns a file's content."""
        return (self.root / name).read_bytes()

    def write(self, name: str, content: bytes, scratch: str) -> None:
        """Writes a file in one step."""
        file, temporary = self.root / name, self.root / _JOB / f"{scratch}.tmp"
        for folder in (temporary.parent, file.parent):
            folder.mkdir(parents=True, exist_ok=True)
        with written_whole(file, temporary) as out:
            out.write(content)

    def remove(self, name: str) -> None:
        """Removes a file."""
        (self.root / name).unlink(missing_ok=True)

    def names(self, folder: str) -> list[str]:
        """Returns the names of the files in a folder."""
        place = self.root / folder
        return sorted(file.name for file in place.iterdir() if file.is_file()) if place.is_dir() else []


_SHOWS_HALVES = {"file", "local", "sftp", "ssh", "ftp"}
"""Protocols of fsspec that show a file while it is written, and can put one in the place of another."""


class RemoteFiles:
    """Files behind a URL; object stores show a file only once it is whole, elsewhere it is put in its place then."""

    def __init__(self, root: str) -> None:
        self.files, self.root = filesystem(root)
        protocols = self.files.protocol
        self._renames = not _SHOWS_HALVES.isdisjoint([protocols] if isinstance(protocols, str) else protocols)

    def read(self, name: str) -> bytes:
        """Returns a file's content."""
        with as_os_errors():
            return bytes(self.files.cat_file(self._path(name)))

    def write(self, name: str, content: bytes, scratch: str) -> None:
        """Writes a file in one step."""
        file = self._path(name)
        written = self._path(f"{_JOB}/{scratch}.tmp") if self._renames else file
        with as_os_errors():
            for place in (file, written):
                self.files.makedirs(place.rpartition("/")[0], exist_ok=True)
            self.files.pipe_file(written, content)
            if self._renames:
                self.files.mv(written, file)

    def remove(self, name: str) -> None:
        """Removes a file."""
        with suppress(FileNotFoundError), as_os_errors():
            self.files.rm_file(self._path(name))

    def names(self, folder: str) -> list[str]:
        """Returns the names of the files in a folder."""
        self.files.invalidate_cache()
        try:
            with as_os_errors():
                found = self.files.ls(self._path(folder), detail=True)
        except FileNotFoundError:
            return []
        return sorted(each["name"].rpartition("/")[2] for each in found if each["type"] == "file")

    def _path(self, name: str) -> str:
        return f"{self.root.rstrip('/')}/{name}".rstrip("/")


class JobFolder:
    """A job's folder.

    Attributes:
        address: A path or a URL, without its password.
        shard: Which share of the parts this process writes, and of how many; names its scratch file and its lock.
    """

    def __init__(self, address: str, shard: tuple[int, int] = (0, 1)) -> None:
        plain = address.rstrip("/")
        self.address = without_password(plain if plain and is_remote(plain) == is_remote(address) else address)
        self._files: Files = RemoteFiles(address) if is_remote(address) else LocalFiles(address)
        self._name = f"{shard[0]}-of-{shard[1]}"

    def settings(self) -> dict[str, Any] | None:
        """Returns what the job was started with, `None` where there is no job.

        Raises:
            JobError: It cannot be read.
        """
        return self._json(f"{_JOB}/job.json")

    def check_free(self, *, restart: bool = False) -> None:
        """Raises `JobError` where there is no job, but something else; to restart, a job that was altered will do."""
        try:
            found = self.settings()
        except _AlteredPart:
            if restart:
                return
            raise
        if found is None and self._names(""):
            raise JobError(f"{self.address} is not empty and holds no job: choose another folder")

    def place_of(self, scheme: str, path: str) -> str | None:
        """Returns where a store on this machine is, as seen from the folder; `None` for any other."""
        if is_remote(self.address) or not Path(path).is_absolute():
            return None
        return scheme + os.path.relpath(path, os.path.realpath(self.address))

    def start(self, settings: Mapping[str, Any]) -> None:
        """Writes what the job is started with.

        Raises:
            JobError: The folder cannot be written.
        """
        self._write(f"{_JOB}/job.json", _dump(settings))

    def record(self, number: int) -> dict[str, Any] | None:
        """Returns the record of a part, `None` when it is not finished; a record that was cut counts for nothing."""
        try:
            found = self._json(_record(number)) or {}
        except _AlteredPart:
            return None
        return found if found.keys() >= _RECORD else None

    def records(self) -> Iterator[dict[str, Any]]:
        """Yields the records of all parts that were ever finished, in order."""
        numbers = [name.removesuffix(".json") for name in self._names(f"{_JOB}/records")]
        for number in filter(str.isdigit, numbers):  # NFS and editors leave files of their own
            record = self.record(int(number))
            if record is not None:
                yield record

    def commit(self, number: int, record: Mapping[str, Any], suffix: str | None = None, content: bytes = b"") -> None:
        """Writes a part's file, if it has one of a suffix, and then its record, which names its `digest` and `tally`.

        Raises:
            JobError: The folder cannot be written.
        """
        file = None if suffix is None else f"part-{number:06d}{suffix}"
        if file is not None:
            self._write(file, content)
            earlier = (self.record(number) or {}).get("file")
            if earlier not in (None, file):  # its suffix has changed with that of the store's first file
                self._remove(earlier)
        seal = {"part": number, "file": file, "sha256": hashlib.sha256(content).hexdigest()}
        self._write(_record(number), _dump({**seal, **record}))

    def content(self, record: Mapping[str, Any]) -> bytes:
        """Returns the content of a part's file.

        Raises:
            JobError: It cannot be read, or is not as it was written.
        """
        address = f"{self.address}/{record['file']}"
        try:
            content = self._files.read(record["file"])
        except OSError as error:
            kind = _AlteredPart if isinstance(error, FileNotFoundError) else JobError
            raise kind(f"{address} cannot be read: {error.strerror or error}") from error
        if hashlib.sha256(content).hexdigest() != record["sha256"]:
            raise _AlteredPart(f"{address} is not as it was written: run the job again")
        return content

    def content_as_left(self, record: Mapping[str, Any]) -> bytes | None:
        """Returns the same, `None` where the file is gone or was altered: then its part is to be done again."""
        try:
            return self.content(record)
        except _AlteredPart:
            return None

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Writes that this process has finished its share of the parts, and removes what stands behind the last one."""
        for record in self.records():
            if record["part"] >= summary["parts"]:
                self._remove(_record(record["part"]))
                if record["file"]:
                    self._remove(record["file"])
        self._write(f"{_JOB}/finished-{self._name}.json", _dump(summary))

    def finished(self) -> list[dict[str, Any]]:
        """Returns what `finish` wrote, for every share."""
        names = [name for name in self._names(_JOB) if name.startswith("finished-")]
        return [found for name in names if (found := self._json(f"{_JOB}/{name}")) is not None]

    def reopen(self) -> None:
        """Removes the marks of what this process is to do again: its own share, and all of another number of shares."""
        for name in self._names(_JOB):
            if name.startswith("finished-") and (name == f"finished-{self._name}.json" or self._is_other(name)):
                self._remove(f"{_JOB}/{name}")

    def clear(self) -> None:
        """Removes the job with all its parts.

        Raises:
            JobError: Another process of this machine is at work on a share of it.
        """
        self._check_free_of(lambda _: True)
        for name in self._names(f"{_JOB}/records"):
            self._remove(f"{_JOB}/records/{name}")
        for name in self._names(""):
            if name.startswith("part-"):
                self._remove(name)
        for name in self._names(_JOB):
            if name.endswith(".json"):
                self._remove(f"{_JOB}/{name}")

    def write_report(self, html: str) -> str:
        """Writes the report; returns its address."""
        self._write(f"{_JOB}/report.html", html.encode(errors="replace"))
        return f"{self.address}/{_JOB}/report.html"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes of this machine from the same share; the lock ends with the process, however it ends.

        Raises:
            JobError: Another process has it, or a share of another number of shares.
        """
        with self._lock(f"lock-{self._name}"):
            self._check_free_of(self._is_other)
            yield

    def _is_other(self, name: str) -> bool:
        """Returns whether a lock or a mark is that of another number of shares."""
        return name.removesuffix(".json").rpartition("-")[2] != self._name.rpartition("-")[2]

    def _check_free_of(self, concerns: Callable[[str], bool]) -> None:
        """Raises `JobError` where another process holds such a lock."""
        for name in self._names(_JOB):
            if name.startswith("lock-") and name != f"lock-{self._name}" and concerns(name):
                with self._lock(name, probe=True):
                    pass

    @contextmanager
    def _lock(self, name: str, *, probe: bool = False) -> Iterator[None]:
        """Holds a lock; to probe one excludes nobody else who probes it."""
        if not isinstance(self._files, LocalFiles):
            yield
            return
        try:
            import fcntl
        except ImportError:  # not on Windows
            yield
            return
        with self._writing():
            place = self._files.root / _JOB
            place.mkdir(parents=True, exist_ok=True)
            lock = (place / name).open("w")
        with lock:
            for tries_left in reversed(range(1 if probe else _TRIES)):
                try:
                    fcntl.flock(lock, (fcntl.LOCK_SH if probe else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                    break
                except OSError as error:
                    if not tries_left:
                        raise JobError(f"{self.address}: another process is at work on it") from error
                    time.sleep(_PAUSE)  # one that probes is gone in no time
            yield

    def _names(self, folder: str) -> list[str]:
        try:
            return self._files.names(folder)
        except OSError as error:
            raise JobError(f"{self.address}/{folder} cannot be read: {error.strerror or error}") from error

    def _json(self, name: str) -> dict[str, Any] | None:
        try:
            found = json.loads(self._files.read(name))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise JobError(f"{self.address}/{name} cannot be read: {error}") from error
        except ValueError as error:
            raise _AlteredPart(f"{self.address}/{name} is not as it was written: {error}") from error
        if not isinstance(found, dict):
            raise _AlteredPart(f"{self.address}/{name} is not as it was written")
        return found

    def _write(self, name: str, content: bytes) -> None:
        with self._writing():
            self._files.write(name, content, self._name)

    def _remove(self, name: str) -> None:
        with self._writing():
            self._files.remove(name)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (FileExistsError, NotADirectoryError) as error:
            raise JobError(f"{self.address} is no folder: choose another place for the results") from error
        except OSError as error:
            reason = error.strerror or error
            raise JobError(
                f"{self.address} cannot be written: {reason}. What is finished stands; run again to go on"
            ) from error


def _record(number: int) -> str:
    return f"{_JOB}/records/{number:06d}.json"


def _dump(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, indent=None, default=str).encode("ascii")
