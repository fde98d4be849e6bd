"""Asks a teacher, any `Summarizer`, for candidate summaries: what `training.distillation` then chooses from."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from rag_compress.checks import check_count
from rag_compress.errors import ModelError
from rag_compress.models.protocols import Summarizer, Summary
from rag_compress.training.distillation import Candidates, read_records

Line = tuple[dict[str, Any], Candidates]
"""A line of a file as it is, and as what it says."""
Watch = Callable[[Iterator[Line]], Iterator[Line]]


class Taught(NamedTuple):
    """What a run did.

    Attributes:
        lines: How many it wrote.
        failed: How many candidates the teacher failed to write.
        left: How many lines were left out, because it failed every time.
        error: The first error of the teacher, if there was one.
    """

    lines: int
    failed: int = 0
    left: int = 0
    error: str = ""


@dataclass(frozen=True)
class Teaching:
    """Writes each line of a file with candidate summaries added to those that it has.

    Lines are written as they are done. A line for which the teacher failed every time is not; another run asks for what
    is not there yet, whatever ended the one before, and writes it behind the others.

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

    def teach(self, data: str | Path, out: str | Path, watch: Watch = iter) -> Taught:
        """Writes to `out` what it has not got yet, and returns what was done.

        Args:
            data: A file in the schema of `training.distillation`.
            out: The file to write.
            watch: Passes the lines on as they are read, such as under a progress bar.

        Raises:
            InvalidInput: `data` or `out` cannot be read.
            DocumentError: A line does not follow the schema of `training.distillation`.
            ModelError: The teacher failed for a whole batch, or for all there is; what was written before stands.
        """
        out = Path(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        lines = watch(_missing(data, _done(out)))
        taught = Taught(0)
        with out.open("a", encoding="utf-8") as file:
            while batch := list(islice(lines, self.batch_size)):
                before = taught.lines
                for (record, _), own in zip(batch, self._ask([line for _, line in batch]), strict=True):
                    taught = _added(taught, file, record, own)
                file.flush()
                if taught.lines == before and (before == 0 or len(batch) == self.batch_size):
                    raise ModelError(f"The teacher failed for {len(batch)} lines in a row: {taught.error}")
        return taught

    def _ask(self, lines: list[Candidates]) -> Iterator[list[Summary]]:
        """Yields the teacher's replies for each line."""
        repeated = [line for line in lines for _ in range(self.candidates)]
        queries, texts = [line.query for line in repeated], [line.documents for line in repeated]
        replies = self.teacher.summarize(queries, texts, [self.max_tokens] * len(repeated))
        for start in range(0, len(repeated), self.candidates):
            yield list(replies[start : start + self.candidates])


def _added(taught: Taught, file: TextIO, record: Mapping[str, Any], replies: Sequence[Summary]) -> Taught:
    """Writes a line with the replies that are summaries, if there is one, and counts."""
    errors = [reply for reply in replies if isinstance(reply, Exception)]
    error = taught.error or (f"{type(errors[0]).__name__}: {errors[0]}" if errors else "")
    taught = taught._replace(failed=taught.failed + len(errors), error=error)
    if len(errors) == len(replies):
        return taught._replace(left=taught.left + 1)
    known = record.get("summaries") or []
    summaries = dict.fromkeys([*known, *(reply for reply in replies if isinstance(reply, str))])
    file.write(json.dumps({**record, "summaries": list(summaries)}) + "\n")
    return taught._replace(lines=taught.lines + 1)


def _missing(data: str | Path, done: Counter[str]) -> Iterator[Line]:
    """Yields the lines of a file that are not done; of one that is there several times, those that are left."""
    for record, line in read_records(data):
        key = _key(record)
        if done[key]:
            done[key] -= 1
        else:
            yield record, line


def _done(path: Path) -> Counter[str]:
    """Returns the keys of a file's lines, after cutting off one that was broken off; none if there is no file."""
    if not path.exists():
        return Counter()
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        path.write_bytes(whole)
    return Counter(_key(record) for record, _ in read_records(path))


def _key(record: Mapping[str, Any]) -> str:
    """Returns what tells a line from others, whatever its summaries."""
    own = {name: value for name, value in record.items() if name != "summaries"}
    return hashlib.blake2b(json.dumps(own, sort_keys=True).encode("ascii"), digest_size=12).hexdigest()
