"""A collection of Qdrant: results go into the payload, vectors stay as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from rag_compress.errors import StoreError, importing
from rag_compress.stores.files import is_remote
from rag_compress.stores.protocol import Columns, Derived, Part, Row, reporting, split
from rag_compress.stores.table import as_row, check_table


@dataclass(frozen=True)
class Qdrant:
    """A collection; the columns are fields of the payload, a row's id is the point's.

    Attributes:
        address: The URL of a server, or the folder of a local database, which only one process may have open.
        table: The collection.
        columns: What to read and to write.
    """

    address: str
    table: str | None
    columns: Columns

    def __post_init__(self) -> None:
        check_table(self.address, self.table, "collection")
        _qdrant()

    def parts(self, rows: int) -> Iterator[Part]:
        """Yields the points by id; a client is open only while a page is read."""
        c, total, read, offset = self.columns, self.count(), 0, None
        while True:
            points, offset = self._page(rows, offset)
            for found, _ in split(((self._row(point), None) for point in points), rows, c.text):
                read += len(found)
                yield Part(found, None, min(read / total, 1.0))
            if offset is None:
                return

    def count(self) -> int:
        """Returns the number of points."""
        with closing(self._open()) as client, reporting(self.address, Exception):
            return int(client.count(self.table).count)

    def update(self, rows: Sequence[tuple[Row, Derived]], *, replace: bool) -> None:
        """Writes results into the payloads, each point in one step."""
        models = _qdrant().models
        operations = [
            models.SetPayloadOperation(
                set_payload=models.SetPayload(payload=self._payload(derived, replace=replace), points=[row.id])
            )
            for row, derived in rows
        ]
        with closing(self._open()) as client, reporting(self.address, Exception):
            client.batch_update_points(self.table, operations, wait=True)

    def _payload(self, derived: Derived, *, replace: bool) -> dict[str, Any]:
        c = self.columns
        payload = {c.note: derived.note}
        if not replace or derived.value is not None:
            payload[c.text if replace else c.out] = derived.value
        return payload

    def _page(self, rows: int, offset: Any) -> tuple[list[Any], Any]:
        with closing(self._open()) as client, reporting(self.address, Exception):
            found: tuple[list[Any], Any] = client.scroll(self.table, limit=rows, offset=offset, with_payload=True)
            return found

    def _row(self, point: Any) -> Row:
        return as_row({**(point.payload or {}), self.columns.id: point.id}, self.columns)

    def _open(self) -> Any:
        place = {"url" if is_remote(self.address) else "path": self.address}
        client = _qdrant()
        with reporting(self.address, Exception):
            opened = client.QdrantClient(**place)
            if not opened.collection_exists(self.table):
                opened.close()
                raise StoreError(f"{self.address}: there is no collection {self.table!r}")
        return opened


def _qdrant() -> Any:
    with importing("qdrant-client", "qdrant", "A store in Qdrant"):
        import qdrant_client
    return qdrant_client
