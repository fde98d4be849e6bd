"""What is measured, one public function for each figure: pure functions of scores, words and labels.

`kept` is always the set of positions of the sentences that were kept, among all sentences of a question's passages.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from math import ceil

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eval.words import plain_words

_LONGEST_ANSWER = 12
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def kept_within(scores: Sequence[float], words: Sequence[int], share: float) -> set[int]:
    """Returns the positions that fit a budget of words: best score first, a sentence is taken when it fits.

        budget = ceil(share * sum of words)

    Ties go to the earlier sentence. Source: the definition of the evaluation data's own baselines.
    """
    room = ceil(share * sum(words))
    kept: set[int] = set()
    for i in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        if words[i] <= room:
            kept.add(i)
            room -= words[i]
    return kept


def evidence_recall(kept: Collection[int], evidence: Collection[int]) -> float:
    """Returns the share of the evidence sentences that were kept.

        |kept ∩ evidence| / |evidence|

    Source: recall (van Rijsbergen, "Information Retrieval", 1979); a figure is its mean over questions.
    """
    return len(set(kept) & set(evidence)) / len(evidence)


def answer_recall(text: str, answers: Iterable[str]) -> float:
    """Returns 1 if a text holds the words of one of the answers in a row, else 0.

    Neither case nor punctuation matters; answers of more than 12 words are ignored. Source: answer recall of retrieved
    text (Chen et al., "Reading Wikipedia to Answer Open-Domain Questions", 2017); a figure is its mean over the
    questions whose whole text holds an answer.
    """
    row = f" {' '.join(plain_words(text))} "
    wanted = (plain_words(answer) for answer in answers if len(answer.split()) <= _LONGEST_ANSWER)
    return float(any(f" {' '.join(found)} " in row for found in wanted if found))


def normalised_answer(text: str) -> str:
    """Returns an answer in lower case without punctuation, English articles and superfluous white space.

    Source: the evaluation script of Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text",
    2016.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def exact_match(answer: str, gold: Iterable[str]) -> float:
    """Returns 1 if the normalised answer is one of the normalised gold answers, else 0.

    A question without a gold answer has the empty one. Source: Rajpurkar et al., 2016, and "Know What You Don't Know:
    Unanswerable Questions for SQuAD", 2018; a figure is its mean over questions.
    """
    ours = normalised_answer(answer)
    return max((float(ours == normalised_answer(one)) for one in gold), default=float(not ours))


def answer_f1(answer: str, gold: Iterable[str]) -> float:
    """Returns the harmonic mean of precision and recall of an answer's words, for the gold answer that it fits best.

        precision = shared / words of the answer,  recall = shared / words of the gold answer,  words with repetitions

    Two answers without words are the same. Source: as of `exact_match`.
    """
    ours = normalised_answer(answer)
    return max((_word_f1(ours, normalised_answer(one)) for one in gold), default=float(not ours))


def gold_share(kept: Collection[int], words: Sequence[int], gold: Sequence[bool]) -> float:
    """Returns the share of the words of a question's gold passages that were kept.

        sum of words of kept gold sentences / sum of words of gold sentences

    Source: evidence recall, for sets that label passages only; a figure is its mean over questions.
    """
    total = sum(w for w, is_gold in zip(words, gold, strict=True) if is_gold)
    return sum(words[i] for i in kept if gold[i]) / total


def area_under_curve(shares: Sequence[float], values: Sequence[float]) -> float:
    """Returns the mean height of the curve of values over shares of words: straight lines from (0, 0) through all.

        sum of (x[i] - x[i-1]) * (y[i] + y[i-1]) / 2, divided by the last x

    Source: the trapezoidal rule.
    """
    x, y = [0.0, *shares], [0.0, *values]
    return float(np.trapezoid(y, x) / x[-1])


def words_kept(kept: Collection[int], words: Sequence[int]) -> float:
    """Returns the share of the words that were kept: sum of kept words / sum of words."""
    total = sum(words)
    return sum(words[i] for i in kept) / total if total else 0.0


def share_empty(kept: Sequence[Collection[int]]) -> float:
    """Returns the share of questions of which nothing was kept.

    High is right for unanswerable questions and wrong for answerable ones: the selective augmentation of Xu et al.,
    "RECOMP", 2024.
    """
    return sum(not k for k in kept) / len(kept) if kept else float("nan")


def auroc(scores: Sequence[float], labels: Sequence[bool]) -> float:
    """Returns the chance that a random relevant item scores above a random other one, ties counting half.

        (sum of ranks of the relevant - n (n + 1) / 2) / (n * m),  n relevant and m other items, ties at mean ranks

    Source: Mann, Whitney, 1947; Hanley, McNeil, "The Meaning and Use of the Area under a ROC Curve", 1982.
    """
    relevant = np.asarray(labels, dtype=bool)
    n, m = int(relevant.sum()), int((~relevant).sum())
    if not n or not m:
        return float("nan")
    return float((_mean_ranks(np.asarray(scores, dtype=float))[relevant].sum() - n * (n + 1) / 2) / (n * m))


def ndcg(scores: Sequence[float], gains: Sequence[float], k: int = 10) -> float:
    """Returns the discounted cumulative gain of the k best scores over that of the best order.

        DCG@k = sum over ranks r = 1..k of gain / log2(r + 1);  nDCG@k = DCG@k / DCG@k of the ideal order

    Ties keep their order. Source: Järvelin, Kekäläinen, "Cumulated Gain-Based Evaluation of IR Techniques", 2002.
    """
    gain = np.asarray(gains, dtype=float)
    order = np.argsort(-np.asarray(scores, dtype=float), kind="stable")
    ideal = _discounted(np.sort(gain)[::-1][:k])
    return _discounted(gain[order][:k]) / ideal if ideal else float("nan")


def expected_calibration_error(probabilities: ArrayLike, labels: ArrayLike, bins: int = 10) -> float:
    """Returns how far probabilities are from frequencies: the mean over equal bins of [0, 1], weighted by their size.

        sum over bins of |bin| / n * |mean label - mean probability|

    Source: Naeini, Cooper, Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", 2015.
    """
    probability, label = np.asarray(probabilities, dtype=float), np.asarray(labels, dtype=float)
    bin_of = np.minimum((probability * bins).astype(int), bins - 1)
    gaps = [abs((label - probability)[bin_of == b].sum()) for b in range(bins)]
    return float(sum(gaps) / len(probability)) if len(probability) else float("nan")


def _word_f1(one: str, other: str) -> float:
    ours, theirs = one.split(), other.split()
    if not ours or not theirs:
        return float(ours == theirs)
    return 2 * sum((Counter(ours) & Counter(theirs)).values()) / (len(ours) + len(theirs))


def _discounted(gains: NDArray[np.float64]) -> float:
    return float((gains / np.log2(np.arange(len(gains)) + 2)).sum())


def _mean_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns ranks from 1, ties at the mean of the ranks that they take together."""
    _, group, size = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(size)
    return np.asarray((last - (size - 1) / 2)[group])
