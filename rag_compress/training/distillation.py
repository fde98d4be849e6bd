"""RECOMP's selective distillation: of several summaries, the one that helps a reader most, or none at all.

One JSON object a line: `documents` (texts, or objects with `text` and `title`; or one text as `text` or `source`),
`summaries` (one or more candidates), and for a choice by a reader `query` and `answers`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rag_compress.errors import DocumentError, InvalidInput
from rag_compress.training.content import content_of

Reader = Callable[[str, str, Sequence[str]], float]
"""`reader(query, summary, answers)` says how well a reader answers with the summary as its context, higher is better:
exact match or F1 of its answer, or the log-likelihood of the right one. An empty summary is no context."""


class Candidates(NamedTuple):
    """A question, what was retrieved for it, and summaries to choose from.

    Attributes:
        query: The question; empty for summaries that answer none.
        documents: The documents, one below the other, each under its title.
        summaries: The candidates, first choice first.
        answers: Right answers.
        licence: Of this line.
    """

    query: str
    documents: str
    summaries: tuple[str, ...]
    answers: tuple[str, ...]
    licence: str


class Pair(NamedTuple):
    """What a summarizer learns: the query, the documents, the summary to write (possibly empty)."""

    query: str
    documents: str
    summary: str


@dataclass(frozen=True)
class Distillation:
    """Chooses targets.

    The best candidate is the target when the reader does better with it than without any context; otherwise the empty
    text is: that teaches when not to add anything. A question that the reader fails either way teaches nothing and is
    left out. Source: Xu, Shi, Choi, "RECOMP: Improving Retrieval-Augmented LMs with Context Compression and Selective
    Augmentation", 2024, section 3.2.

    Attributes:
        reader: Scores a candidate; `None`: the first one is the target.
        failed: The reader has failed when its score is at most this.
        max_ratio: Leave out a target that has more than this share of its documents' words.
    """

    reader: Reader | None = None
    failed: float = 0.0
    max_ratio: float = 1.0

    def __post_init__(self) -> None:
        if self.reader is not None and not callable(self.reader):
            raise InvalidInput(f"reader is a function of query, summary and answers, not {self.reader!r:.80}")

    def pairs(self, lines: Sequence[Candidates]) -> tuple[list[Pair], Counter[str]]:
        """Returns what to learn, and how many lines were learned from, and left out for which reason."""
        counts: Counter[str] = Counter()
        pairs: list[Pair] = []
        for line in lines:
            target = self._target(line)
            verdict = self._verdict(line, target)
            counts[verdict] += 1
            if target is not None and verdict in ("learned", "learned as empty"):
                pairs.append(Pair(line.query, line.documents, target))
        return pairs, counts

    def _target(self, line: Candidates) -> str | None:
        if self.reader is None or not line.summaries:
            return line.summaries[0] if line.summaries else None
        scores = {summary: self.reader(line.query, summary, line.answers) for summary in ("", *line.summaries)}
        best = max(line.summaries, key=lambda summary: scores[summary])
        if max(scores[best], scores[""]) <= self.failed:
            return None
        return best if scores[best] > scores[""] else ""

    def _verdict(self, line: Candidates, target: str | None) -> str:
        if target is None:
            return "the reader fails either way" if line.summaries else "no candidate"
        if not target.strip():
            return "learned as empty"
        if len(target.split()) > self.max_ratio * len(line.documents.split()):
            return "longer than its documents"
        return "learned"


def read_candidates(path: str | Path) -> Iterator[Candidates]:
    """Returns the lines of a `.jsonl` or `.jsonl.gz` file, one by one.

    Raises:
        InvalidInput: The file cannot be read.
        DocumentError: A line does not follow the schema above.
    """
    return (candidates for _, candidates in read_records(path))


def read_records(path: str | Path) -> Iterator[tuple[dict[str, Any], Candidates]]:
    """Yields each line of a file as it is, and as what it says; raises what `read_candidates` does."""
    for number, line in enumerate(content_of(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            yield record, _candidates(record)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DocumentError(f"{path}:{number}: not a line with documents and summaries ({error!r:.100})") from error


def joined(documents: Sequence[str | Mapping[str, Any]]) -> str:
    """Returns documents as a summarizer reads them: one below the other, each under its title."""
    texts = [{"text": document} if isinstance(document, str) else document for document in documents]
    return "\n".join(f"{d['title']}\n{d['text']}" if d.get("title") else str(d["text"]) for d in texts)


def _candidates(record: Mapping[str, Any]) -> Candidates:
    documents = record["documents"] if "documents" in record else [record.get("text") or record["source"]]
    summaries = record.get("summaries") or []
    answers = record.get("answers") or []
    if not all(isinstance(each, list) for each in (documents, summaries, answers)):
        raise TypeError("documents, summaries and answers are lists")
    if not all(isinstance(summary, str) for summary in summaries):
        raise TypeError("summaries are texts")
    if not isinstance(record.get("query") or "", str):
        raise TypeError(f"query is a string, not {record['query']!r:.40}")
    return Candidates(
        record.get("query") or "",
        joined(documents),
        tuple(summaries),
        tuple(map(str, answers)),
        str(record.get("licence") or "not stated"),
    )
