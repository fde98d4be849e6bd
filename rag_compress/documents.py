"""Reads documents from text files, folders, JSON lines and standard input.

A record of JSON lines needs a `text` (or `contents`, `content`, `page_content`, `body`); an `id` (or `_id`, `doc_id`)
and a `title` are used when there, `metadata` and every other field become metadata.
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
import logging
import os
import re
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any, cast

from rag_compress.checks import check_list, is_folder
from rag_compress.errors import DocumentError, InvalidInput, shown
from rag_compress.types import Document

STANDARD_INPUT = "-"
TEXT_SUFFIXES = frozenset(
    ".adoc .cfg .css .csv .go .h .htm .html .ini .java .js .log .markdown .md .org .py .rs .rst .srt .tex .toml .ts "
    ".tsv .txt .vtt .xml .yaml .yml".split()
)
"""What is read from a folder, besides JSON lines; a file named by itself is read whatever its suffix."""

_LINES_SUFFIXES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
TEXT_FIELDS = ("text", "contents", "content", "page_content", "body")
"""Where the text of a record is looked for, in this order."""
_ID_FIELDS = ("id", "_id", "doc_id")

_SHOWN = 8
_LOG = logging.getLogger(__name__)

OnError = Callable[[DocumentError], None]


def raise_error(error: DocumentError) -> None:
    """Raises the error: the first document that cannot be read ends the reading."""
    raise error


def read_documents(
    sources: Iterable[str | PathLike[str]], encoding: str = "utf-8", on_error: OnError = raise_error
) -> Iterator[Document]:
    """Yields the documents of files, folders (all their text files, in order of name) and `-` (standard input).

    How many files of a folder are of other kinds than `TEXT_SUFFIXES`, and so left out, is said in a warning.

    Args:
        sources: Paths, or `-`.
        encoding: Of all files; beside UTF-8, UTF-16 with its byte order mark is known, which Windows writes.
        on_error: Is called with each document that cannot be read, by file and line, or whose id came before; reading
            goes on with the next one unless this raises (the default does).

    Raises:
        InvalidInput: The encoding is unknown, or `sources` is a single path.
        DocumentError: From `on_error`.
    """
    check_list("sources", "paths", sources)
    codec = _text_codec(encoding)
    first_place: dict[str, str] = {}
    for item in (item for source in sources for item in _read(fspath(source), codec)):
        if isinstance(item, DocumentError):
            on_error(item)
            continue
        place, document = item
        if document.id in first_place:
            on_error(DocumentError(f"{place}: the id {document.id!r:.80} came before, at {first_place[document.id]}"))
            continue
        first_place[document.id] = place
        yield document


_Item = tuple[str, Document] | DocumentError


def _text_codec(encoding: str) -> str:
    """Returns the name of the codec to read with: UTF-8 without the byte order mark that some editors write."""
    try:
        "a".encode(encoding)
    except (LookupError, UnicodeError) as error:
        raise InvalidInput(f"Unknown encoding {encoding!r}: try utf-8, latin-1 or cp1252") from error
    name = codecs.lookup(encoding).name
    return "utf-8-sig" if name == "utf-8" else name


def _codec_of(start: bytes, codec: str) -> str:
    """Returns the codec of a content that starts like this: a byte order mark of UTF-16 is never UTF-8."""
    has_mark = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and not start.startswith(
        codecs.BOM_UTF32_LE
    )
    return "utf-16" if has_mark and codec == "utf-8-sig" else codec


def _read(source: str, codec: str) -> Iterator[_Item]:
    if source == STANDARD_INPUT:
        yield from _read_standard_input(codec)
    elif not source or "\0" in source:
        yield DocumentError(f"{source!r:.80} is not the name of a file or folder")
    elif is_folder(source):
        for file in _files_of(source):
            yield from [file] if isinstance(file, DocumentError) else _read_file(file, codec)
    else:
        yield from _read_file(Path(source), codec)


def _files_of(folder: str) -> Iterator[Path | DocumentError]:
    """Yields the text files of a folder in order of name, not the hidden ones; links are followed, each place once.

    Indexes and jobs of this library that stand within are left out: they hold the same texts again.
    """
    problems: list[DocumentError] = []

    def report(error: OSError) -> None:
        problems.append(DocumentError(f"{error.filename}: cannot be read: {error.strerror}"))

    seen: set[str] = set()
    found: list[Path] = []
    for place, folders, names in os.walk(folder, followlinks=True, onerror=report):
        real = os.path.realpath(place)
        is_read = real not in seen and (place == folder or not _is_ours(place, folders))
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if is_read else []
        if is_read:
            found.extend(Path(place, name) for name in names if not name.startswith("."))
        seen.add(real)
    yield from problems
    text = [file for file in found if file.suffix.lower() in TEXT_SUFFIXES or _holds_lines(file)]
    if others := Counter(file.suffix.lower() or file.name for file in set(found) - set(text)):
        kinds = ", ".join(f"{count} {kind}" for kind, count in others.most_common(_SHOWN))
        _LOG.warning("%s: left out what is not known to be text: %s", folder, kinds)
    yield from (DocumentError(f"{file}: is a link to nothing") for file in sorted(text) if _is_broken(file))
    yield from sorted(file for file in text if file.is_file())  # a named pipe would keep the reader waiting


def _is_ours(place: str, folders: Sequence[str]) -> bool:
    """Returns whether a folder holds an index or a job of this library."""
    has_data = any(re.fullmatch(r"data-[0-9a-f]{8}", name) for name in folders)
    return "_job" in folders or (has_data and Path(place, "manifest.json").is_file())


def _is_broken(file: Path) -> bool:
    return file.is_symlink() and not file.exists()


def _holds_lines(file: Path) -> bool:
    return file.name.lower().endswith(_LINES_SUFFIXES)


def _read_file(file: Path, codec: str) -> Iterator[_Item]:
    try:
        if _holds_lines(file):
            with gzip.open(file) if file.suffix.lower() == ".gz" else file.open("rb") as stream:
                yield from _read_lines(cast("io.BufferedReader", stream), str(file), codec)
        else:
            yield _document(str(file), file.read_bytes(), codec)
    except (OSError, EOFError, zlib.error) as error:  # a cut or altered gzip file raises the last two
        reason = getattr(error, "strerror", None) or error
        yield DocumentError(f"{file}: cannot be read: {reason}")


def _read_standard_input(codec: str) -> Iterator[_Item]:
    """Yields the documents of standard input: JSON lines when it starts with `{`, otherwise one text."""
    content = b"" if sys.stdin is None else sys.stdin.buffer.read()
    codec = _codec_of(content, codec)
    if not content:
        yield DocumentError("<stdin>: is empty")
    elif content.decode(codec, "replace").lstrip()[:1] == "{":
        yield from _read_lines(io.BufferedReader(io.BytesIO(content)), "<stdin>", codec)
    else:
        yield _document("<stdin>", content, codec)


def _document(name: str, content: bytes, encoding: str) -> _Item:
    encoding = _codec_of(content, encoding)
    if b"\0" in content[:8192] and not encoding.startswith("utf-16") and not encoding.startswith("utf-32"):
        return DocumentError(f"{name}: is binary, not text")
    try:
        return name, Document(Path(name).as_posix(), content.decode(encoding), title=Path(name).name)
    except UnicodeDecodeError as error:
        return DocumentError(f"{name}: {_not_text(encoding)} (byte {error.start}): give its encoding (--encoding)")


def _not_text(codec: str) -> str:
    return f"is not {codec.removesuffix('-sig')} text"


def _read_lines(stream: io.BufferedReader, name: str, codec: str) -> Iterator[_Item]:
    codec = _codec_of(stream.peek(4), codec)
    try:
        for number, line in enumerate(_lines_of(stream, codec), start=1):
            if line.strip():
                yield _from_line(line, f"{name}:{number}", codec)
    except UnicodeError as error:
        yield DocumentError(f"{name}: {_not_text(codec)}: {error}")


def _lines_of(stream: io.BufferedReader, codec: str) -> Iterable[bytes | str]:
    """Returns the lines, undecoded where the codec allows it, so that one bad line does not spoil the others."""
    if "a\n".encode(codec).endswith(b"a\n"):
        return stream
    return stream.read().decode(codec).split("\n")


def _from_line(line: bytes | str, place: str, codec: str) -> _Item:
    try:
        record = json.loads(line if isinstance(line, str) else line.decode(codec))
    except UnicodeDecodeError as error:
        return DocumentError(f"{place}: {_not_text(codec)} (byte {error.start} of the line)")
    except (ValueError, RecursionError) as error:
        return DocumentError(f"{place}: is not JSON: {error}")
    return _from_record(record, place)


def _from_record(record: Any, place: str) -> _Item:
    if not isinstance(record, dict):
        return DocumentError(f"{place}: must hold an object, not {record!r:.80}")
    text_field = next((name for name in TEXT_FIELDS if name in record), None)
    if text_field is None:
        return DocumentError(f"{place}: has no field 'text', only {shown(record)}")
    id_field = next((name for name in _ID_FIELDS if record.get(name) is not None), None)
    text, doc_id, title = record[text_field], record[id_field] if id_field else place, record.get("title") or ""
    if not isinstance(text, str):
        return DocumentError(f"{place}: the field {text_field!r} must be a string, not {type(text).__name__}")
    if not isinstance(doc_id, str | int | float) or not isinstance(title, str):
        return DocumentError(f"{place}: the id must be a string or a number, and the title a string")
    others = {name: value for name, value in record.items() if name not in {text_field, id_field, "title"}}
    metadata = others.pop("metadata", None) or {}
    if not isinstance(metadata, dict):  # a field like any other
        metadata = {"metadata": metadata}
    return place, Document(str(doc_id), text, title, metadata={**metadata, **others})
