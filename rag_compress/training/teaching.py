"""Asks a teacher, any `Summarizer`, for candidate summaries: what `training.distillation` then chooses from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from rag_compress.checks import check_count
from rag_compress.models.protocols import Summarizer, Summary
from rag_compress.training.distillation import Candidates, read_records


class Taught(NamedTuple):
    """How many lines were written by this run, and how many candidates the teacher failed to write."""

    lines: int
    failed: int


@dataclass(frozen=True)
class Teaching:
    """Writes each line of a file with candidate summaries added.

    Lines are written as they are done, so that a broken-off run goes on behind the last one. A line for which the
    teacher failed every time is written without a candidate; training leaves it out and counts it.

    Attributes:
        teacher: Writes the candidates.
        candidates: How often it is asked for each line; more than one wants a model that does not always say the same.
        max_tokens: About how long each may be.
        batch_size: Lines that are asked for together.
    """

    teacher: Summarizer
    candidates: int = 1
    max_tokens: int = 128
    batch_size: int = 32

    def __post_init__(self) -> None:
        for name in ("candidates", "max_tokens", "batch_size"):
            check_count(name, getattr(self, name), least=1)

    def teach(self, data: str | Path, out: str | Path) -> Taught:
        """Writes `out`, going on where it ends, and returns what was done.

        Raises:
            InvalidInput: `data` cannot be read.
            DocumentError: A line does not follow the schema of `training.distillation`.
        """
        out = Path(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        done = _whole_lines(out)
        lines = islice(read_records(data), done, None)
        written = failed = 0
        with out.open("a", encoding="utf-8") as file:
            while batch := list(islice(lines, self.batch_size)):
                replies = self._ask([candidates for _, candidates in batch])
                for (record, _), own in zip(batch, replies, strict=True):
                    summaries = list(dict.fromkeys(reply for reply in own if isinstance(reply, str)))
                    file.write(json.dumps({**record, "summaries": summaries}) + "\n")
                    failed += sum(isinstance(reply, Exception) for reply in own)
                file.flush()
                written += len(batch)
        return Taught(written, failed)

    def _ask(self, lines: list[Candidates]) -> Iterator[list[Summary]]:
        """Yields the teacher's replies for each line."""
        repeated = [line for line in lines for _ in range(self.candidates)]
        queries, texts = [line.query for line in repeated], [line.documents for line in repeated]
        replies = self.teacher.summarize(queries, texts, [self.max_tokens] * len(repeated))
        for start in range(0, len(repeated), self.candidates):
            yield list(replies[start : start + self.candidates])


def _whole_lines(path: Path) -> int:
    """Returns how many lines a file has, after cutting off one that was broken off; 0 if there is no file."""
    if not path.exists():
        return 0
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        path.write_bytes(whole)
    return whole.count(b"\n")
