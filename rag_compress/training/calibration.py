"""Fits probabilities to a trained classifier's logits on queries that it was not trained on, and measures them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rag_compress.errors import InvalidInput
from rag_compress.scorers.classifier import ClassifierScorer
from rag_compress.scorers.features import (
    PASSAGE_FEATURES,
    SENTENCE_FEATURES,
    features,
    lexical_scores,
    passage_features,
    script_of,
    sigmoid,
)
from rag_compress.training.examples import Example

Calibration = dict[str, dict[str, list[float]]]
"""By script (`script_of`): the weights of `SENTENCE_FEATURES` and of `PASSAGE_FEATURES`, after a bias."""

_AS_IT_IS = {
    "sentence": [0.0, *(float(name == "sentence") for name in SENTENCE_FEATURES)],
    "passage": [0.0, *(float(name == "passage") for name in PASSAGE_FEATURES)],
}
UNCALIBRATED: Calibration = {"latin": _AS_IT_IS, "other": _AS_IT_IS}


WORTH_OF_WORDS = {"latin": 1.4, "other": 2.4}
"""The weight of BM25 by script. A fit on data like the training data gives words half as much; elsewhere they are worth
more: measured on the dev splits of six sets of other kinds of text, and of nine languages."""
WORTH_OF_POINTING = 3.0
"""The weight of being pointed at, as a row of a table or as a report's finding. No network learns it here, and data
without tables and reports would give it none: chosen on dev splits of tables and of clinical trials."""


def calibrate(scorer: ClassifierScorer, sets: Mapping[str, Sequence[Example]]) -> Calibration:
    """Returns the calibration under which the scorer's probabilities fit the labels best.

    The weights of words and of being pointed at are held fast while the others are fitted (`WORTH_OF_WORDS`,
    `WORTH_OF_POINTING`). Every set counts the same, however many sentences it has. A script without labels of both
    kinds takes the other's weights; where no passage is known to help, or none not to, passages stay uncalibrated.

    Args:
        scorer: The classifier.
        sets: Labelled examples that it was not trained on.

    Raises:
        InvalidInput: The sets have no labelled sentences of both kinds.
    """
    fitted: Calibration = {}
    for script in ("latin", "other"):
        chosen = [[e for e in examples if script_of(e.query) == script] for examples in sets.values()]
        rows = [_rows(scorer, examples) for examples in chosen if examples]
        if rows:
            sentences, passages = zip(*rows, strict=True)
            worth = {"lexical": WORTH_OF_WORDS[script], "pointed": WORTH_OF_POINTING}
            held = {SENTENCE_FEATURES.index(name): weight for name, weight in worth.items()}
            of_sentences = _fit(sentences, held)
            if of_sentences is None:
                continue
            of_passages = _fit(passages, {}) or UNCALIBRATED[script]["passage"]
            fitted[script] = {"sentence": of_sentences, "passage": of_passages}
    if not fitted:
        raise InvalidInput("Calibration needs labelled sentences that are evidence, and others that are not")
    return {script: fitted.get(script, next(iter(fitted.values()))) for script in ("latin", "other")}


def logistic_regression(
    features: NDArray[np.float64],
    labels: NDArray[np.float64],
    weights: NDArray[np.float64],
    fixed: float | NDArray[np.float64] = 0.0,
) -> NDArray[np.float64]:
    """Returns float64 `(1 + features,)`, the bias first: the weights of the smallest weighted cross-entropy.

    Newton's method, with a small ridge so that labels which can be separated have a solution too. `fixed` is added to
    each logit and not fitted.
    """
    inputs = np.column_stack([np.ones(len(labels)), features])
    ridge = 1e-4
    weights = weights / weights.sum()
    found = np.zeros(inputs.shape[1])
    for _ in range(50):
        predicted = sigmoid(inputs @ found + fixed)
        gradient = inputs.T @ (weights * (predicted - labels)) + ridge * found
        curvature = (inputs * (weights * predicted * (1 - predicted))[:, None]).T @ inputs
        step = np.linalg.solve(curvature + ridge * np.eye(len(found)), gradient)
        found -= step * min(1.0, 5.0 / np.abs(step).max(initial=1e-9))
        if np.abs(step).max() < 1e-8:
            break
    return found


def _rows(scorer: ClassifierScorer, examples: Sequence[Example]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns a row of features and, last, the label for each labelled sentence, and for each labelled passage."""
    queries = [example.query for example in examples]
    groups = [[labelled.passage for labelled in example.passages] for example in examples]
    sentences, passages = [], []
    evidence, lexical = scorer.logits(queries, groups), lexical_scores(queries, groups)
    for example, group, found, scores in zip(examples, groups, evidence, lexical, strict=True):
        for labelled, rows in zip(example.passages, features(example.query, group, found, scores), strict=True):
            if labelled.labels is not None:
                sentences.append(np.column_stack([rows, labelled.labels]))
        gold = [np.nan if labelled.gold is None else float(labelled.gold) for labelled in example.passages]
        passages.append(np.column_stack([passage_features(group, found, scores), gold]))
    table = np.concatenate([np.zeros((0, len(PASSAGE_FEATURES) + 1)), *passages])
    return np.concatenate([np.zeros((0, len(SENTENCE_FEATURES) + 1)), *sentences]), table[~np.isnan(table[:, -1])]


def _fit(rows: Sequence[NDArray[np.float64]], held: Mapping[int, float]) -> list[float] | None:
    """Returns the bias and the weights of all columns but the last, the label; those in `held` are given.

    `None` where the labels are all of one kind.
    """
    table = np.concatenate(list(rows))
    labels = table[:, -1]
    if not 0 < labels.sum() < len(labels):
        return None
    weights = np.concatenate([np.full(len(part), 1 / max(1, len(part))) for part in rows])
    free = [column for column in range(table.shape[1] - 1) if column not in held]
    fixed = sum((weight * table[:, column] for column, weight in held.items()), start=np.zeros(len(table)))
    fitted = dict(zip((-1, *free), logistic_regression(table[:, free], labels, weights, fixed), strict=True))
    fitted.update(held)
    return [round(float(fitted[column]), 6) for column in sorted(fitted)]
