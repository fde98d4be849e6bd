"""Measures a sentence scorer on an evidence set: `python -m eval.extractive --system lexical --set squad`.

One scoring pass serves all budgets: the library's `ExtractiveCompressor.score` scores the data set's own sentences, and
`metrics.kept_within` chooses.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from eval import metrics
from eval.datasets import (
    EACH,
    GivenSentences,
    Passage,
    Question,
    by_language,
    data_folder,
    measured,
    read_questions,
    unanswerable,
)
from eval.results import RESULTS, Out, Result, check_command, limited
from eval.systems import SYSTEMS, scorer_named
from eval.words import count_words
from rag_compress.compressors import ExtractiveCompressor
from rag_compress.models.protocols import SentenceScorer
from rag_compress.types import Context

SHARES = (0.05, 0.10, 0.20, 0.35, 0.50)
LIMIT = 500
TESTED = 0.20
"""The share of the words at which single questions are written down, for intervals and paired tests."""


@dataclass(frozen=True)
class ScoredQuestion:
    """A question whose sentences have scores; positions count through all its passages.

    Attributes:
        question: The question.
        texts: Its sentences, in order.
        scores: One for each sentence.
        words: The words of each sentence.
    """

    question: Question
    texts: Sequence[str]
    scores: Sequence[float]
    words: Sequence[int]

    @classmethod
    def of(cls, question: Question, scored: Context) -> ScoredQuestion:
        """Returns the question with the scores of its context's segments."""
        texts = [segment.text for segment in scored.segments]
        return cls(question, texts, [s.score or 0.0 for s in scored.segments], [count_words(t) for t in texts])

    @property
    def evidence(self) -> set[int]:
        """The positions of the evidence sentences."""
        return {start + i for start, p in _placed(self.question) for i in p.evidence or ()}

    @property
    def gold(self) -> list[bool]:
        """For each sentence, whether its passage is gold."""
        return [bool(p.gold) for p in self.question.passages for _ in p.sentences]

    @property
    def passage_scores(self) -> list[tuple[float, bool]]:
        """The best sentence score of each passage that has sentences, and whether the passage is gold."""
        placed = [(start, p) for start, p in _placed(self.question) if p.sentences]
        return [(max(self.scores[start : start + len(p.sentences)]), bool(p.gold)) for start, p in placed]

    def text_of(self, kept: set[int]) -> str:
        """Returns the kept sentences joined in order."""
        return " ".join(self.texts[i] for i in sorted(kept))


def score_questions(scorer: SentenceScorer, questions: Sequence[Question]) -> list[ScoredQuestion]:
    """Returns the questions with a score for each of the data set's own sentences."""
    compressor = ExtractiveCompressor(scorer, splitter=GivenSentences.of(questions))
    contexts = compressor.score([question.context for question in questions])
    return [ScoredQuestion.of(question, context) for question, context in zip(questions, contexts, strict=True)]


def budget_figures(scored: Sequence[ScoredQuestion]) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Returns figures at each share of the words, and those of single questions at `TESTED`.

    `EV@20` is evidence recall at 20% of the words and `ANS@20` answer recall; `GC@20`, the share of gold passages, is
    for sets that label no sentences; `EV area` and its likes are areas under these curves.
    """
    curves: dict[str, list[float]] = {}
    samples: dict[str, list[float]] = {}
    for share in SHARES:
        kept = [metrics.kept_within(q.scores, q.words, share) for q in scored]
        for name, values in _recalls(scored, kept).items():
            curves.setdefault(name, []).append(100 * sum(values) / len(values))
            if share == TESTED:
                samples[_at(name, share)] = values
    figures = {_at(name, x): y for name, curve in curves.items() for x, y in zip(SHARES, curve, strict=True)}
    areas = {f"{name} area": metrics.area_under_curve(SHARES, curve) for name, curve in curves.items()}
    return figures | areas, samples


def language_figures(scored: Sequence[ScoredQuestion]) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Returns the evidence recall of each language at `TESTED` of the words, such as `EV@20 de`, and of its questions.

    Both are empty where all questions are of one language.
    """
    figures: dict[str, float] = {}
    samples: dict[str, list[float]] = {}
    groups = by_language(q.question for q in scored)
    for language in groups if len(groups) > 1 else ():
        own = [q for q in scored if q.question.language == language]
        kept = [metrics.kept_within(q.scores, q.words, TESTED) for q in own]
        if values := _recalls(own, kept).get("EV"):
            name = f"{_at('EV', TESTED)} {language}"
            figures[name], samples[name] = 100 * sum(values) / len(values), values
    return figures, samples


def passage_figures(scored: Sequence[ScoredQuestion]) -> dict[str, float]:
    """Returns how well the best sentence's score ranks passages: AUROC over all pairs, nDCG@10 mean over questions."""
    groups = [question.passage_scores for question in scored]
    pairs = [pair for group in groups for pair in group]
    mixed = [group for group in groups if len({gold for _, gold in group}) == 2]
    if not mixed:
        return {}
    ndcgs = [metrics.ndcg([score for score, _ in group], [gold for _, gold in group]) for group in mixed]
    auroc = metrics.auroc([score for score, _ in pairs], [gold for _, gold in pairs])
    return {"passage AUROC": 100 * auroc, "passage nDCG@10": 100 * sum(ndcgs) / len(ndcgs)}


def threshold_figures(
    scored: Sequence[ScoredQuestion], without_answer: Sequence[ScoredQuestion], threshold: float
) -> dict[str, float]:
    """Returns what a threshold alone keeps, how often that is nothing, and how well scores are calibrated."""
    kept = [_reaching(question, threshold) for question in scored]
    figures = {
        "words kept": 100
        * sum(metrics.words_kept(k, q.words) for k, q in zip(kept, scored, strict=True))
        / len(scored),
        "empty, answerable": 100 * metrics.share_empty(kept),
        "empty, unanswerable": 100 * metrics.share_empty([_reaching(q, threshold) for q in without_answer]),
    }
    if recalls := _recalls(scored, kept).get("EV"):
        labels = [i in q.evidence for q in scored for i in range(len(q.scores))]
        figures["EV at threshold"] = 100 * sum(recalls) / len(recalls)
        figures["calibration error"] = 100 * metrics.expected_calibration_error(
            [score for q in scored for score in q.scores], labels
        )
    return figures


def main(
    system: Annotated[str, typer.Option(help=f"One of {', '.join(SYSTEMS)}, or module:object.")],
    name: Annotated[str, typer.Option("--set", help="An evidence set; xquad:de: one language; xquad:each: all.")],
    split: Annotated[str, typer.Option(help="test or dev.")] = "test",
    limit: Annotated[int, typer.Option(help="The most questions to measure (of each language).")] = LIMIT,
    threshold: Annotated[float | None, typer.Option(help="Also measure this threshold, for scores in [0, 1].")] = None,
    data: Annotated[Path | None, typer.Option(help="The data folder (default: $RAG_COMPRESS_DATA).")] = None,
    out: Out = RESULTS,
) -> None:
    """Measures one system on one set and writes `extractive-<system>-<set>-<split>.json`."""
    options = limited(limit, LIMIT)
    options += f" --threshold {threshold:g}" if threshold is not None else ""
    command = f"python -m eval.extractive --system {system} --set {name} --split {split}{options}"
    stem = f"extractive-{system}-{name}-{split}".replace(":", "-")
    check_command(stem, command, out)
    everything = list(read_questions(data_folder(data), name, split))
    groups = by_language(everything).values() if name.endswith(f":{EACH}") else [everything]
    questions = [question for group in groups for question in measured(group, limit)]
    scorer = scorer_named(system, everything)
    start = time.perf_counter()
    scored = score_questions(scorer, questions)
    seconds = time.perf_counter() - start
    figures, samples = budget_figures(scored)
    figures |= passage_figures(scored)
    of_languages, samples_of_languages = language_figures(scored)
    figures |= of_languages
    samples |= samples_of_languages
    if threshold is not None:
        figures |= threshold_figures(scored, score_questions(scorer, unanswerable(everything, limit)), threshold)
    result = Result(
        command=command,
        scores=figures,
        details={"scorer": type(scorer).__name__, "questions": len(questions), "seconds": round(seconds, 1)},
        samples=samples,
    )
    file = result.write(stem, out)
    Console().print(f"{file.name}: " + ", ".join(f"{key} {value:.1f}" for key, value in figures.items()))


def _recalls(scored: Sequence[ScoredQuestion], kept: Sequence[set[int]]) -> Mapping[str, list[float]]:
    """Returns the figures of single questions by name, only those that the labels allow."""
    pairs = list(zip(scored, kept, strict=True))
    answerable = [(q, k) for q, k in pairs if metrics.answer_recall(" ".join(q.texts), q.question.answers)]
    found: dict[str, list[float]] = {}
    if any(question.evidence for question in scored):
        found["EV"] = [metrics.evidence_recall(k, q.evidence) for q, k in pairs if q.evidence]
    else:
        found["GC"] = [metrics.gold_share(k, q.words, q.gold) for q, k in pairs if any(q.gold)]
    if answerable and "EV" in found:
        found["ANS"] = [metrics.answer_recall(q.text_of(k), q.question.answers) for q, k in answerable]
    return found


def _at(name: str, share: float) -> str:
    return f"{name}@{100 * share:.0f}"


def _reaching(question: ScoredQuestion, threshold: float) -> set[int]:
    return {i for i, score in enumerate(question.scores) if score >= threshold}


def _placed(question: Question) -> list[tuple[int, Passage]]:
    """Returns each passage with the position of its first sentence."""
    starts = accumulate((len(passage.sentences) for passage in question.passages), initial=0)
    return list(zip(starts, question.passages, strict=False))


if __name__ == "__main__":
    typer.run(main)
