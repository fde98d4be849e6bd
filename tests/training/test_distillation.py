"""Selective distillation: the best summary for a reader, none, or nothing to learn."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from rag_compress.errors import DocumentError, InvalidInput
from rag_compress.training.distillation import Candidates, Distillation, joined, read_candidates


def reader(query: str, summary: str, answers: Sequence[str]) -> float:
    """Answers what it knows, or what stands in the summary, unless that confuses it."""
    if "confusing" in summary:
        return 0.0
    return float(query == "known" or any(answer in summary for answer in answers))


def line(query: str, *summaries: str) -> Candidates:
    """Returns a line whose answer is Loire."""
    return Candidates(query, "the documents say a lot about the Loire", summaries, ("Loire",), "CC0")


def test_targets() -> None:
    """The best candidate is learned; the empty one where the reader needs none; nothing where it fails either way."""
    lines = [
        line("asked", "a river", "the Loire"),
        line("known", "the Loire"),
        line("asked", "a river", "confusing"),
        line("asked"),
        line("asked", "the Loire " * 20),
    ]
    pairs, counts = Distillation(reader).pairs(lines)
    assert [(pair.query, pair.summary) for pair in pairs] == [("asked", "the Loire"), ("known", "")]
    assert dict(counts) == {
        "learned": 1,
        "learned as empty": 1,
        "the reader fails either way": 1,
        "no candidate": 1,
        "longer than its documents": 1,
    }


def test_without_a_reader() -> None:
    """The first candidate is the target; an empty one teaches to write nothing."""
    pairs, counts = Distillation().pairs([line("q", "a river", "the Loire"), line("q", "")])
    assert [pair.summary for pair in pairs] == ["a river", ""]
    assert counts["learned as empty"] == 1


def test_reading(tmp_path: Path) -> None:
    """Documents are texts or have titles; one text is enough; files may be compressed."""
    records = [
        {"query": "q", "documents": ["a", {"title": "T", "text": "b"}], "summaries": ["s"], "answers": ["x"]},
        {"query": None, "source": "text", "licence": "MIT"},
    ]
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(json.dumps(record) for record in records).encode()))
    first, second = read_candidates(path)
    assert first == Candidates("q", "a\nT\nb", ("s",), ("x",), "not stated")
    assert second == Candidates("", "text", (), (), "MIT")
    assert joined([{"text": "a", "title": ""}]) == "a"


def test_a_reader_that_is_none() -> None:
    """It is a function."""
    with pytest.raises(InvalidInput, match="reader is a function"):
        Distillation("score")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[" * 100_000,
        "[]",
        "{}",
        '{"documents": "one text"}',
        '{"documents": [{}]}',
        '{"documents": {"text": "one text"}}',
        '{"documents": ["a"], "summaries": [null]}',
        '{"documents": ["a"], "answers": {"text": ["as in SQuAD"]}}',
    ],
)
def test_wrong_lines(tmp_path: Path, text: str) -> None:
    """A line that is none is named by file and number."""
    path = tmp_path / "x.jsonl"
    path.write_text(f"\n{text}\n")
    with pytest.raises(DocumentError, match=r"x.jsonl:2"):
        list(read_candidates(path))
    with pytest.raises(InvalidInput, match="cannot be read"):
        list(read_candidates(tmp_path / "none"))
