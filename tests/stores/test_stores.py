"""The contract of stores: every kind is a row of `eval.stores.KINDS` and inherits all the tests below."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from eval.stores import KINDS, VECTOR, Made
from rag_compress import ExtractiveCompressor
from rag_compress.batch.engines import LocalEngine
from rag_compress.batch.folder import JobFolder
from rag_compress.batch.job import Job
from rag_compress.batch.read import check_job, results, whole_tally
from rag_compress.batch.run import Progress, Run
from rag_compress.batch.worker import Worker
from rag_compress.errors import InvalidInput, StoreError
from rag_compress.stores import open_store
from rag_compress.stores.protocol import Columns, Derived, Part, TableStore, WriteMode

pytestmark = pytest.mark.filterwarnings("ignore")
QUERY = "Which river is in France?"
TEXTS = [f"The Loire {i} is a river in France. It is long. Bread {i} is baked from flour." for i in range(10)]
DOCUMENTS: dict[int, str | None] = dict(enumerate(TEXTS))


class Stopped(BaseException):
    """Stands for the end of the process."""


class Interrupted(LocalEngine):
    """An engine that ends after two parts."""

    def map(self, worker: Worker, works: Iterable[Any]) -> Iterator[Any]:
        """Yields two works with their outcomes."""
        for number, each in enumerate(super().map(worker, works)):
            if number == 2:
                raise Stopped
            yield each


@pytest.fixture(params=KINDS.items(), ids=KINDS.keys())
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Made:
    """A store with ten documents."""
    _, kind = request.param
    if kind.package is not None:
        pytest.importorskip(kind.package)
    return kind.make(tmp_path, DOCUMENTS)


def job_over(made: Made, **changes: Any) -> Job:
    """Returns a job over a store, with parts of three rows."""
    worker = Worker("lexical", {"threshold": 0.2})
    return replace(Job(made.address, worker, query=QUERY, table=made.table, rows=3), **changes)


def run(made: Made, out: Path, engine: LocalEngine | None = None, **changes: Any) -> Progress:
    """Runs a job in this process."""
    job = job_over(made, **changes)
    store = open_store(job.source, job.table, job.columns)
    return Run(job, store, JobFolder(str(out)), engine or LocalEngine(workers=1))()


def found(out: Path) -> dict[int, Any]:
    """Returns the results by id, after checking that each row is there once."""
    rows = list(results(JobFolder(str(out))))
    by_id = {int(row.id): row.value for row in rows}
    assert len(by_id) == len(rows)
    return by_id


def expected(texts: dict[int, str | None]) -> dict[int, str]:
    """Returns what the compressor makes of the texts, one by one."""
    compressor = ExtractiveCompressor.lexical(threshold=0.2)
    return {
        i: " ".join(segment.text for segment in compressor.compress(QUERY, [text]).segments)
        for i, text in texts.items()
        if text is not None
    }


def test_every_row_once(made: Made, tmp_path: Path) -> None:
    """Every row has the compressor's result, once; vectors are as they were, and nothing is wrong with the output."""
    progress = run(made, tmp_path / "out")
    assert (progress.tally.rows, progress.tally.fresh, progress.tally.errors) == (10, 10, 0)
    assert found(tmp_path / "out") == expected(DOCUMENTS)
    assert found(tmp_path / "out")[3] == "The Loire 3 is a river in France."
    assert list(check_job(JobFolder(str(tmp_path / "out")))) == []
    assert whole_tally(JobFolder(str(tmp_path / "out"))).rows == 10
    if made.vectors is not None:
        assert made.vectors() == dict.fromkeys(DOCUMENTS, VECTOR)


def test_a_second_run_does_nothing(made: Made, tmp_path: Path) -> None:
    """When nothing has changed nothing is computed; when one document has, one is; a lost text is an error row."""
    run(made, tmp_path / "out")
    again = run(made, tmp_path / "out")
    assert (again.tally.rows, again.tally.fresh) == (10, 0)
    made.write({4: "A new river in France. Nothing else."})
    once = run(made, tmp_path / "out")
    assert (once.tally.rows, once.tally.fresh, once.tally.errors) == (10, 1, 0)
    assert found(tmp_path / "out") == expected({**DOCUMENTS, 4: "A new river in France. Nothing else."})
    assert list(check_job(JobFolder(str(tmp_path / "out")))) == []


def test_resumed_after_the_end_of_the_process(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that ends between parts, or between a part and its record, is resumed to the undisturbed result."""
    with pytest.raises(Stopped):
        run(made, tmp_path / "out", Interrupted(workers=1))
    with monkeypatch.context() as patched:
        patched.setattr(JobFolder, "commit", _stop)
        with pytest.raises(Stopped):
            run(made, tmp_path / "out")
    if "jsonl" in made.address or "parquet" in made.address:
        assert any("not finished" in problem for problem in check_job(JobFolder(str(tmp_path / "out"))))
    progress = run(made, tmp_path / "out")
    assert progress.tally.rows == 10
    assert progress.tally.fresh < 10
    assert found(tmp_path / "out") == expected(DOCUMENTS)
    assert list(check_job(JobFolder(str(tmp_path / "out")))) == []


def _stop(*_: Any, **__: Any) -> None:
    raise Stopped


def test_replace(made: Made, tmp_path: Path) -> None:
    """Replaced texts are not compressed again; a text that is new is; other settings are refused, row by row."""
    out = tmp_path / "out"
    run(made, out, mode=WriteMode.replace)
    again = run(made, out, mode=WriteMode.replace)
    assert (again.tally.rows, again.tally.fresh, again.tally.errors) == (10, 0, 0)
    assert found(out) == expected(DOCUMENTS)
    store = open_store(made.address, made.table, Columns())
    if not isinstance(store, TableStore):
        return
    assert {int(r.id): r.fields["text"] for p in store.parts(100) for r in p.rows} == expected(DOCUMENTS)
    made.write({2: TEXTS[7]})
    assert run(made, out, mode=WriteMode.replace).tally.fresh == 1
    assert found(out)[2] == expected(DOCUMENTS)[7]
    for _ in range(2):  # a refusal leaves the row as it is, so that the next run refuses it too
        other = run(made, tmp_path / "other", mode=WriteMode.replace, worker=Worker("lexical", {"threshold": 0.9}))
        assert (other.tally.errors, other.tally.fresh) == (10, 0)
    assert {int(r.id): r.fields["text"] for p in store.parts(100) for r in p.rows}[7] == expected(DOCUMENTS)[7]
    if made.vectors is not None:
        assert made.vectors() == dict.fromkeys(DOCUMENTS, VECTOR)


@pytest.mark.parametrize("mode", [WriteMode.column, WriteMode.replace])
def test_a_result_that_was_altered(made: Made, mode: WriteMode, tmp_path: Path) -> None:
    """It is noticed in a table, too, and made again where the text is still there."""
    run(made, tmp_path / "out", mode=mode)
    store = open_store(made.address, made.table, Columns())
    if not isinstance(store, TableStore):
        return
    row = next(row for part in store.parts(100) for row in part.rows if int(row.id) == 6)
    store.update([(row, Derived("Altered.", row.note or ""))], replace=mode is WriteMode.replace)
    (problem,) = check_job(JobFolder(str(tmp_path / "out")))
    assert "6" in problem
    assert "not as it was written" in problem
    assert run(made, tmp_path / "out", mode=mode).tally.fresh == 1
    assert list(check_job(JobFolder(str(tmp_path / "out")))) == []
    if mode is WriteMode.column:
        assert found(tmp_path / "out") == expected(DOCUMENTS)


def test_replace_after_a_column(made: Made, tmp_path: Path) -> None:
    """Results that stand beside the texts do not count as replaced texts."""
    run(made, tmp_path / "column")
    store = open_store(made.address, made.table, Columns())
    if isinstance(store, TableStore):
        assert run(made, tmp_path / "replaced", mode=WriteMode.replace).tally.fresh == 10
        assert {int(r.id): r.fields["text"] for p in store.parts(100) for r in p.rows} == expected(DOCUMENTS)


def test_shards_of_a_store_that_changes(made: Made, tmp_path: Path) -> None:
    """Two shards do every row once, even if the second finds rows gone that the first has seen."""
    out = tmp_path / "out"
    store = open_store(made.address, made.table, Columns())
    if not isinstance(store, TableStore):
        return
    for shard in ((0, 2), (1, 2)):
        job = Job(made.address, Worker("lexical"), query=QUERY, table=made.table, rows=3)
        seen = _Fewer(store) if shard[0] else store
        Run(job, seen, JobFolder(str(out), shard), LocalEngine(workers=1), shard)()
    rows = [row for part in store.parts(100) for row in part.rows]
    assert all(row.note is not None for row in rows[1:])


@dataclass(frozen=True)
class _Fewer:
    """A store from which the first row has gone."""

    store: Any

    def parts(self, rows: int) -> Any:
        """Yields the parts of the others."""
        others = [row for part in self.store.parts(rows) for row in part.rows][1:]
        return (Part(others[i : i + rows], None, 1.0) for i in range(0, len(others), rows))

    def count(self) -> int:
        """Returns one row fewer."""
        return int(self.store.count()) - 1

    def update(self, rows: Any, *, replace: bool) -> None:
        """Writes what was derived."""
        self.store.update(rows, replace=replace)


def test_sidecar(made: Made, tmp_path: Path) -> None:
    """With a sidecar the store stays as it is, and the results stand in the folder."""
    run(made, tmp_path / "out", mode=WriteMode.sidecar)
    assert found(tmp_path / "out") == expected(DOCUMENTS)
    store = open_store(made.address, made.table, Columns())
    if isinstance(store, TableStore):
        assert all(row.note is None for part in store.parts(100) for row in part.rows)
    assert run(made, tmp_path / "out", mode=WriteMode.sidecar).tally.fresh == 0


def test_a_row_without_text(made: Made, tmp_path: Path) -> None:
    """A row without text is kept with its error, the others get results, and it is tried again."""
    made.write({5: None})
    tally = run(made, tmp_path / "out").tally
    if made.address.startswith("chroma"):  # it holds no record without text
        assert tally.errors == 0
        return
    assert tally.errors == 1
    assert tally.failed[0][0] == "5"
    assert "field 'text'" in tally.failed[0][1]
    assert found(tmp_path / "out") == expected({**DOCUMENTS, 5: None})
    assert list(check_job(JobFolder(str(tmp_path / "out")))) == []
    made.write({5: TEXTS[5]})
    mended = run(made, tmp_path / "out").tally
    assert (mended.fresh, mended.errors) == (1, 0)
    assert found(tmp_path / "out") == expected(DOCUMENTS)


def test_what_is_not_there(made: Made, tmp_path: Path) -> None:
    """A table or a column that is not there is an error that names it."""
    if made.table is not None:
        with pytest.raises((StoreError, InvalidInput), match="absent"):
            list(open_store(made.address, "absent", Columns()).parts(3))
        with pytest.raises(InvalidInput, match="--table"):
            open_store(made.address, None, Columns())
    else:
        with pytest.raises(InvalidInput, match="leave --table out"):
            open_store(made.address, "docs", Columns())
    if made.table is None or made.address.startswith(("qdrant", "chroma")):  # whose rows may differ in their fields
        assert run(made, tmp_path / "out", columns=Columns(text="absent")).tally.errors in (0, 10)
    else:
        with pytest.raises(InvalidInput, match="absent"):
            run(made, tmp_path / "out", columns=Columns(text="absent"))


@pytest.mark.parametrize("content", [b"cut", None])
def test_files_of_lancedb_that_are_damaged(tmp_path: Path, content: bytes | None) -> None:
    """A file of the table that was cut, or is gone, is an error that names the store."""
    pytest.importorskip("lancedb")
    made = KINDS["lancedb"].make(tmp_path, DOCUMENTS)
    for file in tmp_path.rglob("data/*.lance"):
        file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(StoreError, match=str(tmp_path)):
        run(made, tmp_path / "out")
