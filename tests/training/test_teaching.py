"""Candidate summaries from a teacher, line by line, going on where a run broke off."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from tiny_seq2seq import write_lines

from rag_compress.errors import InvalidInput
from rag_compress.models.protocols import Summary
from rag_compress.training.teaching import Taught, Teaching


class Teacher:
    """Writes another summary each time; fails on documents that say so."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def summarize(self, queries: Sequence[str], texts: Sequence[str], max_tokens: Sequence[int]) -> list[Summary]:
        """Returns numbered summaries."""
        found: list[Summary] = []
        for text in texts:
            self.asked.append(text)
            found.append(ValueError("no") if "fail" in text else f"{text} {len(self.asked)}")
        return found


def test_teach_and_go_on(tmp_path: Path) -> None:
    """Each line keeps its fields and gains candidates; a second run does what is missing, a broken line included."""
    lines = [{"query": f"q{i}", "documents": [f"text {i}"], "page": i} for i in range(5)]
    lines[3]["documents"] = ["fail"]
    data, out = write_lines(tmp_path / "in.jsonl", lines), tmp_path / "new" / "out.jsonl"
    assert Teaching(Teacher(), candidates=2, batch_size=2).teach(data, out) == Taught(5, 2)
    whole = out.read_text()
    written = [json.loads(line) for line in whole.splitlines()]
    assert written[0] == {"query": "q0", "documents": ["text 0"], "page": 0, "summaries": ["text 0 1", "text 0 2"]}
    assert written[3]["summaries"] == []
    out.write_text(whole[: whole.index('"q3"')])
    again = Teacher()
    assert Teaching(again, candidates=2).teach(data, out) == Taught(2, 2)
    assert again.asked == ["fail", "fail", "text 4", "text 4"]
    assert [json.loads(line)["page"] for line in out.read_text().splitlines()] == list(range(5))
    assert Teaching(again).teach(data, out) == Taught(0, 0)


def test_wrong_options() -> None:
    """At least one candidate is asked for."""
    with pytest.raises(InvalidInput, match="candidates"):
        Teaching(Teacher(), candidates=0)
