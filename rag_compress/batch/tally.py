"""Counts what became of rows: small, mergeable, and the same whatever the order, so that a job's memory is bounded."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple

RATE_BINS = 20
"""Of the distribution of compression rates, from 0 to 1."""
_LISTED, _EXAMPLES, _ERRORS = 10, 8, 100


class Finished(NamedTuple):
    """A row that is finished, as far as it is counted.

    Attributes:
        id: The row's.
        tokens: Before and after.
        error: Why it has no result.
        seconds: What it took; 0 where an earlier result stands.
        fresh: Whether this run computed it.
        pieces: Its pieces in order, each with whether it was kept; empty for most.
    """

    id: str
    tokens: tuple[int, int]
    error: str | None
    seconds: float
    fresh: bool
    pieces: Sequence[tuple[bool, str]]


@dataclass
class Tally:
    """What became of rows.

    Attributes:
        rows: How many there are.
        fresh: How many of them the last run computed; the others were unchanged.
        errors: How many have no result.
        tokens_before, tokens_after: Of those with a result.
        seconds: Of computing, all workers together.
        rates: How many rows have a compression rate in each of `RATE_BINS` equal bins.
        sizes_before, sizes_after: How many rows have at least 2^i tokens and fewer than 2^(i+1).
        slowest: Seconds and id of the slowest rows, the slowest first.
        most_compressed: Rate, tokens before and id, the lowest rate first.
        failed: Id and error of the first rows that failed.
        examples: Id and pieces of some rows.
    """

    rows: int = 0
    fresh: int = 0
    errors: int = 0
    tokens_before: int = 0
    tokens_after: int = 0
    seconds: float = 0.0
    rates: list[int] = field(default_factory=lambda: [0] * RATE_BINS)
    sizes_before: dict[str, int] = field(default_factory=dict)
    sizes_after: dict[str, int] = field(default_factory=dict)
    slowest: list[list[Any]] = field(default_factory=list)
    most_compressed: list[list[Any]] = field(default_factory=list)
    failed: list[list[Any]] = field(default_factory=list)
    examples: list[list[Any]] = field(default_factory=list)

    @classmethod
    def of(cls, rows: Iterable[Finished]) -> Tally:
        """Returns the tally of rows."""
        tally = cls()
        for row in rows:
            tally._add(row)
        tally._trim()
        return tally

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Tally:
        """Returns the tally that `to_json` wrote; fields of another version are left out."""
        return cls(**{each.name: record[each.name] for each in fields(cls) if each.name in record})

    def to_json(self) -> dict[str, Any]:
        """Returns the tally as JSON holds it."""
        return asdict(self)

    @property
    def rate(self) -> float:
        """The compression rate: tokens after over tokens before, 1 without any."""
        return self.tokens_after / self.tokens_before if self.tokens_before else 1.0

    def merge(self, other: Tally) -> None:
        """Adds another tally to this one."""
        for name in ("rows", "fresh", "errors", "tokens_before", "tokens_after", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.rates = [a + b for a, b in zip(self.rates, other.rates, strict=True)]
        for name in ("sizes_before", "sizes_after"):
            for size, count in getattr(other, name).items():
                _count(getattr(self, name), size, count)
        for name in ("slowest", "most_compressed", "failed", "examples"):
            getattr(self, name).extend(getattr(other, name))
        self._trim()

    def recall(self, earlier: Tally, kept: Collection[str]) -> None:
        """Adds what an earlier tally of the same part knows of rows that this run did not compute.

        Args:
            earlier: That tally.
            kept: The ids of those rows.
        """
        self.seconds += earlier.seconds * min(1.0, len(kept) / max(earlier.rows, 1))
        self.slowest += [each for each in earlier.slowest if each[-1] in kept]
        self.examples += [each for each in earlier.examples if each[0] in kept]
        self._trim()

    def _add(self, row: Finished) -> None:
        self.rows += 1
        self.fresh += row.fresh
        self.seconds += row.seconds
        if row.seconds:
            self.slowest.append([round(row.seconds, 6), row.id])
        if row.error is not None:
            self.errors += 1
            self.failed.append([row.id, row.error])
            return
        before, after = row.tokens
        self.tokens_before += before
        self.tokens_after += after
        _count(self.sizes_before, str(before.bit_length()), 1)
        _count(self.sizes_after, str(after.bit_length()), 1)
        if before:
            self.rates[min(RATE_BINS - 1, int(RATE_BINS * after / before))] += 1
            self.most_compressed.append([round(after / before, 4), before, row.id])
        if row.pieces:
            self.examples.append([row.id, [list(piece) for piece in row.pieces]])

    def _trim(self) -> None:
        self.slowest = sorted(self.slowest, key=lambda each: -each[0])[:_LISTED]
        self.most_compressed = sorted(self.most_compressed, key=lambda each: (each[0], -each[1]))[:_LISTED]
        self.failed = self.failed[:_ERRORS]
        self.examples = self.examples[:_EXAMPLES]


def _count(counts: dict[str, int], name: str, number: int) -> None:
    counts[name] = counts.get(name, 0) + number
