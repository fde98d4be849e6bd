"""The sections of the report on the reader and on speed, from small results."""

from __future__ import annotations

import importlib
from dataclasses import replace

import pytest
import typer

from eval import plots, report_extractive, report_reader, report_speed
from eval.reader import figures_of
from eval.report_reader import reader_sections
from eval.report_speed import speed_sections
from eval.results import Result, read_result

SAMPLES = {"F1 full": [0.5, 0.5], "F1 compressed": [1.0, 0.5], "F1 gold": [1.0, 1.0]}
SPEED = Result(
    "python -m eval.speed",
    {
        "classifier: passages/s": 80.0,
        "classifier: p50 ms, 5": 62.5,
        "EXIT: passages/s": 0.1,
        "EXIT: times slower": 800.0,
        "floor: fp32 GFLOP/s": 130.0,
        "floor: int8 GOP/s": 650.0,
        "floor: passages/s": 140.0,
        "graph: passages/s": 90.0,
        "graph: share of the int8 floor": 64.3,
        "outside the graph": 8.0,
        "words: ms at 130": 12.0,
        "words: ms at 260": 24.0,
        "words: exponent": 1.0,
    },
    {
        "machine": "a machine",
        "threads": 2,
        "words a passage": 130,
        "systems": {
            "classifier": ["ours", "real"],
            "EXIT": ["Gemma", "random"],
            "llmlingua": ["the package", "random"],
        },
        "not measured": ["llmlingua: not installed"],
    },
)


def test_the_reader_is_reported_with_paired_differences(tmp_path, monkeypatch):
    """Each figure has its three contexts, and the difference its interval and p-value."""
    command = "python -m eval.reader --system lexical --set toy --split test --threshold 0.05 --limit 500"
    Result(command, figures_of(SAMPLES) | {"words kept": 20.0}, {}, SAMPLES).write("reader-lexical-toy-test", tmp_path)
    monkeypatch.setattr(report_reader, "RESULTS", tmp_path)
    monkeypatch.setattr(report_reader, "find_result", lambda name: None)
    row = next(line for line in "".join(reader_sections()).splitlines() if line.startswith("| lexical | toy | F1 "))
    assert "50.0 [50.0, 50.0]" in row
    assert "+25.0 [+0.0, +50.0] (p" in row


def test_a_system_measured_on_fewer_questions(tmp_path, monkeypatch):
    """`--limit` leaves nothing to pair with the baseline: the figure stands there with its number of questions."""
    shares = {f"EV@{share}": 50.0 for share in (5, 10, 20, 35, 50)} | {"EV area": 50.0}
    for system, count in (("bm25", 4), ("lexical", 4), ("mine-Slow", 2)):
        result = Result(f"--system {system}", shares, {}, {"EV@20": [0.5] * count})
        result.write(f"extractive-{system}-squad-test", tmp_path)
    monkeypatch.setattr(report_extractive, "RESULTS", tmp_path)
    monkeypatch.setattr(report_extractive, "read_result", lambda name: read_result(name, tmp_path))
    text = report_extractive._significance_table(report_extractive._evidence_results(), "EV@20")
    assert "| 50.0 (p 1.000) | 50.0 (2 questions) |" in text


@pytest.mark.parametrize(
    ("module", "function", "name"),
    [
        ("frameworks", "main", "frameworks"),
        ("soft_tokens", "measure", "soft-tokens"),
        ("soft_tokens", "cost", "soft-tokens-cost"),
        ("soft_tokens", "ceiling", "soft-tokens-ceiling"),
    ],
)
def test_a_limited_run_needs_a_folder_of_its_own(module, function, name, tmp_path):
    """It is told so before a model is loaded, and where the command is the same, the run goes on."""
    pytest.importorskip("torch")
    pytest.importorskip("langchain_classic")
    pytest.importorskip("llama_index.core")
    words = f"python -m eval.{module}" + ("" if function == "main" else f" {function}")
    Result(words, {"figure": 1.0}).write(name, tmp_path)
    run = getattr(importlib.import_module(f"eval.{module}"), function)
    with pytest.raises(typer.BadParameter, match=f"`{words}`: give another folder with --out"):
        run(limit=1, out=tmp_path)
    Result(f"{words} --limit 1", {"figure": 1.0}).write(name, tmp_path)
    data = {"data" if function == "main" else "llm": tmp_path / "none"}
    with pytest.raises(Exception, match="none"):
        run(limit=1, out=tmp_path, **data)


def test_no_section_without_results(tmp_path, monkeypatch):
    """Nothing is said of what has not run."""
    monkeypatch.setattr(report_reader, "RESULTS", tmp_path)
    monkeypatch.setattr(report_speed, "find_result", lambda name: None)
    assert list(reader_sections()) == []
    assert list(speed_sections(tmp_path)) == []


@pytest.mark.filterwarnings("ignore")
def test_speed_is_reported_with_what_is_missing(tmp_path, monkeypatch):
    """A figure that was not measured is a dash, a system that failed is named, and the plot is drawn."""
    monkeypatch.setattr(report_speed, "find_result", lambda name: SPEED)
    other = replace(SPEED, scores={**SPEED.scores, "EXIT: times slower": 900.0}, details={"machine": "another"})
    monkeypatch.setattr(report_speed, "named_results", lambda prefix: {"some": SPEED, "elsewhere": other})
    text = "".join(speed_sections(tmp_path))
    (row,) = (line for line in text.splitlines() if line.startswith("| EXIT (Gemma) | random | 800.0 | 0.1 "))
    assert "–" in row
    assert "Not measured: llmlingua: not installed" in text
    assert "or\n64% of that; 8% of the time" in text
    assert "| words | 130: 12.0, 260: 24.0 | 1.00 |" in text
    assert "|  | a machine | another |" in text
    assert "| EXIT | 800.0 | 900.0 |" in text
    assert (tmp_path / "speed-quality.png").stat().st_size > 1000


def test_labels_of_curves_do_not_overlap():
    """Names at the ends of curves keep a gap and their order."""
    moved = plots._apart({"a": 80.0, "b": 80.5, "c": 10.0}, gap=5)
    assert moved["c"] == 10
    assert moved["b"] - moved["a"] == pytest.approx(5)
    assert sum(moved.values()) == pytest.approx(80 + 80.5 + 10, abs=0.6)
