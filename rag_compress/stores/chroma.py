"""A collection of Chroma: results go into the metadata, embeddings stay as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from rag_compress.errors import importing
from rag_compress.stores.files import is_remote
from rag_compress.stores.protocol import Columns, Derived, Part, Row, reporting, split
from rag_compress.stores.table import as_row, check_table


@dataclass(frozen=True)
class Chroma:
    """A collection; the text is the document of each record, other columns are its metadata.

    Attributes:
        address: The URL of a server, or the folder of a local database.
        table: The collection.
        columns: What to read and to write.
    """

    address: str
    table: str | None
    columns: Columns

    def __post_init__(self) -> None:
        check_table(self.address, self.table, "collection")
        _chromadb()

    def parts(self, rows: int) -> Iterator[Part]:
        """Yields the records in the order in which they were added."""
        c, collection, read = self.columns, self._open(), 0
        total = self.count()
        while read < total:
            with self._reporting():
                page = collection.get(limit=rows, offset=read, include=["documents", "metadatas"])
            if not page["ids"]:
                return
            records = zip(page["ids"], page["documents"], page["metadatas"], strict=True)
            found_rows = ((self._row(*record), None) for record in records)
            for found, _ in split(found_rows, rows, c.text):
                read += len(found)
                yield Part(found, None, read / total)

    def count(self) -> int:
        """Returns the number of records."""
        with self._reporting():
            return int(self._open().count())

    def update(self, rows: Sequence[tuple[Row, Derived]], *, replace: bool) -> None:
        """Writes results; a text that is replaced keeps its embedding, which Chroma would otherwise make anew."""
        collection, c = self._open(), self.columns
        good = [(row, derived) for row, derived in rows if replace and derived.value is not None]
        with self._reporting():
            if good:
                ids = [row.id for row, _ in good]
                stored = collection.get(ids=ids, include=["embeddings"])
                known = dict(zip(stored["ids"], stored["embeddings"], strict=True))
                collection.update(
                    ids=ids,
                    documents=[derived.value for _, derived in good],
                    metadatas=[{c.note: derived.note} for _, derived in good],
                    embeddings=[known[each] for each in ids],
                )
            replaced = {row.id for row, _ in good}
            others = [(row, derived) for row, derived in rows if row.id not in replaced]
            if others:
                notes = [self._metadata(derived, replace=replace) for _, derived in others]
                collection.update(ids=[row.id for row, _ in others], metadatas=notes)

    def _metadata(self, derived: Derived, *, replace: bool) -> dict[str, Any]:
        return {self.columns.note: derived.note} | ({} if replace else {self.columns.out: derived.value})

    def _row(self, own: str, document: str | None, metadata: dict[str, Any] | None) -> Row:
        return as_row({**(metadata or {}), self.columns.text: document, self.columns.id: own}, self.columns)

    def _open(self) -> Any:
        chromadb = _chromadb()
        settings = chromadb.config.Settings(anonymized_telemetry=False)
        with self._reporting():
            if is_remote(self.address):
                url = urlsplit(self.address)
                client = chromadb.HttpClient(
                    url.hostname, url.port or 8000, ssl=url.scheme == "https", settings=settings
                )
            else:
                client = chromadb.PersistentClient(self.address, settings=settings)
            return client.get_collection(self.table, embedding_function=None)

    def _reporting(self) -> AbstractContextManager[None]:
        return reporting(self.address, Exception)


def _chromadb() -> Any:
    with importing("chromadb", "chroma", "A store in Chroma"):
        import chromadb
        import chromadb.config
    return chromadb
