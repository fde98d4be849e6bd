"""What a document store is: parts of rows to read, and a place for what was derived from them.

There are two kinds. Of a `FileStore` every part is written again, as a file of a job folder; a `TableStore` is changed
in place, row by row. Either way a derived value stands beside a note that says what it was made from, so that a later
run knows what is still true.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple, Protocol, runtime_checkable

from rag_compress.errors import InvalidInput, RagCompressError, StoreError

Value = Any
"""The compressed form of a row: a string; for a list of documents, a list of strings; `None` after an error."""

MOST_CHARACTERS = 8_000_000
"""A part ends when its texts have this many characters, however few its rows are: bounds the memory."""


class WriteMode(Enum):
    """Where a result goes: into fields beside the original, into a file of its own, or in the original's place."""

    column = "column"
    sidecar = "sidecar"
    replace = "replace"


@dataclass(frozen=True)
class Columns:
    """The names of the fields that matter.

    Attributes:
        text: The document, or the list of documents.
        id: What tells rows apart.
        title: The document's title, or `None`.
        query: The question of the row, or `None`.
        out: The field for the result; its note goes to `<out>_note`.
    """

    text: str = "text"
    id: str = "id"
    title: str | None = None
    query: str | None = None
    out: str = "compressed"

    def __post_init__(self) -> None:
        read = [name for name in (self.text, self.id, self.title, self.query) if name is not None]
        if not all([*read, self.out]):
            raise InvalidInput(f"The name of a column must not be empty: {self}")
        if clash := {self.out, self.note} & set(read):
            raise InvalidInput(f"The column {clash.pop()!r} is read; choose another name for the result")

    @property
    def note(self) -> str:
        """The field for the note of the result."""
        return f"{self.out}_note"

    def written(self, *, replace: bool) -> list[str]:
        """The fields that a store may have to add; a text that is replaced is there."""
        return [self.note] if replace else [self.out, self.note]

    @property
    def read(self) -> list[str]:
        """The fields that a row needs, without repetition."""
        return list(dict.fromkeys(name for name in (self.id, self.text, self.title, self.query) if name is not None))


@contextmanager
def reporting(where: str, *kinds: type[Exception]) -> Iterator[None]:
    """Makes errors of these kinds, a store's own, into a `StoreError` that says where."""
    try:
        yield
    except RagCompressError:
        raise
    except kinds as error:
        raise StoreError(f"{where}: {str(error).strip()}") from error


class Row(NamedTuple):
    """One row of a store.

    Attributes:
        id: As the store has it; where it has none, the row's place.
        fields: The columns that a job reads, as far as they are there.
        error: Why the row cannot be read, or `None`.
        note: What an earlier run left beside the row, or `None`.
        value: What an earlier run made of the row.
    """

    id: Any
    fields: Mapping[str, Any]
    error: str | None = None
    note: str | None = None
    value: Value = None


class Part(NamedTuple):
    """A run of rows that is finished as a whole or not at all.

    Attributes:
        rows: In the order of the store.
        raw: The rows as the store itself holds them.
        share: How much of the store has been read with this part, in [0, 1]; `None`: not known.
    """

    rows: Sequence[Row]
    raw: Any = None
    share: float | None = None


class Derived(NamedTuple):
    """What is stored for one row: the result (`None` after an error) and its note, a JSON object."""

    value: Value
    note: str


def parse_note(note: Any) -> Mapping[str, Any]:
    """Returns what a note says; what is no note says nothing.

    Under `error` stands why there is no result, under `replaced` whether it took the place of the text.
    """
    try:
        found = json.loads(note) if isinstance(note, str) else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def value_of(fields: Mapping[str, Any], said: Mapping[str, Any], columns: Columns) -> Value:
    """Returns the result in a row of a job's file, `None` where its note says that there is none, or says nothing."""
    if not said or "error" in said:
        return None
    return fields.get(columns.text if said.get("replaced") else columns.out)


class Store(Protocol):
    """What every store can do. It is made by a function of its address, its table and the columns."""

    def parts(self, rows: int) -> Iterator[Part]:
        """Yields every row once, in parts of at most so many; no more than a part is held in memory.

        Raises:
            StoreError: The store cannot be read.
        """
        ...


@runtime_checkable
class FileStore(Store, Protocol):
    """A store of files, which are never changed: the results are new files of the same format.

    Attributes:
        suffix: Of the files.
    """

    @property
    def suffix(self) -> str:
        """Of the files."""
        ...

    def digest(self, part: Part) -> str:
        """Returns what changes whenever any field of any of the rows does."""
        ...

    def encode(self, part: Part, derived: Sequence[Derived], mode: WriteMode) -> bytes:
        """Returns the content of a file with the rows and what was derived from them."""
        ...


@runtime_checkable
class TableStore(Store, Protocol):
    """A store that is changed in place. Its rows come with `note` and `value`, if an earlier run left them."""

    def count(self) -> int:
        """Returns the number of rows."""
        ...

    def update(self, rows: Sequence[tuple[Row, Derived]], *, replace: bool) -> None:
        """Writes what was derived; all other fields stay as they are. May be repeated after a crash.

        Args:
            rows: What to write, by the row's id.
            replace: Write the result in the place of the text; after an error the text stays.

        Raises:
            StoreError: The store cannot be written.
        """
        ...


def split(rows: Iterator[tuple[Row, Any]], most: int, text: str) -> Iterator[tuple[list[Row], list[Any]]]:
    """Yields runs of at most so many rows, or of `MOST_CHARACTERS` of text, with what stands beside each row."""
    run: list[tuple[Row, Any]] = []
    size = 0
    for row, raw in rows:
        run.append((row, raw))
        size += _characters(row.fields.get(text))
        if len(run) == most or size >= MOST_CHARACTERS:
            yield [each for each, _ in run], [each for _, each in run]
            run, size = [], 0
    if run:
        yield [each for each, _ in run], [each for _, each in run]


def _characters(value: Any) -> int:
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, list | tuple):
        return sum(map(_characters, value))
    if isinstance(value, dict):
        return sum(map(_characters, value.values()))
    return 0
