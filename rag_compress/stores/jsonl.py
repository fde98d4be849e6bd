"""JSON lines: a row is a line, an id that is missing is its place; compressed files stay compressed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from rag_compress.errors import InvalidInput
from rag_compress.stores.files import STANDARD_INPUT, compress, find_files, open_file
from rag_compress.stores.protocol import Columns, Derived, Part, Row, WriteMode, split, value_of
from rag_compress.tokens import escaped_surrogates

_DECODER = json.JSONDecoder()
SUFFIXES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz", ".jsonl.zst", ".ndjson.zst")


@dataclass
class JsonLines:
    """One file, all such files of a folder, or standard input (`-`).

    Attributes:
        address: A path or a URL.
        table: Must be `None`: there are no tables in a file.
        columns: What to read and to write.
    """

    address: str
    table: str | None
    columns: Columns
    suffix: str = field(init=False, default=".jsonl")

    def __post_init__(self) -> None:
        if self.table is not None:
            raise InvalidInput(f"{self.address} has no tables: leave --table out")
        self._files = find_files(self.address, SUFFIXES)
        ending = PurePosixPath(self._files[0]).suffix.lower()
        self.suffix = f".jsonl{ending}" if ending in {".gz", ".zst"} else ".jsonl"

    def parts(self, rows: int) -> Iterator[Part]:
        """Yields the lines that are not blank; one that is not an object of JSON as a row with an error."""
        for number, name in enumerate(self._files):
            with open_file(name) as (lines, file, size):
                for found, raw in split(self._rows(name, lines), rows, self.columns.text):
                    read = file.tell() / size if size else 1.0
                    yield Part(found, raw, None if size is None else (number + read) / len(self._files))

    def digest(self, part: Part) -> str:
        """Returns the hash of the lines."""
        return hashlib.blake2b(b"\n".join(part.raw), digest_size=16).hexdigest()

    def encode(self, part: Part, derived: Sequence[Derived], mode: WriteMode) -> bytes:
        """Returns one line for each row; with `WriteMode.column` its own text stays as it is, to the last byte."""
        lines = (self._line(*each, mode) for each in zip(part.rows, part.raw, derived, strict=True))
        return compress(b"".join(line + b"\n" for line in lines), self.suffix)

    def _rows(self, name: str, lines: BinaryIO) -> Iterator[tuple[Row, bytes]]:
        shown = "<stdin>" if name == STANDARD_INPUT else PurePosixPath(name).name
        for number, line in enumerate(lines, start=1):
            if stripped := line.removeprefix(b"\xef\xbb\xbf").strip():
                yield self._row(stripped, f"{shown}:{number}"), stripped

    def _row(self, line: bytes, place: str) -> Row:
        try:
            record = json.loads(line.decode("utf-8", "surrogatepass"))  # of bytes json would guess, UTF-16 as well
        except UnicodeDecodeError as error:
            return Row(place, {}, f"is not UTF-8 text (byte {error.start} of the line)")
        except (ValueError, RecursionError) as error:
            return Row(place, {}, f"is not JSON: {error}")
        if not isinstance(record, dict):
            return Row(place, {}, f"must hold an object, not {record!r:.80}")
        own = record.get(self.columns.id)
        return Row(place if own is None else own, record)

    def _line(self, row: Row, raw: bytes, derived: Derived, mode: WriteMode) -> bytes:
        c = self.columns
        if mode is WriteMode.sidecar:
            return _sidecar(row, derived, c)
        if row.error is not None:
            lost = {c.id: row.id, "unreadable": raw.decode(errors="surrogateescape"), c.out: derived.value}
            return _noted(lost, derived, c)
        if mode is WriteMode.column and row.fields and not {c.out, c.note} & row.fields.keys():
            return raw[:-1] + b", " + _noted({c.out: derived.value}, derived, c)[1:]
        kept = {name: value for name, value in _written(raw.decode("utf-8", "surrogatepass")).items() if name != c.note}
        if mode is WriteMode.column or derived.value is not None:
            kept[c.out if mode is WriteMode.column else c.text] = _json(derived.value)
        return _object({**kept, c.note: derived.note})


def encode_lines(rows: Sequence[Row], derived: Sequence[Derived], columns: Columns) -> bytes:
    """Returns a line with id, result and note for each row of any store."""
    return b"".join(_sidecar(*each, columns) + b"\n" for each in zip(rows, derived, strict=True))


def decode_lines(content: bytes, columns: Columns) -> Iterator[Row]:
    """Yields the rows of lines with results and notes."""
    for line in content.split(b"\n")[:-1]:
        record = json.loads(line)
        note = record.get(columns.note)
        value = value_of(record, note or {}, columns)
        yield Row(record.get(columns.id), record, None, json.dumps(note) if note else None, value)


def _sidecar(row: Row, derived: Derived, columns: Columns) -> bytes:
    return _noted({columns.id: row.id, columns.out: derived.value}, derived, columns)


def _noted(record: dict[str, Any], derived: Derived, columns: Columns) -> bytes:
    """Returns a record as one line that ends with the note."""
    return _object({name: _json(value) for name, value in record.items()} | {columns.note: derived.note})


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _written(line: str) -> dict[str, str]:
    """Returns the fields of an object of JSON, each value as it is written there: 1e400 or 1.10 are no floats."""
    fields, place = {}, 1
    while line[place := _skip(line, place)] != "}":
        name, end = _DECODER.raw_decode(line, place)
        start = _skip(line, end)
        _, place = _DECODER.raw_decode(line, start)
        fields[name] = line[start:place]
    return fields


def _skip(line: str, place: int) -> int:
    """Returns where the next name or value of an object begins, or its end stands."""
    while line[place] in " \t\r\n,:":
        place += 1
    return place


def _object(fields: Mapping[str, str]) -> bytes:
    """Returns an object of JSON as one line."""
    text = ", ".join(f"{_json(name)}: {value}" for name, value in fields.items())
    return escaped_surrogates(f"{{{text}}}").encode()
