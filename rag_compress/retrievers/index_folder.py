"""The folder that an index is saved in: a manifest, and beside it one data folder that the manifest names.

A new data folder is written whole before the manifest is replaced in one step, so a crash at any moment leaves either
the old index or the new one. The manifest holds each file's size and SHA-256: what was altered is noticed on loading.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import rag_compress
from rag_compress.errors import DamagedIndex, IncompatibleIndex, IndexFolderError, InvalidInput
from rag_compress.types import Document, as_documents, first_repeated
from rag_compress.whole import written_whole

FORMAT = 1
MANIFEST = "manifest.json"
_DATA = re.compile(r"data-[0-9a-f]{8}")
_MANIFEST = re.compile(r"manifest\.(json|[0-9a-f]{8}\.tmp)")

Index = TypeVar("Index")


@dataclass(frozen=True)
class IndexFolder:
    """A checked index folder: `parameters` as they were saved, `data` the folder with the files."""

    parameters: Mapping[str, Any]
    data: Path


def write_index(
    folder: str | os.PathLike[str], kind: str, parameters: Mapping[str, Any], save: Callable[[Path], None]
) -> None:
    """Writes an index folder in one step; an index that was there before is replaced, or kept if this fails.

    Args:
        folder: Is created if need be; must be empty or hold an index.
        kind: What the index is, such as `bm25`.
        parameters: Anything that JSON holds.
        save: Writes the files of the index into the folder it is given.

    Raises:
        IndexFolderError: The folder cannot be written, or holds something else than an index.
    """
    root = Path(folder)
    data = root / f"data-{secrets.token_hex(4)}"
    old = replaceable(root)
    try:
        data.mkdir(parents=True)
        save(data)
        files = _flushed(data)
        old = replaceable(root)  # another writer may have been faster
        _write_manifest(root, {"kind": kind, "parameters": parameters, "data": data.name, "files": files})
    except BaseException as error:
        shutil.rmtree(data, ignore_errors=True)
        if not old and root.is_dir() and not any(root.iterdir()):
            root.rmdir()
        if isinstance(error, OSError):
            raise IndexFolderError(f"Cannot write the index {root}: {error}") from error
        raise
    if old:  # another writer may have put its own data beside ours: only what we replaced is removed
        shutil.rmtree(root / old["data"], ignore_errors=True)


def read_index(folder: str | os.PathLike[str], kind: str, load: Callable[[IndexFolder], Index]) -> Index:
    """Returns what `load` makes of an index folder, after its kind, format and every byte of its files were checked.

    When the index is replaced while it is read, the new one is read instead.

    Raises:
        IndexFolderError: There is no index.
        DamagedIndex: A file is missing, half-written or altered.
        IncompatibleIndex: It is of another kind, or was written by a newer version.
    """
    root = Path(folder)
    while True:
        manifest = _read_manifest(root)
        if manifest["kind"] != kind:
            raise IncompatibleIndex(f"{root} holds an index of kind {manifest['kind']!r}, not {kind!r}")
        try:
            _check_files(root / manifest["data"], manifest["files"])
            return load(IndexFolder(manifest["parameters"], root / manifest["data"]))
        except (IndexFolderError, FileNotFoundError) as error:  # of this index, or of one within it
            if _read_manifest(root) != manifest:
                continue
            if isinstance(error, IndexFolderError):
                raise
            raise DamagedIndex(f"{error.filename} is missing: build the index again") from error


def replaceable(root: Path) -> dict[str, Any] | None:
    """Returns the manifest of the index that stands in a folder, or `None` if the folder is empty or absent.

    Raises:
        IndexFolderError: There is something else than an index, or it cannot be looked at.
    """
    try:
        names = [each.name for each in root.iterdir()] if root.exists() else []
    except OSError as error:
        raise IndexFolderError(f"Cannot write the index {root}: {error}") from error
    if not names:
        return None
    try:
        return _read_manifest(root)
    except IncompatibleIndex:
        raise
    except IndexFolderError as error:
        own = [name for name in names if _DATA.fullmatch(name)]
        if own and all(name in own or _MANIFEST.fullmatch(name) for name in names):
            return None  # what a first save that was killed has left, or a damaged index
        message = f"{root} is not empty and holds no index that could be replaced: choose another folder"
        raise IndexFolderError(message) from error


def kind_of(folder: str | os.PathLike[str]) -> str:
    """Returns what kind of index a folder holds; raises as `read_index` does."""
    return str(_read_manifest(Path(folder))["kind"])


def check_documents(documents: Iterable[Document | str]) -> tuple[Document, ...]:
    """Returns documents that can be indexed.

    Raises:
        InvalidInput: There is none, one is neither a `Document` nor a string, or two share an id.
    """
    checked = as_documents(documents)
    if (repeated := first_repeated(checked)) is not None:
        raise InvalidInput(f"Two documents share the id {repeated!r:.80}; ids must be unique in an index")
    if not checked:
        raise InvalidInput("An index needs at least one document")
    return checked


def indexed_text(document: Document) -> str:
    """Returns what an index reads of a document: its title, if it has one, and its text."""
    return f"{document.title}\n{document.text}" if document.title else document.text


def write_documents(file: Path, documents: Iterable[Document]) -> None:
    """Writes documents as JSON lines.

    Raises:
        InvalidInput: A document's metadata hold something that JSON does not.
    """
    with file.open("w", encoding="ascii") as out:
        for document in documents:
            record = {"id": document.id, "text": document.text, "title": document.title}
            try:
                out.write(json.dumps(record | {"metadata": dict(document.metadata)}) + "\n")
            except (TypeError, ValueError, RecursionError) as error:
                raise InvalidInput(
                    f"The metadata of document {document.id!r:.80} cannot be saved as JSON: {error}"
                ) from error


def read_documents(file: Path) -> tuple[Document, ...]:
    """Returns the documents that `write_documents` wrote."""
    with file.open(encoding="ascii") as lines:
        return tuple(Document(**json.loads(line)) for line in lines)


def _write_manifest(root: Path, content: Mapping[str, Any]) -> None:
    body = {"format": FORMAT, "version": rag_compress.__version__, **content}
    with written_whole(root / MANIFEST, root / f"manifest.{secrets.token_hex(4)}.tmp") as out:
        out.write(json.dumps({**body, "sha256": _digest(body)}, indent=1, default=_plain).encode("ascii"))


def _read_manifest(root: Path) -> dict[str, Any]:
    file = root / MANIFEST
    try:
        manifest = json.loads(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise IndexFolderError(f"There is no index in {root}: build one with `rag-compress index`") from error
    except OSError as error:
        raise IndexFolderError(f"Cannot read the index {root}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise DamagedIndex(f"{file} is not as it was written: build the index again") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("format"), int):
        raise DamagedIndex(f"{file} is not the manifest of an index")
    if manifest["format"] > FORMAT:
        version = manifest.get("version")
        raise IncompatibleIndex(f"{root} was written by rag_compress {version}: update rag_compress to read it")
    known = manifest.keys() >= {"kind", "parameters", "data", "files"} and _DATA.fullmatch(str(manifest["data"]))
    if manifest.pop("sha256", None) != _digest(manifest) or not known:  # a path elsewhere must not be read, or removed
        raise DamagedIndex(f"{file} is not as it was written: build the index again")
    return manifest


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, default=_plain).encode("ascii")).hexdigest()


def _plain(value: Any) -> Any:
    """Returns the Python number of a numpy one."""
    return value.item()


def _check_files(data: Path, files: Mapping[str, Any]) -> None:
    for name, fingerprint in files.items():
        if not (data / name).is_file():
            raise DamagedIndex(f"{data / name} is missing: build the index again")
        if _fingerprint(data / name) != fingerprint:
            raise DamagedIndex(f"{data / name} is not as it was written: build the index again")


def _flushed(data: Path) -> dict[str, Any]:
    """Returns the fingerprints of a folder's files once they are on the disk."""
    fingerprints = {}
    for file in sorted(file for file in data.rglob("*") if file.is_file()):
        with file.open("rb") as content:
            os.fsync(content.fileno())
        fingerprints[file.relative_to(data).as_posix()] = _fingerprint(file)
    return fingerprints


def _fingerprint(file: Path) -> dict[str, Any]:
    with file.open("rb") as content:
        return {"bytes": file.stat().st_size, "sha256": hashlib.file_digest(content, "sha256").hexdigest()}
