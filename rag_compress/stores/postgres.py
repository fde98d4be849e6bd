"""A table of PostgreSQL; each part is one transaction, and columns such as pgvector's stay as they are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from rag_compress.errors import importing
from rag_compress.stores.protocol import Columns, Derived, Part, Row, Value, reporting
from rag_compress.stores.table import Statements, as_text, check_table, pages, quoted

_PRESENT = """\
SELECT attname, regexp_replace(format_type(COALESCE(NULLIF(typbasetype, 0), atttypid), NULL), '^character(?! varying)',
'bpchar') FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid
WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""
"""The columns with their types without a length, to which a cast would cut: a bare `character` is one letter."""


@dataclass(frozen=True)
class Postgres:
    """A table with an id column that is unique.

    Attributes:
        address: What libpq takes, as `postgresql://user@host/database`; a password better stands in `PGPASSWORD`.
        table: The table; a schema stands before a dot.
        columns: What to read and to write; columns for the result and its note are added.
    """

    address: str
    table: str | None
    columns: Columns

    def __post_init__(self) -> None:
        check_table("PostgreSQL", self.table)  # the address may hold a password
        _psycopg()

    def parts(self, rows: int) -> Iterator[Part]:
        """Yields the rows by id; no transaction stays open in between."""
        with self._open() as database:

            def query(statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
                with self._reporting():
                    found: list[tuple[Any, ...]] = database.execute(statement, parameters).fetchall()
                    return found

            present = self._present(database)
            yield from pages(query, self._statements(present.get(self.columns.id)), list(present), rows)

    def count(self) -> int:
        """Returns the number of rows."""
        with self._reporting(), self._open() as database:
            return int(database.execute(self._statements().count).fetchone()[0])

    def update(self, rows: Sequence[tuple[Row, Derived]], *, replace: bool) -> None:
        """Writes results in one transaction."""
        with self._reporting(), self._open() as database, database.transaction():
            present = self._present(database)
            statements = self._statements(present[self.columns.id])
            for name in self.columns.written(replace=replace):
                if name not in present:
                    database.execute(statements.add(name))
            kind = present[self.columns.text] if replace else "text"
            statement = statements.replace(kind) if replace else statements.update
            with database.cursor() as cursor:
                found = [(_as_type(each.value, kind), each.note, row.id) for row, each in rows]
                cursor.executemany(statement, found)

    def _statements(self, kind: str | None = None) -> Statements:
        table = self.table or ""
        return Statements(table, ".".join(map(quoted, table.split("."))), self.columns, "${}", kind)

    def _present(self, database: Any) -> dict[str, str]:
        """Returns the columns of the table with their types."""
        with self._reporting():
            return dict(database.execute(_PRESENT, [self._statements().name]).fetchall())

    @contextmanager
    def _open(self) -> Iterator[Any]:
        psycopg = _psycopg()
        with self._reporting():  # a raw cursor takes no % of a name for a parameter
            database = psycopg.connect(self.address, autocommit=True, cursor_factory=psycopg.RawCursor)
            database.adapters.register_loader("bpchar", _unpadded())
        with database:
            yield database

    def _reporting(self) -> AbstractContextManager[None]:
        return reporting(self.table or "", _psycopg().Error, UnicodeEncodeError)


def _as_type(value: Value, kind: str) -> Any:
    """Returns a result for a column of this type."""
    if value is None:
        return None
    of_json = kind.startswith("json")
    if kind.endswith("[]"):
        return [json.dumps(each) for each in value] if of_json else value
    return json.dumps(value) if of_json else as_text(value)


@cache
def _unpadded() -> Any:
    """Returns what reads `char(60)` without the spaces that fill it up, which no comparison in SQL counts."""
    from psycopg.types.string import TextLoader

    def load(self: Any, data: Any) -> Any:
        text = TextLoader.load(self, data)
        return text.rstrip(" ") if isinstance(text, str) else text

    return type("Unpadded", (TextLoader,), {"load": load})


def _psycopg() -> Any:
    with importing("psycopg", "postgres", "A store in PostgreSQL"):
        import psycopg
    return psycopg
