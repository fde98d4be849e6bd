"""Reads the evaluation data as small records: questions with labelled passages, and retrieval collections."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from rag_compress.text import Offsets
from rag_compress.types import Context, Document

_REPOSITORY = Path(__file__).resolve().parents[1]
_LANGUAGE = re.compile(r"xquad-([a-z]{2})-")

EVIDENCE_SETS = (
    "squad hotpotqa xquad tatqa wtq medquad pubmedqa qmsum evinf policyqa subjqa friendsqa climatefever lfqa"
).split()
"""Every labelled set; medquad and pubmedqa label whole passages only."""

EACH = "each"
"""`xquad:each` measures as many questions of each language."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A retrieved passage with its labels.

    Attributes:
        title: Its title, possibly empty.
        text: Its text.
        gold: Whether it holds the answer; `None` when nobody labelled that.
        sentences: The character offsets of its sentences in `text`.
        evidence: Positions in `sentences` of those that support the answer; `None` when nobody labelled that.
    """

    title: str
    text: str
    gold: bool | None
    sentences: tuple[Offsets, ...]
    evidence: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Question:
    """A question with what was retrieved for it.

    Attributes:
        id: Unique in its set; in xquad, `xquad-<language>-<number>`.
        query: The question.
        answers: Any of them is right; none when nothing is labelled, or when there is no answer.
        passages: In the order in which they were retrieved.
    """

    id: str
    query: str
    answers: tuple[str, ...]
    passages: tuple[Passage, ...]

    @property
    def language(self) -> str:
        """The two letters of its language, or nothing in the other sets, of one language."""
        found = _LANGUAGE.match(self.id)
        return found[1] if found else ""

    @property
    def has_evidence(self) -> bool:
        """Whether at least one sentence is labelled as evidence."""
        return any(passage.evidence for passage in self.passages)

    @property
    def is_unanswerable(self) -> bool:
        """Whether the labels say that no passage holds the answer."""
        return not self.has_evidence and all(p.evidence is not None and not p.gold for p in self.passages)

    @property
    def context(self) -> Context:
        """The context with all passages whole; a document's id is the passage's position."""
        return Context.whole(self.query, (Document(str(i), p.text, p.title) for i, p in enumerate(self.passages)))


@dataclass(frozen=True)
class GivenSentences:
    """A splitter that returns the sentences that the data set gives for a text, so that its labels fit them."""

    offsets: dict[str, tuple[Offsets, ...]] = field(repr=False)

    @classmethod
    def of(cls, questions: Iterable[Question]) -> GivenSentences:
        """Returns the splitter for all passages of the questions."""
        return cls({passage.text: passage.sentences for question in questions for passage in question.passages})

    def __call__(self, text: str) -> tuple[Offsets, ...]:
        """Returns the offsets of a text.

        Raises:
            KeyError: The text is not a whole passage of the data set.
        """
        return self.offsets[text]


@dataclass(frozen=True)
class Collection:
    """A retrieval test collection.

    Attributes:
        documents: In the order of the file.
        queries: Text by query id.
        judgements: For each query id, the graded relevance of documents by id; 0 is judged not relevant.
    """

    documents: tuple[Document, ...]
    queries: dict[str, str]
    judgements: dict[str, dict[str, int]]


def data_folder(folder: Path | None = None) -> Path:
    """Returns the data folder: the argument, else `$RAG_COMPRESS_DATA`, else `../shared/data` beside the repository.

    Raises:
        BadParameter: There is no such folder.
    """
    chosen = folder or Path(os.environ.get("RAG_COMPRESS_DATA") or _REPOSITORY.parent / "shared" / "data")
    if not chosen.is_dir():
        raise typer.BadParameter(f"There is no data folder {chosen}: name it with --data or RAG_COMPRESS_DATA")
    return chosen


def read_questions(data: Path, name: str, split: str) -> Iterator[Question]:
    """Yields the questions of an evidence set in file order; `xquad:de` stands for the German ones of xquad."""
    name, _, language = name.partition(":")
    for question in map(_question, _records(data / "evidence" / f"{name}-{split}.jsonl.gz")):
        if language in ("", EACH, question.language):
            yield question


def by_language(questions: Iterable[Question]) -> dict[str, list[Question]]:
    """Returns the questions of each language, in alphabetical order of the languages."""
    groups: dict[str, list[Question]] = {}
    for question in questions:
        groups.setdefault(question.language, []).append(question)
    return dict(sorted(groups.items()))


def measured(questions: Iterable[Question], limit: int = 500) -> list[Question]:
    """Returns the at most `limit` questions that the figures are measured on, in the order of their ids' MD5 digests.

    They are those with labelled evidence; where a set labels none, all of its questions.
    """
    questions = list(questions)
    with_evidence = [question for question in questions if question.has_evidence]
    return _sampled(with_evidence or questions, limit)


def unanswerable(questions: Iterable[Question], limit: int = 500) -> list[Question]:
    """Returns at most `limit` questions without an answer in their passages, chosen as `measured` does."""
    return _sampled((question for question in questions if question.is_unanswerable), limit)


def read_collection(data: Path, name: str) -> Collection:
    """Returns a collection in the layout of BEIR: `corpus.jsonl.gz`, `queries.jsonl.gz`, `qrels.tsv`."""
    folder = data / "retrieval" / name
    corpus = _records(folder / "corpus.jsonl.gz")
    documents = tuple(Document(r["_id"], r["text"], r.get("title", "")) for r in corpus)
    judgements: dict[str, dict[str, int]] = {}
    for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, grade = line.split("\t")
        judgements.setdefault(query, {})[document] = int(grade)
    queries = {r["_id"]: r["text"] for r in _records(folder / "queries.jsonl.gz") if r["_id"] in judgements}
    return Collection(documents, queries, judgements)


def read_texts(data: Path, name: str) -> Iterator[str]:
    """Yields the documents of a file of plain text, which are separated by a line `<|doc|>`."""
    lines: list[str] = []
    with gzip.open(data / "text" / f"{name}.txt.gz", "rt", encoding="utf-8") as file:
        for line in file:
            if line.strip() == "<|doc|>":
                yield "".join(lines)
                lines = []
            else:
                lines.append(line)
    yield "".join(lines)


def _records(file: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _question(record: dict[str, Any]) -> Question:
    passages = tuple(
        Passage(
            title=c["title"] or "",
            text=c["text"],
            gold=c["gold"],
            sentences=tuple((start, end) for start, end in c["sentences"]),
            evidence=None if c["evidence"] is None else tuple(c["evidence"]),
        )
        for c in record["contexts"]
    )
    return Question(record["id"], record["query"], tuple(record["answers"] or ()), passages)


def _sampled(questions: Iterable[Question], limit: int) -> list[Question]:
    return sorted(questions, key=lambda q: hashlib.md5(q.id.encode(), usedforsecurity=False).digest())[:limit]
