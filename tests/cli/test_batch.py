"""`run`, `status`, `verify` and `export`: what they print, and their exit codes."""

from __future__ import annotations

import gzip
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import zstandard

from rag_compress.cli import main
from rag_compress.stores.table import quoted

Run = Callable[..., tuple[int, str, str]]
OPTIONS = ["--method", "lexical", "--query", "Which river?", "--workers", "1"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line in this process; returns exit code, stdout and stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["rag-compress", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Ten documents as JSON lines."""
    file = tmp_path / "docs.jsonl"
    file.write_text("".join(f'{{"id": "d{i}", "text": "A river {i} runs. Bread is baked."}}\n' for i in range(10)))
    return file


def test_run_status_verify_export(run: Run, source: Path, tmp_path: Path) -> None:
    """A run prints a table to stderr and nothing to stdout; the other commands read what it wrote."""
    out = tmp_path / "out"
    code, printed, err = run("run", source, out, *OPTIONS, "--part-rows", 4)
    assert (code, printed) == (0, "")
    assert "10" in err
    assert "report.html" in err
    assert "<svg" in (out / "_job" / "report.html").read_text()
    code, printed, _ = run("status", out, "--json")
    state = json.loads(printed)
    assert (code, state["finished"], state["rows"], state["errors"]) == (0, True, 10, 0)
    assert "lexical over" in run("status", out)[1]
    assert run("verify", out)[0] == 0
    code, printed, _ = run("export", out, "-")
    assert [json.loads(line) for line in printed.splitlines()][1] == {"id": "d1", "text": "A river 1 runs."}
    run("export", out, tmp_path / "e.jsonl")
    assert (tmp_path / "e.jsonl").read_text() == printed
    (out / "part-000001.jsonl").unlink()
    code, printed, _ = run("verify", out)
    assert code == 1
    assert "part-000001.jsonl cannot be read" in printed


def test_progress_as_json(run: Run, source: Path, tmp_path: Path) -> None:
    """There is one line of JSON on stderr for each part, and one at the end; nothing else."""
    err = run("run", source, tmp_path / "out", *OPTIONS, "--part-rows", 4, "--progress", "json")[2]
    events = [json.loads(line) for line in err.splitlines()]
    assert [event["rows"] for event in events] == [4, 8, 10, 10]
    assert [event["event"] for event in events] == ["part"] * 3 + ["end"]
    assert Path(events[-1]["report"]).is_file()
    assert events[-1]["share"] == 1
    assert events[-1]["seconds_left"] == 0
    assert events[-1]["tokens_after"] < events[-1]["tokens_before"]


def test_exit_codes(run: Run, source: Path, tmp_path: Path) -> None:
    """Rows that failed, a changed job, too many errors and wrong usage have exit codes of their own."""
    out = tmp_path / "out"
    assert run("run", source, out, *OPTIONS, "--max-tokens", 9)[0] == 0
    code, _, err = run("run", source, out, *OPTIONS, "--max-tokens", 8)
    assert code == 4
    assert "options.max_tokens: 9 -> 8" in " ".join(err.split())
    assert run("run", source, out, *OPTIONS, "--max-tokens", 8, "--restart")[0] == 0
    source.write_text('{"id": 1}\n{"id": 2}\n')
    assert run("run", source, tmp_path / "bad", *OPTIONS)[0] == 3
    assert "has no field 'text'" in run("status", tmp_path / "bad")[1]
    code, _, err = run("run", source, tmp_path / "stopped", *OPTIONS, "--max-errors", 1)
    assert (code, "2 rows failed, more than 1" in err) == (5, True)
    assert run("run", tmp_path / "absent.jsonl", tmp_path / "x", *OPTIONS)[0] == 1
    assert run("status", tmp_path)[0] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "magic"], "No method 'magic'"),
        (["--write-mode", "replace"], "say --yes as well"),
        (["--write-mode", "twice"], "'twice' is not one of column, sidecar, replace"),
        (["--shard", "3"], "A shard is i/n"),
        (["--shard", "2/2"], "0 <= i < n"),
        (["--max-tokens", "-1"], "max_tokens must be an integer of at least 0"),
        (["--option", "magic"], "An option is NAME=VALUE"),
        (["--option", "magic=1"], "does not take these options"),
        (["--query-col", "q"], "not both"),
        (["--engine", "abacus"], "not one of local, ray"),
        (["--progress", "loud"], "not one of auto, json, none"),
        (["--config", "absent.toml"], "absent.toml cannot be read"),
        (["--table", "docs"], "leave --table out"),
        (["--workers", "0"], "workers must be an integer of at least 1"),
        (["--out-col", "text"], "'text' is read"),
    ],
)
def test_wrong_usage(run: Run, source: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    """A wrong value is named, with exit code 2, before anything is written."""
    code, _, err = run("run", source, tmp_path / "out", *OPTIONS, *arguments)
    assert (code, message in " ".join(err.split())) == (2, True)
    assert not (tmp_path / "out").exists()


def test_config(run: Run, source: Path, tmp_path: Path) -> None:
    """Settings come from a TOML file; flags overrule it; what it may not have is named."""
    config = tmp_path / "job.toml"
    config.write_text('method = "lexical"\nquery = "Which river?"\n[options]\nmax_tokens = 9\nneighbours = 1\n')
    assert run("run", source, tmp_path / "out", "--config", config, "--max-tokens", 30, "--workers", 1)[0] == 0
    settings = json.loads((tmp_path / "out" / "_job" / "job.json").read_text())
    assert settings["options"] == {"max_tokens": 30, "neighbours": 1}


@pytest.mark.parametrize("table", ["docs", "docs.csv", 'the "docs"', "order"])
def test_a_table_from_the_command_line(run: Run, tmp_path: Path, table: str) -> None:
    """A table gets columns for results, whatever its name; export reads them from there."""
    name = quoted(table)
    with closing(sqlite3.connect(tmp_path / "a.db")) as database, database:
        database.execute(f"CREATE TABLE {name} (key TEXT PRIMARY KEY, body TEXT)")
        values = [("a", "A river. Bread."), ("b", "Bread. A river.")]
        database.executemany(f"INSERT INTO {name} VALUES (?, ?)", values)  # noqa: S608 - it is quoted
    columns = ["--table", table, "--id-col", "key", "--text-col", "body", "--out-col", "short"]
    assert run("run", tmp_path / "a.db", tmp_path / "out", *OPTIONS, *columns, "--threshold", 0.1)[0] == 0
    assert run("export", tmp_path / "out")[1] == '{"id": "a", "text": "A river."}\n{"id": "b", "text": "A river."}\n'
    assert run("verify", tmp_path / "out")[0] == 0


def test_columns_that_sqlite_does_not_list(run: Run, tmp_path: Path) -> None:
    """The text may be a generated column, and the id a table's own row numbers."""
    with closing(sqlite3.connect(tmp_path / "a.db")) as database, database:
        database.execute("CREATE TABLE docs (body TEXT, text TEXT GENERATED ALWAYS AS (body || ' Bread.') VIRTUAL)")
        database.execute("INSERT INTO docs (body) VALUES ('A river.')")
    columns = ["--table", "docs", "--id-col", "rowid"]
    assert run("run", tmp_path / "a.db", tmp_path / "out", *OPTIONS, *columns, "--threshold", 0.1)[0] == 0
    assert run("export", tmp_path / "out")[1] == '{"id": 1, "text": "A river."}\n'
    assert run("verify", tmp_path / "out")[0] == 0


def test_a_tokenizer_that_was_changed_in_place(run: Run, source: Path, tmp_path: Path) -> None:
    """Its file is part of the job's settings: results that were counted with another one do not stay."""
    tokenizers = pytest.importorskip("tokenizers")
    file = tmp_path / "tokenizer.json"
    for words, code in (({"x": 0}, 0), ({"x": 0}, 0), ({"x": 0, "y": 1}, 4)):
        tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="x")).save(str(file))  # noqa: S106
        assert run("run", source, tmp_path / "out", *OPTIONS, "--tokenizer", tmp_path)[0] == code


def test_a_folder_of_partitions(run: Run, tmp_path: Path) -> None:
    """What is not read is said."""
    (tmp_path / "docs" / "lang=en").mkdir(parents=True)
    (tmp_path / "docs" / "lang=en" / "a.parquet").touch()
    code, _, err = run("run", tmp_path / "docs", tmp_path / "out", *OPTIONS)
    assert (code, "folders within it are not read" in err) == (2, True)


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal(tmp_path: Path, sent: signal.Signals, workers: str) -> None:
    """After Ctrl-C, a termination or a kill the same command goes on, to the undisturbed result."""
    source = tmp_path / "a.jsonl"
    source.write_text("".join(f'{{"id": {i}, "text": "A river {i} runs. Bread is baked."}}\n' for i in range(6000)))
    command = [sys.executable, "-m", "rag_compress", "run", source, tmp_path / "out", *OPTIONS, "--part-rows", "20"]
    command += ["--workers", workers]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        while not (tmp_path / "out" / "part-000003.jsonl").exists():
            assert process.poll() is None
            time.sleep(0.01)
        os.killpg(process.pid, sent)  # as a terminal does
        _, said = process.communicate()
        assert process.returncode == (-9 if sent is signal.SIGKILL else 130)
    finished = len(list((tmp_path / "out" / "_job" / "records").iterdir()))
    assert 0 < finished < 300
    if sent is not signal.SIGKILL:
        assert "Traceback" not in said
        assert "the same command goes on from here" in " ".join(said.split())
        assert (tmp_path / "out" / "_job" / "report.html").exists()
        assert len(list((tmp_path / "out").glob("part-*"))) == finished
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0
    parts = [tmp_path / "out" / f"part-{i:06d}.jsonl" for i in range(300)]
    rows = [json.loads(line) for part in parts for line in part.read_text().splitlines()]
    assert [row["compressed"] for row in rows] == [f"A river {i} runs." for i in range(6000)]


STUCK = """
import time
from pathlib import Path

def wait(batch):
    Path("waiting").touch()
    time.sleep(600)

def make(options, template):
    from rag_compress.stages import Stage
    return type("Stuck", (Stage,), {"__call__": lambda self, batch: wait(batch)})()
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_two_signals(tmp_path: Path, workers: str) -> None:
    """The second Ctrl-C does not wait for what is under way."""
    (tmp_path / "stuck.py").write_text(STUCK)
    (tmp_path / "a.jsonl").write_text('{"id": 1, "text": "A river."}\n')
    command = [sys.executable, "-m", "rag_compress", "run", "a.jsonl", "out", "--method", "stuck:make", "--query", "Q?"]
    command += ["--workers", workers]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        while not (tmp_path / "waiting").exists():
            assert process.poll() is None
            time.sleep(0.05)
        for _ in range(2):
            assert process.poll() is None
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.5)
        _, said = process.communicate(timeout=60)
        assert (process.returncode, said) == (130, "")


@pytest.mark.slow
@pytest.mark.parametrize("rows", ["1", "3"])
def test_a_signal_while_standard_input_is_idle(tmp_path: Path, rows: str) -> None:
    """It is heard, before the first part is full and later."""
    command = [sys.executable, "-m", "rag_compress", "run", "-", tmp_path / "out", *OPTIONS, "--part-rows", rows]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdin is not None
        process.stdin.write(b'{"text": "A river."}\n{"text": "A river."}\n')
        process.stdin.flush()
        while rows == "1" and not (tmp_path / "out" / "part-000000.jsonl").exists():
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(0.5 if rows == "1" else 3)
        process.terminate()
        assert process.wait(timeout=60) == 130


def test_too_many_errors(run: Run, tmp_path: Path) -> None:
    """The run stops, says what it has come to, and where."""
    (tmp_path / "a.jsonl").write_text("no JSON\n" * 5)
    code, _, err = run("run", tmp_path / "a.jsonl", tmp_path / "out", *OPTIONS, "--max-errors", 1, "--part-rows", 2)
    assert code == 5
    for shown in ("report.html", "rows", "goes on from here", "2 rows failed, more than 1"):
        assert shown in " ".join(err.split())


def test_another_working_directory(run: Run, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative address is that of the same store from there, however it is written."""
    monkeypatch.chdir(tmp_path)
    assert run("run", source.name, "out", *OPTIONS)[0] == 0
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert run("run", f"../{source.name}", "../out", *OPTIONS)[0] == 0
    (tmp_path / "below" / source.name).write_text("{}")
    code, _, err = run("run", source.name, "../out", *OPTIONS)
    assert (code, "below" in err) == (4, True)


def test_a_name_with_a_colon(run: Run, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a file, unless what stands before is a kind of store."""
    monkeypatch.chdir(tmp_path)
    source.rename(tmp_path / "wiki:en.jsonl")
    assert run("run", "wiki:en.jsonl", "out", *OPTIONS)[0] == 0


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("magic = 1", "unknown setting 'magic'; it may have table"),
        ("method = 7", "method must be a string, not 7"),
        ("part_rows = true", "part_rows must be an integer, not True"),
        ("part_rows = 0", "part_rows must be an integer of at least 1, not 0"),
    ],
)
def test_a_config_with_a_wrong_setting(run: Run, source: Path, tmp_path: Path, setting: str, message: str) -> None:
    """It is wrong usage that names the setting."""
    (tmp_path / "job.toml").write_text(setting)
    code, _, err = run("run", source, tmp_path / "out", "--config", tmp_path / "job.toml")
    assert (code, message in " ".join(err.split())) == (2, True)


def test_export_says_what_is_missing(run: Run, source: Path, tmp_path: Path) -> None:
    """A job of which a shard is not done is exported as far as it goes, with an exit code of its own."""
    run("run", source, tmp_path / "out", *OPTIONS, "--part-rows", 4, "--shard", "0/2")
    code, out, err = run("export", tmp_path / "out", "-")
    assert code == 3
    assert 0 < len(out.splitlines()) < 10
    assert "shards 1 of 2" in " ".join(err.split())
    assert run("export", tmp_path / "out", tmp_path / "no" / "such")[0] == 1


def test_export_keeps_what_stood_there(run: Run, source: Path, tmp_path: Path) -> None:
    """A file is replaced only when everything was written; rows that failed are counted, with an exit code."""
    target = tmp_path / "results.jsonl"
    target.write_text("precious")
    assert run("export", tmp_path / "nosuchjob", target)[0] == 1
    assert target.read_text() == "precious"
    with source.open("a") as file:
        file.write('{"id": "bad", "text": 7}\n')
    run("run", source, tmp_path / "out", *OPTIONS)
    code, _, err = run("export", tmp_path / "out", target)
    assert (code, len(target.read_text().splitlines())) == (3, 10)
    assert "1 row failed" in err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["docs.jsonl", "out", "results.jsonl"]
    assert run("export", tmp_path / "out", "/dev/null")[0] == 3


def test_export_compresses_by_name(run: Run, source: Path, tmp_path: Path) -> None:
    """A name that says gz or zst holds what it says; the job's own files are no target."""
    run("run", source, tmp_path / "out", *OPTIONS)
    run("export", tmp_path / "out", tmp_path / "plain.jsonl")
    for name, opened in (("a.jsonl.gz", gzip.open), ("a.jsonl.zst", zstandard.open)):
        assert run("export", tmp_path / "out", tmp_path / name)[0] == 0
        with opened(tmp_path / name, "rb") as file:
            assert file.read() == (tmp_path / "plain.jsonl").read_bytes()
    code, _, err = run("export", tmp_path / "out", tmp_path / "out" / "part-000000.jsonl")
    assert (code, "the job's own files" in err) == (2, True)
    assert run("verify", tmp_path / "out")[0] == 0


def test_a_field_of_the_users_own(run: Run, tmp_path: Path) -> None:
    """A line that has something where the result would go is not overwritten; one that a job wrote is."""
    own, made = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    own.write_text('{"id": 1, "text": "A river.", "compressed": "mine"}\n')
    code, _, err = run("run", own, tmp_path / "out", *OPTIONS)
    assert (code, "--out-col" in err) == (2, True)
    made.write_text('{"id": 1, "text": "A river."}\n')
    assert run("run", made, tmp_path / "first", *OPTIONS)[0] == 0
    assert run("run", tmp_path / "first" / "part-000000.jsonl", tmp_path / "second", *OPTIONS)[0] == 0


def test_sqlite_files_that_cannot_be_read(run: Run, tmp_path: Path) -> None:
    """A file that is no database, and an id that is no text, are errors in one line; no row is left out in silence."""
    (tmp_path / "bad.sqlite").write_text("no database" * 100)
    code, _, err = run("run", tmp_path / "bad.sqlite", tmp_path / "o1", *OPTIONS, "--table", "docs")
    assert code == 1
    assert "file is not a database" in err
    file = tmp_path / "ids.sqlite"
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE docs (id TEXT, text TEXT)")
        database.execute("INSERT INTO docs VALUES ('a', 'A river.'), (CAST(x'63e9' AS TEXT), 'x'), ('d', 'A river.')")
    code, _, err = run("run", file, tmp_path / "o2", *OPTIONS, "--table", "docs", "--part-rows", 2)
    assert code in (1, 2)
    assert "is not UTF-8" in " ".join(err.split())
