"""A table of LanceDB; each part is one new version of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from rag_compress.errors import importing
from rag_compress.stores.parquet import arrow
from rag_compress.stores.protocol import Columns, Derived, Part, Row, reporting, split
from rag_compress.stores.table import as_row, as_text, bad_id, check_columns, check_table


@dataclass(frozen=True)
class LanceDb:
    """A table with an id column that is unique; it is read as it was when the reading began.

    Attributes:
        address: The folder or URL of the database.
        table: The table.
        columns: What to read and to write; columns for the result and its note are added.
    """

    address: str
    table: str | None
    columns: Columns

    def __post_init__(self) -> None:
        check_table(self.address, self.table)
        _lancedb()

    def parts(self, rows: int) -> Iterator[Part]:
        """Yields the rows in the order of the table."""
        table, c, read = self._open(), self.columns, 0
        with self._reporting():
            names = table.schema.names
            check_columns(self.table or "", c, names)
            self._check_ids(table)
            total = table.count_rows()
            names = [*c.read, *(name for name in (c.out, c.note) if name in names)]
            for batch in table.search().select(names).limit(None).to_batches(rows):
                for found, _ in split(((as_row(fields, c), None) for fields in batch.to_pylist()), rows, c.text):
                    read += len(found)
                    yield Part(found, None, min(read / total, 1.0))

    def count(self) -> int:
        """Returns the number of rows."""
        with self._reporting():
            return int(self._open().count_rows())

    def update(self, rows: Sequence[tuple[Row, Derived]], *, replace: bool) -> None:
        """Writes results as one new version."""
        c, table = self.columns, self._open()
        wanted = c.written(replace=replace)
        missing = {name: "cast(NULL as string)" for name in wanted if name not in table.schema.names}
        with self._reporting():
            if missing:
                table.add_columns(missing)
            groups = [(wanted, rows)]
            if replace:  # a text whose row failed stays
                good = [each for each in rows if each[1].value is not None]
                bad = [each for each in rows if each[1].value is None]
                groups = [([c.text, c.note], good), ([c.note], bad)]
            for names, group in groups:
                self._merge(table, names, group)

    def _check_ids(self, table: Any) -> None:
        """Raises `InvalidInput` unless the ids tell rows apart: results would go to the wrong rows, or to none."""
        ids = table.search().select([self.columns.id]).limit(None).to_arrow()[self.columns.id]
        counts = ids.value_counts()
        repeated = (counts.field("counts").to_numpy() > 1).nonzero()[0]
        if ids.null_count or len(repeated):
            own = None if ids.null_count else counts[int(repeated[0])]["values"].as_py()
            raise bad_id(self.table or "", self.columns, own)

    def _merge(self, table: Any, names: Sequence[str], rows: Sequence[tuple[Row, Derived]]) -> None:
        pa = arrow()
        if not rows:
            return
        written: dict[str, Callable[[Row, Derived], Any]] = {
            self.columns.id: lambda row, _: row.id,
            self.columns.text: lambda _, each: each.value,
            self.columns.out: lambda _, each: as_text(each.value),
            self.columns.note: lambda _, each: each.note,
        }
        columns = {
            name: pa.array([written[name](*each) for each in rows], table.schema.field(name).type)
            for name in (self.columns.id, *names)
        }
        table.merge_insert(self.columns.id).when_matched_update_all().execute(pa.table(columns))

    def _open(self) -> Any:
        with self._reporting(f": the table {self.table!r} cannot be opened"):
            return _lancedb().connect(self.address).open_table(self.table)

    def _reporting(self, what: str = "") -> AbstractContextManager[None]:
        return reporting(f"{self.address}{what}", RuntimeError, ValueError, OSError)


def _lancedb() -> Any:
    with importing("lancedb", "lancedb", "A store in LanceDB"):
        import lancedb
    return lancedb
