"""Reads labelled passages from JSON Lines and draws training examples from a mixture of such files.

One object a line: `query`, and `contexts` with `text`, `title`, `sentences` (`[[start, end], ...]`, character offsets),
`evidence` (indices of the sentences that support the answer; `null`: not labelled; `[]`: none), `gold` (whether the
passage holds the answer; `null`: not known) and optionally `teacher` (a probability for each sentence) or
`teacher_logits` (any numbers, higher for better sentences). Without `evidence`, `sentences` may be missing: the passage
is one.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import index
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rag_compress.checks import check_count, check_number
from rag_compress.errors import DocumentError, InvalidInput
from rag_compress.models.protocols import Passage
from rag_compress.scorers.lexical import LexicalScorer, best_first
from rag_compress.training.content import content_of


class LabelledPassage(NamedTuple):
    """A passage with what is known about it.

    Attributes:
        passage: What the model reads.
        labels: float32 `(sentences,)` in [0, 1]: how sure it is that the sentence is evidence; `None`: not known.
        gold: Whether the passage helps to answer; `None`: not known.
        logits: float32 `(sentences,)`, a teacher's; `None`: there is none.
    """

    passage: Passage
    labels: NDArray[np.float32] | None
    gold: bool | None
    logits: NDArray[np.float32] | None = None


class Example(NamedTuple):
    """A query with labelled passages."""

    query: str
    passages: list[LabelledPassage]


@dataclass(frozen=True)
class Source:
    """A file of examples, and how often and how much of each is drawn.

    Attributes:
        path: A `.jsonl` or `.jsonl.gz` file.
        weight: How often an example is drawn from this file, against the weights of the other files.
        passages: The most passages of one example: gold ones first, then negatives.
        foreign: The chance that one negative is a passage of another query.
        windows: The most windows of one passage longer than the window.
    """

    path: str
    weight: float = 1.0
    passages: int = 4
    foreign: float = 0.1
    windows: int = 2

    def __post_init__(self) -> None:
        check_number("weight", self.weight, 0, 1e9)
        check_number("foreign", self.foreign, 0, 1)
        for name in ("passages", "windows"):
            check_count(name, getattr(self, name), 1)

    @cached_property
    def lines(self) -> list[bytes]:
        """The file's lines, read once."""
        lines = [line for line in content_of(self.path).splitlines() if line.strip()]
        if not lines:
            raise InvalidInput(f"{self.path} holds no example")
        return lines

    def example(self, index: int) -> Example:
        """Returns the example on a line.

        Raises:
            DocumentError: The line is not an example in the schema above.
        """
        try:
            record = json.loads(self.lines[index])
            return Example(_text(record, "query"), [_labelled(context) for context in record["contexts"]])
        except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
            raise DocumentError(f"{self.place(index)}: not a training example ({error!r:.100})") from error

    def place(self, index: int) -> str:
        """Returns the file and the number of a line; blank ones count, as in an editor."""
        lines = enumerate(content_of(self.path).splitlines(), start=1)
        return f"{self.path}:{[number for number, line in lines if line.strip()][index]}"

    def check(self) -> None:
        """Raises what `example` does for the first line that is none."""
        for number in range(len(self.lines)):
            self.example(number)


def read_examples(path: str, limit: int | None = None) -> Iterator[Example]:
    """Yields a file's examples in order, spread evenly over the file when there are more than `limit`."""
    source = Source(path)
    count = len(source.lines)
    for i in range(count) if limit is None or limit >= count else np.linspace(0, count - 1, limit).astype(int):
        yield source.example(int(i))


def write_examples(examples: Sequence[Mapping[str, Any]], out: str) -> int:
    """Writes examples in the schema above into a `.jsonl.gz` file, the same bytes each time; returns how many."""
    data = "".join(json.dumps(example) + "\n" for example in examples)
    Path(out).write_bytes(gzip.compress(data.encode(), mtime=0))
    return len(examples)


@dataclass(frozen=True)
class Mixture:
    """An endless stream of examples, the n-th of which depends on nothing but the seed and n.

    Each file is gone through in a new random order each time; passages are chosen and texts varied anew.

    Attributes:
        sources: The files.
        seed: Of every choice.
        title_dropout: The chance that an example's titles are left out.
        mark_dropout: The chance that a query loses its question mark.
    """

    sources: tuple[Source, ...]
    seed: int = 0
    title_dropout: float = 0.15
    mark_dropout: float = 0.3

    def __post_init__(self) -> None:
        if not self.sources or any(source.weight <= 0 for source in self.sources):
            raise InvalidInput(f"A mixture needs sources with positive weights, not {self.sources!r:.200}")

    def __getitem__(self, n: int) -> Example:
        source, draw = self._place(n)
        epoch, index = divmod(draw, len(source.lines))
        order = np.random.default_rng([self.seed, self.sources.index(source), epoch]).permutation(len(source.lines))
        rng = np.random.default_rng([self.seed, 1 << 20, n])
        example = _chosen(source.example(int(order[index])), source, rng, self._foreign(source, rng))
        return self._varied(example, rng)

    def source_of(self, n: int) -> Source:
        """Returns the source of the n-th example."""
        return self._place(n)[0]

    def _place(self, n: int) -> tuple[Source, int]:
        """Returns the source of the n-th example and how many examples were drawn from it before."""
        choices = self._choices(n + 1)
        return self.sources[choices[n]], int((choices[:n] == choices[n]).sum())

    def _choices(self, count: int) -> NDArray[np.int64]:
        cached: NDArray[np.int64] = self.__dict__.get("_drawn", np.zeros(0, np.int64))
        if len(cached) < count:
            weights = np.cumsum([source.weight for source in self.sources])
            drawn = np.random.default_rng([self.seed, 1 << 21]).random(max(count * 2, 1 << 12))
            cached = np.searchsorted(weights / weights[-1], drawn, side="right")
            self.__dict__["_drawn"] = cached
        return cached

    def _foreign(self, source: Source, rng: np.random.Generator) -> Passage | None:
        if rng.random() >= source.foreign:
            return None
        other = source.example(int(rng.integers(len(source.lines))))
        return other.passages[int(rng.integers(len(other.passages)))].passage if other.passages else None

    def _varied(self, example: Example, rng: np.random.Generator) -> Example:
        query = example.query
        if rng.random() < self.mark_dropout:
            query = re.sub(r"\s*[?？؟;]\s*$", "", query)
        if rng.random() >= self.title_dropout:
            return Example(query, example.passages)
        return Example(query, [p._replace(passage=p.passage._replace(title="")) for p in example.passages])


def _labelled(context: Mapping[str, Any]) -> LabelledPassage:
    text = _text(context, "text")
    labelled = context.get("evidence") is not None
    pairs = context["sentences"] if labelled else context.get("sentences")
    sentences = [_span(pair, text) for pair in pairs or [[0, len(text)]]]
    labels: NDArray[np.float32] | None = None
    if labelled:
        labels = np.zeros(len(sentences), np.float32)
        labels[_places(context["evidence"], len(sentences))] = 1.0
    teacher = _numbers(context, "teacher", len(sentences))
    if teacher is not None:
        if not ((teacher >= 0) & (teacher <= 1)).all():
            raise ValueError(f"teacher must be probabilities, not {context['teacher']!r:.40}")
        labels = teacher if labels is None else (labels + teacher) / np.float32(2)
    gold = context.get("gold")
    if gold not in (None, True, False):
        raise ValueError(f"gold must be true, false or null, not {gold!r:.40}")
    gold = None if gold is None else bool(gold)
    if labels is None and gold is False:
        labels = np.zeros(len(sentences), np.float32)
    passage = Passage(_text(context, "title") if context.get("title") else "", text, sentences)
    return LabelledPassage(passage, labels, gold, _numbers(context, "teacher_logits", len(sentences)))


def _text(record: Mapping[str, Any], name: str) -> str:
    if not isinstance(record[name], str):
        raise TypeError(f"{name} must be a string, not {record[name]!r:.40}")
    return str(record[name])


def _span(pair: Sequence[Any], text: str) -> tuple[int, int]:
    start, end = (index(place) for place in pair)
    if not 0 <= start <= end <= len(text):
        raise ValueError(f"a sentence must lie within its text of {len(text)} characters, not at {pair!r:.40}")
    return start, end


def _places(evidence: Any, sentences: int) -> list[int]:
    """Returns indices of sentences; Python would take `true` and -1 for some, too."""
    if not isinstance(evidence, list) or any(isinstance(i, bool) or not 0 <= index(i) < sentences for i in evidence):
        raise ValueError(f"evidence must be a list of indices below {sentences}, not {evidence!r:.40}")
    return evidence


def _numbers(context: Mapping[str, Any], name: str, sentences: int) -> NDArray[np.float32] | None:
    """Returns the numbers of a field, one for each sentence; `None` where it is missing."""
    if context.get(name) is None:
        return None
    numbers = np.array(context[name], np.float32)
    if numbers.shape != (sentences,) or not np.isfinite(numbers).all():
        raise ValueError(f"{name} must be {sentences} finite numbers")
    return numbers


def _chosen(example: Example, source: Source, rng: np.random.Generator, foreign: Passage | None) -> Example:
    """Returns the example with at most `source.passages` passages: all gold ones that fit, then negatives.

    Of the negatives, those that share more with the query are likelier: half are the best by BM25, half at random.
    """
    passages = example.passages
    gold = [i for i in range(len(passages)) if passages[i].gold]
    rest = [i for i in range(len(passages)) if not passages[i].gold]
    gold = [int(i) for i in rng.permutation(gold)[: max(1, source.passages - 1)]]
    wanted = source.passages - len(gold)
    hardest = best_first(LexicalScorer().score([example.query], [[passages[i].passage for i in rest]])[0])
    picked = [rest[i] for i in hardest[: (wanted + 1) // 2]]
    others = [i for i in rest if i not in picked]
    picked += [int(i) for i in rng.permutation(others)[: wanted - len(picked)]]
    unlike: list[LabelledPassage] = []
    if foreign is not None and wanted > 0 and not _is_near(foreign, passages):
        unlike = [LabelledPassage(foreign, np.zeros(len(foreign.sentences), np.float32), gold=False)]
        picked = picked[: wanted - 1]
    return Example(example.query, [*(passages[i] for i in sorted((*gold, *picked))), *unlike])


def _is_near(passage: Passage, passages: Sequence[LabelledPassage]) -> bool:
    """Returns whether a passage is one of the others, or of the same document, so that it may hold the answer."""
    return any(passage.text == p.passage.text or passage.title == p.passage.title != "" for p in passages)
