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
from typing import Any

import rag_compress
from rag_compress.errors import DamagedIndex, IncompatibleIndex, IndexFolderError, InvalidInput
from rag_compress.types import Document

FORMAT = 1
MANIFEST = "manifest.json"
_DATA = re.compile(r"data-[0-9a-f]{8}")


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
        folder: Is created if need be.
        kind: What the index is, such as `bm25`.
        parameters: Anything that JSON holds.
        save: Writes the files of the index into the folder it is given.

    Raises:
        IndexFolderError: The folder cannot be written.
    """
    root = Path(folder)
    data = root / f"data-{secrets.token_hex(4)}"
    try:
        data.mkdir(parents=True)
        save(data)
        for file in _files(data):
            _flush(file)
        manifest = {
            "format": FORMAT,
            "kind": kind,
            "version": rag_compress.__version__,
            "parameters": parameters,
            "data": data.name,
            "files": {file.relative_to(data).as_posix(): _fingerprint(file) for file in _files(data)},
        }
        _replace(root / MANIFEST, json.dumps(manifest, indent=1))
    except OSError as error:
        shutil.rmtree(data, ignore_errors=True)
        raise IndexFolderError(f"Cannot write the index {root}: {error}") from error
    except BaseException:
        shutil.rmtree(data, ignore_errors=True)
        raise
    for old in root.iterdir():
        if _DATA.fullmatch(old.name) and old != data:
            shutil.rmtree(old, ignore_errors=True)


def read_index(folder: str | os.PathLike[str], kind: str) -> IndexFolder:
    """Returns an index folder after checking its kind, its format and every byte of its files.

    Raises:
        IndexFolderError: There is no index.
        DamagedIndex: A file is missing, half-written or altered.
        IncompatibleIndex: It is of another kind, or was written by a newer version.
    """
    root = Path(folder)
    manifest = _read_manifest(root)
    if manifest["kind"] != kind:
        raise IncompatibleIndex(f"{root} holds an index of kind {manifest['kind']!r}, not {kind!r}")
    data = root / manifest["data"]
    for name, fingerprint in manifest["files"].items():
        file = data / name
        if not file.is_file() or not file.resolve().is_relative_to(data.resolve()):
            raise DamagedIndex(f"{file} is missing: build the index again")
        if _fingerprint(file) != fingerprint:
            raise DamagedIndex(f"{file} is not as it was written: build the index again")
    return IndexFolder(manifest["parameters"], data)


def kind_of(folder: str | os.PathLike[str]) -> str:
    """Returns what kind of index a folder holds; raises as `read_index` does."""
    return str(_read_manifest(Path(folder))["kind"])


def check_documents(documents: Iterable[Document]) -> tuple[Document, ...]:
    """Returns documents that can be indexed.

    Raises:
        InvalidInput: There is none, one is not a `Document`, or two share an id.
    """
    checked = tuple(documents)
    seen: set[str] = set()
    for document in checked:
        if not isinstance(document, Document):
            raise InvalidInput(f"An index holds Documents, not {type(document).__name__}: {document!r:.80}")
        if document.id in seen:
            raise InvalidInput(f"Two documents share the id {document.id!r}; ids must be unique in an index")
        seen.add(document.id)
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
            except (TypeError, ValueError) as error:
                raise InvalidInput(
                    f"The metadata of document {document.id!r} cannot be saved as JSON: {error}"
                ) from error


def read_documents(file: Path) -> tuple[Document, ...]:
    """Returns the documents that `write_documents` wrote."""
    with file.open(encoding="ascii") as lines:
        return tuple(Document(**json.loads(line)) for line in lines)


def _read_manifest(root: Path) -> dict[str, Any]:
    file = root / MANIFEST
    try:
        manifest = json.loads(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise IndexFolderError(f"There is no index in {root}: build one with `rag-compress index`") from error
    except OSError as error:
        raise IndexFolderError(f"Cannot read the index {root}: {error}") from error
    except ValueError as error:
        raise DamagedIndex(f"{file} is not as it was written: build the index again") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("format"), int):
        raise DamagedIndex(f"{file} is not the manifest of an index")
    if manifest["format"] > FORMAT:
        version = manifest.get("version")
        raise IncompatibleIndex(f"{root} was written by rag_compress {version}: update rag_compress to read it")
    kinds = {"kind": str, "data": str, "files": dict, "parameters": dict}
    if not all(isinstance(manifest.get(key), kind) for key, kind in kinds.items()) or not _DATA.fullmatch(
        manifest["data"]
    ):
        raise DamagedIndex(f"{file} is not as it was written: build the index again")
    return manifest


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def _fingerprint(file: Path) -> dict[str, Any]:
    with file.open("rb") as content:
        return {"bytes": file.stat().st_size, "sha256": hashlib.file_digest(content, "sha256").hexdigest()}


def _flush(file: Path) -> None:
    """Makes sure that a file is on the disk before the manifest says so."""
    with file.open("rb") as content:
        os.fsync(content.fileno())


def _replace(file: Path, text: str) -> None:
    """Writes a small file so that a reader sees the old content or the new, never part of it."""
    temporary = file.with_suffix(f".{secrets.token_hex(4)}.tmp")
    with temporary.open("w", encoding="ascii") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(file)
