"""`compress --method abstractive`: an extract rewritten by a summarizer of the user's own, within the budget."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rag_compress.cli.app import app

TEXT = "The Loire is a river in France. It is 1,006 km long. Bananas are yellow. Many castles stand near the Loire."
WRITERS = """
from rag_compress.testing import ScriptedSummarizer

short = ScriptedSummarizer("The Loire in France is 1006 km long.")
wrong = ScriptedSummarizer("The Loire is 2,000 km long.")

class Failing:
    def summarize(self, queries, texts, max_tokens):
        raise RuntimeError("no model")

class Shop:
    @staticmethod
    def best():
        return short
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Works in a folder with a document and summarizers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("cli_writers.py").write_text(WRITERS)
    Path("doc.txt").write_text(TEXT)


def run(*options: str) -> Any:
    """Runs the command over the document."""
    fixed = ["compress", "How long is the Loire?", "doc.txt", "--method", "abstractive", "--scorer", "lexical"]
    return CliRunner().invoke(app, [*fixed, *options])


def test_the_summary_is_the_prompts_context() -> None:
    """What the summarizer writes stands in the prompt."""
    result = run("--summarizer", "cli_writers:short")
    assert result.exit_code == 0, result.output
    assert "The Loire in France is 1006 km long." in result.stdout
    assert "1,006" not in result.stdout


def test_json_says_that_it_is_no_quotation() -> None:
    """A written sentence has the spans of its sources."""
    record = json.loads(run("--summarizer", "cli_writers:short", "-o", "json").stdout)
    (segment,) = record["segments"]
    assert segment["verbatim"] is False
    assert [TEXT[span["start"] : span["end"]] for span in segment["spans"]] == [
        "The Loire is a river in France.",
        "It is 1,006 km long.",
    ]
    assert record["notes"]["abstractive"]["checked"] == 1


def test_a_wrong_number_is_replaced_by_its_source() -> None:
    """The check is on."""
    result = run("--summarizer", "cli_writers:wrong")
    assert "2,000" not in result.stdout
    assert "The Loire is a river in France." in result.stdout or "It is 1,006 km long." in result.stdout


def test_a_failure_leaves_the_extract_within_the_budget() -> None:
    """A summarizer without a model is no reason for no prompt."""
    result = run("--summarizer", "cli_writers:Failing", "--max-tokens", "16", "-o", "json")
    record = json.loads(result.stdout)
    assert record["notes"]["abstractive"]["stood_in"] == {"RuntimeError": 1}
    assert record["segments"]
    assert record["compressed_tokens"] <= 16


def test_a_summarizer_within_a_class() -> None:
    """A constructor of a class can be named."""
    assert "1006 km" in run("--summarizer", "cli_writers:Shop.best").stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "needs --summarizer"),
        (("--summarizer", "nowhere"), "no folder of a trained summarizer"),
        (("--summarizer", "cli_writers:absent"), "Cannot find"),
        (("--summarizer", "cli_writers:short", "-o", "request"), "--method xrag"),
    ],
)
def test_wrong_usage(options: tuple[str, ...], message: str) -> None:
    """The message says what to give."""
    result = run(*options)
    assert result.exit_code
    assert message in " ".join(result.output.split()) or message in str(result.exception)


def test_a_summarizer_is_for_this_method() -> None:
    """It would otherwise be ignored in silence."""
    result = CliRunner().invoke(app, ["compress", "q", "doc.txt", "--summarizer", "cli_writers:short"])
    assert result.exit_code == 2


def test_a_summarizer_that_cannot_be_made() -> None:
    """What its constructor says reaches the user, not a traceback."""
    Path("cli_broken.py").write_text("def make():\n    raise KeyError('OPENAI_API_KEY')\n")
    result = run("--summarizer", "cli_broken:make")
    assert "OPENAI_API_KEY" in str(result.exception)
    assert type(result.exception).__name__ == "InvalidInput"


def test_stderr_says_that_the_extract_stands_in() -> None:
    """A prompt without a summary does not pass for one with it."""
    result = run("--summarizer", "cli_writers:Failing")
    assert result.exit_code == 0
    assert "extract stands in: no model" in " ".join(result.stderr.split())
