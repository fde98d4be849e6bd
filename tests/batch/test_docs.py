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
ELSEWHERE = ("postgresql:", "s3:", "psql")
"""Commands that need a server."""


def commands() -> list[list[str]]:
    """Returns the page's commands that need no server."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    split = [shlex.split(line, comments=True) for line in lines if not any(name in line for name in ELSEWHERE)]
    return [words[: words.index(">")] if ">" in words else words for words in split]


def test_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command ends with 0, in the order of the page."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("shorten.py").write_text(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1])  # type: ignore[index]
    texts = ["The Loire is a river in France. Bread is baked.", "The Rhine rises in the Alps. It is long."]
    Path("docs.jsonl").write_text("".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(texts)))
    Path("log.jsonl").write_text(json.dumps({"question": "Which river is in France?", "retrieved": texts}) + "\n")
    with closing(sqlite3.connect("docs.sqlite")) as database, database:
        database.execute("CREATE TABLE docs (id INTEGER PRIMARY KEY, text TEXT)")
        database.executemany("INSERT INTO docs VALUES (?, ?)", list(enumerate(texts)))
    assert len(commands()) == 8
    for words in commands():
        monkeypatch.setattr(sys, "argv", [*words, *(["--workers", "1"] if words[1] == "run" else [])])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code, (words, capsys.readouterr().err)
    assert '"text": ["The Loire is a river in France.", ""]' in capsys.readouterr().out


def test_the_settings_file() -> None:
    """The page's TOML has settings that are known."""
    import tomllib

    from rag_compress.cli.batch import Settings

    found = tomllib.loads(re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)[1])  # type: ignore[index]
    assert found.pop("options") == {"max_tokens": 300}
    assert Settings(**found).job("docs.jsonl", {}).columns.query == "question"
