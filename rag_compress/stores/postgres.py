"""A table of PostgreSQL; each part is one transaction, and columns such as pgvector's stay as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from rag_compress.errors import MissingExtra
from rag_compress.stores.protocol import Columns, Derived, Part, Row, reporting
from rag_compress.stores.table import Statements, check_table, pages, values

_PRESENT = """\
SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""


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

            yield from pages(query, self._statements, self._present(database), rows)

    def count(self) -> int:
        """Returns the number of rows."""
        with self._reporting(), self._open() as database:
            return int(database.execute(self._statements.count).fetchone()[0])

    def update(self, rows: Sequence[tuple[Row, Derived]], *, replace: bool) -> None:
        """Writes results in one transaction."""
        statement = self._statements.replace if replace else self._statements.update
        wanted = self.columns.written(replace=replace)
        with self._reporting(), self._open() as database, database.transaction():
            present = self._present(database)
            for name in wanted:
                if name not in present:
                    database.execute(self._statements.add(name))
            with database.cursor() as cursor:
                cursor.executemany(statement, [values(*each) for each in rows])

    @property
    def _statements(self) -> Statements:
        return Statements(self.table or "", self.columns, "%s")

    def _present(self, database: Any) -> list[str]:
        with self._reporting():
            return [row[0] for row in database.execute(_PRESENT, [self._statements.name]).fetchall()]

    @contextmanager
    def _open(self) -> Iterator[Any]:
        with self._reporting():
            database = _psycopg().connect(self.address, autocommit=True)
        with database:
            yield database

    def _reporting(self) -> AbstractContextManager[None]:
        return reporting(self.table or "", _psycopg().Error, UnicodeEncodeError)


def _psycopg() -> Any:
    try:
        import psycopg
    except ImportError as error:
        raise MissingExtra("psycopg", "postgres", "A store in PostgreSQL") from error
    return psycopg
