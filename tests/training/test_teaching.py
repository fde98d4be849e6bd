"""Candidate summaries from a teacher, line by line, going on where a run broke off."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny_seq2seq import write_lines

from rag_compress.errors import InvalidInput, ModelError
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
    failed = Taught(4, 2, 1, "ValueError: no")
    assert Teaching(Teacher(), candidates=2, batch_size=2).teach(data, out) == failed
    whole = out.read_text()
    written = [json.loads(line) for line in whole.splitlines()]
    assert written[0] == {"query": "q0", "documents": ["text 0"], "page": 0, "summaries": ["text 0 1", "text 0 2"]}
    assert [line["page"] for line in written] == [0, 1, 2, 4]
    out.write_text(whole[: whole.index('"q4"')])
    again = Teacher()
    assert Teaching(again, candidates=2).teach(data, out) == failed._replace(lines=1)
    assert again.asked == ["fail", "fail", "text 4", "text 4"]
    write_lines(data, [*lines[:3], lines[4], lines[4]])  # a line that is there twice is asked for twice
    assert Teaching(again).teach(data, out) == Taught(1)
    assert Teaching(again).teach(data, out) == Taught(0)


def test_candidates_are_added(tmp_path: Path) -> None:
    """To those that a line has, without repetition; the next run knows it again."""
    lines = [{"query": "q", "documents": ["text"], "summaries": ["own", "text 1"]}]
    data, out = write_lines(tmp_path / "in.jsonl", lines), tmp_path / "out.jsonl"
    assert Teaching(Teacher(), candidates=2).teach(data, out) == Taught(1)
    assert json.loads(out.read_text())["summaries"] == ["own", "text 1", "text 2"]
    assert Teaching(Teacher()).teach(data, out) == Taught(0)


def test_a_teacher_that_is_out_of_order(tmp_path: Path) -> None:
    """It is not asked for everything; what was written stands, and the next run goes on."""
    lines = [{"query": f"q{i}", "documents": ["text" if i < 3 else f"fail {i}"]} for i in range(9)]
    data, out = write_lines(tmp_path / "in.jsonl", lines), tmp_path / "out.jsonl"
    teacher = Teacher()
    with pytest.raises(ModelError, match="3 lines in a row: ValueError: no"):
        Teaching(teacher, batch_size=3).teach(data, out)
    assert len(teacher.asked) == 6
    with pytest.raises(ModelError, match="3 lines in a row"):
        Teaching(Teacher(), batch_size=3).teach(data, out)
    assert len(out.read_text().splitlines()) == 3


def test_the_last_line_fails(tmp_path: Path) -> None:
    """It is left out, in a batch of its own and in a later run too; where no line has a summary, the run ends."""
    lines = [{"query": f"q{i}", "documents": [f"text {i}" if i < 4 else "fail"]} for i in range(5)]
    data, out = write_lines(tmp_path / "in.jsonl", lines), tmp_path / "out.jsonl"
    failed = Taught(4, 1, 1, "ValueError: no")
    assert Teaching(Teacher(), batch_size=4).teach(data, out) == failed
    assert Teaching(Teacher()).teach(data, out) == failed._replace(lines=0)
    with pytest.raises(ModelError, match="failed for 1 line in a row: ValueError: no"):
        Teaching(Teacher()).teach(write_lines(tmp_path / "one.jsonl", lines[4:]), tmp_path / "none.jsonl")


def test_lines_that_fail_for_good(tmp_path: Path) -> None:
    """They come last, and do not keep a run from its end."""
    lines = [{"query": f"q{i}", "documents": [f"text {i}" if i % 2 else "fail"]} for i in range(12)]
    data, out = write_lines(tmp_path / "in.jsonl", lines[:8]), tmp_path / "out.jsonl"
    for _ in range(2):
        assert Teaching(Teacher(), batch_size=2).teach(data, out).left == 4
    again = Teacher()
    assert Teaching(again, batch_size=2).teach(write_lines(data, lines), out) == Taught(2, 6, 6, "ValueError: no")
    assert again.asked == ["fail", "text 9", "fail", "text 11", *["fail"] * 4]


def test_files_that_are_kept_apart(tmp_path: Path) -> None:
    """Lines that differ in their summaries are two; nothing is written over the questions, or into an archive."""
    lines = [{"documents": ["d"], "summaries": [own]} for own in ("one", "two")]
    data, out = write_lines(tmp_path / "in.jsonl", lines), tmp_path / "out.jsonl"
    assert Teaching(Teacher()).teach(data, out) == Taught(2)
    first, second = out.read_text().splitlines()
    out.write_text(second + "\n")
    assert Teaching(Teacher()).teach(data, out) == Taught(1)
    assert out.read_text().splitlines() == [second, first]
    for wrong in (data, tmp_path / "x.jsonl.gz"):
        with pytest.raises(InvalidInput, match="another file"):
            Teaching(Teacher()).teach(data, wrong)
    whole = out.read_text()[:-1]
    out.write_text(whole)
    with pytest.raises(InvalidInput, match="cannot be read"):
        Teaching(Teacher()).teach(tmp_path / "absent", out)
    assert out.read_text() == whole


@pytest.mark.parametrize("replies", [[], ["a", "b", "c"], [None]])
def test_wrong_replies(tmp_path: Path, replies: list[Any]) -> None:
    """A teacher replies to each text, with a text."""

    class Wrong:
        def summarize(self, queries: Sequence[str], texts: Sequence[str], max_tokens: Sequence[int]) -> list[Any]:
            return replies

    data = write_lines(tmp_path / "in.jsonl", [{"documents": ["d"]}])
    with pytest.raises(ModelError):
        Teaching(Wrong()).teach(data, tmp_path / "out.jsonl")


def test_wrong_options() -> None:
    """At least one candidate is asked for."""
    with pytest.raises(InvalidInput, match="candidates"):
        Teaching(Teacher(), candidates=0)
