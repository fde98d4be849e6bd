"""Document stores, one file each, behind one protocol: read in parts, and write beside or in place of the original."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, cast

from rag_compress.checks import is_folder
from rag_compress.errors import InvalidInput
from rag_compress.stores.files import STANDARD_INPUT, decompress, files_of, is_remote
from rag_compress.stores.jsonl import SUFFIXES, JsonLines, decode_lines
from rag_compress.stores.protocol import Columns, Row, Store


class _Kind(NamedTuple):
    module: str
    name: str
    schemes: tuple[str, ...]
    suffixes: tuple[str, ...] = ()


_KINDS = (
    _Kind("jsonl", "JsonLines", (), SUFFIXES),
    _Kind("parquet", "Parquet", (), (".parquet",)),
    _Kind("sqlite", "Sqlite", ("sqlite:",), (".sqlite", ".sqlite3", ".db")),
    _Kind("postgres", "Postgres", ("postgresql://", "postgres://")),
    _Kind("lancedb", "LanceDb", ("lancedb:",)),
    _Kind("qdrant", "Qdrant", ("qdrant:",)),
    _Kind("chroma", "Chroma", ("chroma:",)),
)
"""A new store is one file and one row."""


def open_store(address: str, table: str | None, columns: Columns) -> Store:
    """Returns the store at an address; it is opened, and closed, when it is used.

    Args:
        address: `docs.jsonl` (also .gz, .zst), `-`, a `.parquet` file, a folder or URL of such files, `docs.sqlite`,
            `postgresql://...`, `lancedb:FOLDER`, `qdrant:FOLDER_OR_URL`, `chroma:FOLDER_OR_URL`.
        table: The table or collection, where the store has several.
        columns: What to read and to write.

    Raises:
        InvalidInput: There is no store of this kind.
        StoreError: There is nothing at the address.
        MissingExtra: The package for this kind of store is not installed.
    """
    kind = next((kind for kind in _KINDS if address.startswith(kind.schemes)), None) or _kind_of_file(address)
    return _maker(kind)(split_scheme(address)[1], table, columns)


def split_scheme(address: str) -> tuple[str, str]:
    """Returns what tells the kind of a store, such as `lancedb:`, and the rest; the first is empty elsewhere."""
    schemes = (scheme for kind in _KINDS for scheme in kind.schemes if not scheme.endswith("://"))
    scheme = next((scheme for scheme in schemes if address.startswith(scheme)), "")
    return scheme, address.removeprefix(scheme)


def absolute(address: str) -> str:
    """Returns an address as it holds from any working directory."""
    if address == STANDARD_INPUT or is_remote(address):
        return address
    scheme, name = split_scheme(address)
    path = Path(name)
    return f"{scheme}{path.resolve() if '..' in path.parts else path.absolute()}"


def decode_part(name: str, content: bytes, columns: Columns) -> Iterator[Row]:
    """Yields the rows of a file that a `FileStore` encoded, with `note` and `value`, by the file's name."""
    if name.endswith(".parquet"):
        from rag_compress.stores.parquet import decode_table

        rows: Iterator[Row] = decode_table(content, columns)
        return rows
    return decode_lines(decompress(content, name), columns)


def _kind_of_file(address: str) -> _Kind:
    if address == STANDARD_INPUT:
        return _KINDS[0]
    lower = address.lower()
    for kind in _KINDS:
        if kind.suffixes and lower.endswith(kind.suffixes):
            return kind
    if is_remote(address) or is_folder(address):
        names = files_of(address) or []
        found = [kind for kind in _KINDS[:2] if any(name.lower().endswith(kind.suffixes) for name in names)]
        if len(found) == 1:
            return found[0]
        holds = "both" if found else "neither"
        raise InvalidInput(
            f"{address} must hold either JSON lines or Parquet files, and holds {holds}; "
            "folders within it are not read, each is a store of its own"
        )
    known = " ".join(
        [*(suffix for kind in _KINDS for suffix in kind.suffixes), *(s for k in _KINDS for s in k.schemes)]
    )
    raise InvalidInput(f"{address} is no store that is known by its name ({known}), nor a folder of such files")


def _maker(kind: _Kind) -> Callable[[str, str | None, Columns], Store]:
    if kind.name == "JsonLines":
        return JsonLines
    module = import_module(f"rag_compress.stores.{kind.module}")
    return cast("Callable[[str, str | None, Columns], Store]", getattr(module, kind.name))
