"""A table of an SQLite file; each part is one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag_compress.errors import InvalidInput, StoreError
from rag_compress.stores.protocol import Columns, Derived, Part, Row, reporting
from rag_compress.stores.table import Statements, as_text, check_table, pages, quoted


@dataclass(frozen=True)
class Sqlite:
    """A table with an id column that is unique.

    Attributes:
        address: The file.
        table: The table.
        columns: What to read and to write; columns for the result and its note are added.
    """

    address: str
    table: str | None
    columns: Columns

    def __post_init__(self) -> None:
        check_table(self.address, self.table)
        if not Path(self.address).is_file():
            raise StoreError(f"{self.address}: no such file")

    def parts(self, rows: int) -> Iterator[Part]:
        """Yields the rows by id."""
        with self._open() as database:

            def query(statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
                with self._reporting():
                    found = database.execute(statement, parameters).fetchall()
                for own, *_ in found:
                    if isinstance(own, _NoText):  # it sorts and compares as a text here, as bytes when it is asked for
                        raise InvalidInput(
                            f"{self.table}: the id {bytes(own)!r:.80} in {self.columns.id!r} is not UTF-8"
                        )
                return found

            with self._reporting():
                present = self._present(database)
            yield from pages(query, self._statements, present, rows)

    def count(self) -> int:
        """Returns the number of rows."""
        with self._reporting(), self._open() as database:
            return int(database.execute(self._statements.count).fetchone()[0])

    def update(self, rows: Sequence[tuple[Row, Derived]], *, replace: bool) -> None:
        """Writes results in one transaction."""
        statement = self._statements.replace() if replace else self._statements.update
        wanted = self.columns.written(replace=replace)
        with self._reporting(), self._open() as database, database:
            for name in wanted:
                if name not in self._present(database):
                    database.execute(self._statements.add(name))
            database.executemany(statement, [(as_text(each.value), each.note, row.id) for row, each in rows])

    @property
    def _statements(self) -> Statements:
        table = self.table or ""
        return Statements(table, quoted(table), self.columns, "?")

    def _present(self, database: sqlite3.Connection) -> list[str]:
        """Returns the columns, generated ones too, and `rowid` if it is asked for, which no table lists as its own."""
        table, own = quoted(self.table or ""), self.columns.id
        names = [row[1] for row in database.execute(f"PRAGMA table_xinfo({table})")]
        if own == "rowid" and own not in names:
            with suppress(sqlite3.OperationalError):  # views and some tables have none
                database.execute(f"SELECT rowid FROM {table} LIMIT 0")  # noqa: S608 - it is quoted
                names.append(own)
        return names

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with self._reporting():
            database = sqlite3.connect(Path(self.address).resolve().as_uri() + "?mode=rw", uri=True, timeout=60)
        database.text_factory = _text
        with closing(database):
            yield database

    def _reporting(self) -> AbstractContextManager[None]:
        return reporting(self.address, sqlite3.Error, UnicodeEncodeError)


class _NoText(bytes):
    """A text that is not UTF-8."""


def _text(content: bytes) -> str | bytes:
    """Returns a text, or the bytes if they are not UTF-8: one bad row must not spoil its page."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return _NoText(content)
