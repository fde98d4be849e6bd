"""Asks a teacher, any `Summarizer`, for candidate summaries: what `training.distillation` then chooses from."""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from rag_compress.checks import check_count
from rag_compress.errors import InvalidInput, ModelError, counted
from rag_compress.models.protocols import Summarizer, Summary
from rag_compress.training.distillation import Candidates, read_records

Line = tuple[dict[str, Any], Candidates]
"""A line of a file as it is, and as what it says."""
Watch = Callable[[Iterator[Line]], Iterator[Line]]
_SHOWN = 500
"""Characters of an error."""


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

        Lines for which an earlier run failed come last.

        Args:
            data: A file in the schema of `training.distillation`.
            out: The file to write, which is never compressed.
            watch: Passes the lines on as they are asked for, such as under a progress bar.

        Raises:
            InvalidInput: `data` or `out` cannot be read, or they are one file.
            DocumentError: A line does not follow the schema of `training.distillation`.
            ModelError: The teacher failed for a whole batch of new lines, or for all that there are, or did not reply
                to each text; what was written before stands.
        """
        out = Path(out)
        if out.suffix == ".gz" or out.resolve() == Path(data).resolve():
            raise InvalidInput(f"out must be another file than data, and not compressed: {out}")
        given = list(read_records(data))
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.open("a").close()
        except OSError as error:
            raise InvalidInput(f"{out} cannot be written: {error.strerror or error}") from error
        new, failed = _missing(given, out)
        lines = watch(iter([*new, *failed]))
        done = len(given) - len(new) - len(failed)
        taught, asked = Taught(0), 0
        with out.open("a", encoding="utf-8") as file:
            while batch := list(islice(lines, self.batch_size)):
                before, asked = taught.lines, asked + len(batch)
                for line, own in zip(batch, self._ask([line for _, line in batch]), strict=True):
                    taught = _added(taught, file, line, own)
                file.flush()
                is_broken = len(batch) == self.batch_size or done + taught.lines == 0
                if taught.lines == before and asked <= len(new) and is_broken:
                    raise ModelError(f"The teacher failed for {counted(len(batch), 'line')} in a row: {taught.error}")
        return taught

    def _ask(self, lines: list[Candidates]) -> Iterator[list[Summary]]:
        """Yields the teacher's replies for each line."""
        repeated = [line for line in lines for _ in range(self.candidates)]
        queries, texts = [line.query for line in repeated], [line.documents for line in repeated]
        replies = self.teacher.summarize(queries, texts, [self.max_tokens] * len(repeated))
        if len(replies) != len(repeated):
            raise ModelError(f"{self.teacher!r:.200} returned {len(replies)} summaries for {len(repeated)} texts")
        for start in range(0, len(repeated), self.candidates):
            yield list(replies[start : start + self.candidates])


def _added(taught: Taught, file: TextIO, line: Line, replies: Sequence[Summary]) -> Taught:
    """Writes a line with the replies that are summaries, if there is one, and counts."""
    record, candidates = line
    errors = [reply for reply in replies if not isinstance(reply, str)]
    error = taught.error or (f"{type(errors[0]).__name__}: {errors[0]}"[:_SHOWN] if errors else "")
    taught = taught._replace(failed=taught.failed + len(errors), error=error)
    if len(errors) == len(replies):
        return taught._replace(left=taught.left + 1)
    summaries = dict.fromkeys([*candidates.summaries, *(reply for reply in replies if isinstance(reply, str))])
    file.write(json.dumps({**record, "summaries": list(summaries)}) + "\n")
    return taught._replace(lines=taught.lines + 1)


def _missing(lines: Sequence[Line], out: Path) -> tuple[list[Line], list[Line]]:
    """Returns the lines that `out` does not have: those behind the last one that it has, and those before."""
    done: defaultdict[str, list[set[str]]] = defaultdict(list)
    for record, written in _written(out):
        done[_key(record)].append(set(written.summaries))
    new: list[Line] = []
    failed: list[Line] = []
    for record, line in lines:
        alike = done[_key(record)]
        found = next((own for own in alike if own.issuperset(line.summaries)), None)
        if found is None:
            new.append((record, line))
            continue
        alike.remove(found)
        failed += new
        new = []
    return new, failed


def _written(path: Path) -> Iterator[Line]:
    """Yields the lines of a file, after cutting off one that was broken off; none if there is no file."""
    if not path.exists():
        return
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.truncate(path, whole)
    yield from read_records(path)


def _key(record: Mapping[str, Any]) -> str:
    """Returns what tells a line from others, whatever its summaries."""
    own = {name: value for name, value in record.items() if name != "summaries"}
    return hashlib.blake2b(json.dumps(own, sort_keys=True).encode("ascii"), digest_size=12).hexdigest()
