"""Parquet files: a part is a run of rows of one file; all other columns, vectors too, are carried along untouched."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rag_compress.errors import InvalidInput, StoreError, importing
from rag_compress.stores.files import find_files, open_file
from rag_compress.stores.protocol import Columns, Derived, Part, Row, WriteMode, parse_note, split, value_of


@dataclass(frozen=True)
class Parquet:
    """One file, or all `.parquet` files of a folder.

    Attributes:
        address: A path or a URL.
        table: Must be `None`: a file is a table.
        columns: What to read and to write.
    """

    address: str
    table: str | None
    columns: Columns
    suffix: str = ".parquet"

    def __post_init__(self) -> None:
        if self.table is not None:
            raise InvalidInput(f"{self.address} is a table: leave --table out")
        arrow()

    def parts(self, rows: int) -> Iterator[Part]:
        """Yields the rows of one file after the other."""
        pa, files = arrow(), find_files(self.address, (".parquet",))
        for number, name in enumerate(files):
            try:
                for part in self._parts(name, rows):
                    yield part._replace(share=(number + (part.share or 0.0)) / len(files))
            except (pa.ArrowException, ValueError) as error:  # the second: nanoseconds, which Python's times have not
                raise StoreError(f"{name}: cannot be read: {error}") from error

    def digest(self, part: Part) -> str:
        """Returns the hash of all columns."""
        pa = arrow()
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, part.raw.schema) as stream:
            stream.write_table(part.raw)
        return hashlib.blake2b(sink.getvalue(), digest_size=16).hexdigest()

    def encode(self, part: Part, derived: Sequence[Derived], mode: WriteMode) -> bytes:
        """Returns a file with the part's rows."""
        pa, c = arrow(), self.columns
        table = part.raw.combine_chunks()
        listed = c.text in table.column_names and pa.types.is_nested(table.schema.field(c.text).type)
        kind = pa.list_(pa.string()) if listed else pa.string()
        values = [each.value for each in derived]
        if mode is WriteMode.sidecar:
            table = table.select([name for name in [c.id] if name in table.column_names])
        if mode is WriteMode.replace and c.text in table.column_names:
            kept = [row.fields[c.text] for row in part.rows]
            values = [text if value is None else value for text, value in zip(kept, values, strict=True)]
            table = _with(table, c.text, pa.array(values, _plain(table.schema.field(c.text).type)))
        else:
            table = _with(table, c.out, pa.array(values, kind))
        return _written(_with(table, c.note, pa.array([each.note for each in derived], pa.string())))

    def _parts(self, name: str, rows: int) -> Iterator[Part]:
        pa = arrow()
        with open_file(name) as (file, _, _):
            opened = pa.parquet.ParquetFile(file)
            total, read = opened.metadata.num_rows, 0
            for batch in opened.iter_batches(batch_size=rows, use_threads=False):
                table = pa.Table.from_batches([batch])
                begin = 0
                for found, _ in split(self._rows(table, name, read), rows, self.columns.text):
                    part = table.slice(begin, len(found))
                    begin += len(found)
                    yield Part(found, part, (read + begin) / total)
                read += batch.num_rows

    def _rows(self, table: Any, name: str, before: int) -> Iterator[tuple[Row, None]]:
        wanted = dict.fromkeys([*self.columns.read, *self.columns.written(replace=False)])
        known = table.select([column for column in wanted if column in table.column_names])
        for i, fields in enumerate(known.to_pylist()):
            own = fields.get(self.columns.id)
            yield Row(f"{name.rpartition('/')[2]}:{before + i + 1}" if own is None else own, fields), None


def decode_table(content: bytes, columns: Columns) -> Iterator[Row]:
    """Yields the rows of a file that `Parquet.encode` made."""
    pa = arrow()
    file = pa.parquet.ParquetFile(pa.BufferReader(content))
    wanted = (columns.id, columns.text, columns.out, columns.note)
    names = [name for name in dict.fromkeys(wanted) if name in file.schema_arrow.names]
    for fields in file.read(names, use_threads=False).to_pylist():  # a thread that outlives Python would abort it
        note = fields.get(columns.note)
        yield Row(fields.get(columns.id), fields, None, note, value_of(fields, parse_note(note), columns))


def _plain(kind: Any) -> Any:
    """Returns the type of what an extension type is stored as; any other type itself."""
    return getattr(kind, "storage_type", kind)


def _with(table: Any, name: str, column: Any) -> Any:
    """Returns a table with a column, in the place of the one of that name if there is one."""
    if name in table.column_names:
        return table.set_column(table.column_names.index(name), name, column)
    return table.append_column(name, column)


def _written(table: Any) -> bytes:
    pa = arrow()
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def arrow() -> Any:
    """Returns pyarrow; raises `MissingExtra` where it is not installed."""
    with importing("pyarrow", "parquet", "Reading Parquet files"):
        import pyarrow as pa
        import pyarrow.ipc
        import pyarrow.parquet
    return pa
