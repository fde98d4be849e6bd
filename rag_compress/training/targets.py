"""What the sentence classifier should say of each window, and how wrong it is: targets and losses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rag_compress.models.classifier.network import torch
from rag_compress.models.classifier.windows import Reading, Window, WindowCutter
from rag_compress.scorers.features import lexical_scores
from rag_compress.training.examples import Example, LabelledPassage

_TEMPERATURE = 2.0
"""What a teacher's logits are divided by, so that the order of the lesser sentences counts too."""


class Target(NamedTuple):
    """A window with what the model should say about it.

    Attributes:
        window: The tokens.
        ranges: The tokens `[start, end)` of each labelled or unknown sentence, within the window.
        labels: float32 `(sentences,)` in [0, 1], NaN where not known.
        logits: float32 `(sentences,)`, a teacher's, NaN where there is none.
        lexical: float32 `(sentences,)`, BM25 scores as the scorer will see them.
        gold: Whether the window helps to answer: 1, 0, or NaN where not known.
        query: The number of the query within the step.
    """

    window: Window
    ranges: list[tuple[int, int]]
    labels: NDArray[np.float32]
    logits: NDArray[np.float32]
    lexical: NDArray[np.float32]
    gold: float
    query: int


def targets_of(
    example: Example, cutter: WindowCutter, max_windows: int, rng: np.random.Generator, query: int = 0
) -> list[Target]:
    """Returns the windows of an example to train on; of a long passage, those with evidence come first."""
    readings = cutter.read(example.query, [labelled.passage for labelled in example.passages])
    scores = lexical_scores([example.query], [[labelled.passage for labelled in example.passages]])[0]
    chosen: list[Target] = []
    for labelled, reading, lexical in zip(example.passages, readings, scores, strict=True):
        targets = [_target(labelled, window, reading, lexical, query) for window in reading.windows]
        if len(targets) > max_windows:
            order = rng.permutation(len(targets))
            with_evidence = [int(i) for i in order if targets[i].gold == 1][: max(1, max_windows - 1)]
            others = [int(i) for i in order if i not in with_evidence][: max_windows - len(with_evidence)]
            targets = [targets[i] for i in sorted(with_evidence + others)]
        chosen.extend(target for target in targets if target.ranges)
    return chosen


def _target(
    labelled: LabelledPassage, window: Window, reading: Reading, lexical: NDArray[np.float32], query: int
) -> Target:
    inside = [
        i
        for i, (start, end) in enumerate(reading.ranges)
        if start < end and window.first <= start and end <= window.first + window.size
    ]
    shift = window.begin - window.first
    ranges = [(start + shift, end + shift) for start, end in (reading.ranges[i] for i in inside)]
    unknown = np.full(len(inside), np.nan, np.float32)
    labels = unknown if labelled.labels is None else labelled.labels[inside]
    logits = unknown if labelled.logits is None else labelled.logits[inside]
    gold = np.nan if labelled.gold is None else float(labelled.gold)
    if len(reading.windows) > 1 and labelled.gold:
        gold = np.nan if labelled.labels is None else _help(labelled.labels, inside, window, reading)
    return Target(window, ranges, labels, logits, lexical[inside], gold, query)


def _help(labels: NDArray[np.float32], inside: Sequence[int], window: Window, reading: Reading) -> float:
    """Returns whether a window holds evidence; NaN where evidence only reaches into it."""
    first, last = window.first, window.first + window.size
    reaching = [i for i, (start, end) in enumerate(reading.ranges) if start < last and first < end]
    if (labels[inside] >= 0.5).any():
        return 1.0
    return float("nan") if (labels[reaching] >= 0.5).any() else 0.0


def losses_of(
    sentences: torch.Tensor, passages: torch.Tensor, targets: Sequence[Target], lexical: float
) -> list[torch.Tensor]:
    """Returns the four losses of `training/classifier.py` from the logits, in order, of all sentences and all windows.

    To each sentence's logit its BM25 score is added, `lexical` times, so that the network learns what words alone do
    not say.
    """
    device = sentences.device
    sentences = sentences + lexical * torch.from_numpy(np.concatenate([target.lexical for target in targets])).to(
        device
    )
    labels = torch.from_numpy(np.concatenate([target.labels for target in targets])).to(device)
    teacher = torch.from_numpy(np.concatenate([target.logits for target in targets])).to(device)
    queries = torch.tensor([target.query for target in targets for _ in target.ranges], device=device)
    gold = torch.tensor([target.gold for target in targets], dtype=torch.float32, device=device)
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    known, known_gold = ~labels.isnan(), ~gold.isnan()
    zero = sentences.sum() * 0
    return [
        bce(sentences[known], labels[known]) if known.any() else zero,
        _listwise(sentences, labels, queries),
        bce(passages[known_gold], gold[known_gold]) if known_gold.any() else zero,
        _distilled(sentences, teacher, queries),
    ]


def _listwise(logits: torch.Tensor, labels: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    """Returns the mean over queries of the cross-entropy of their evidence against their other sentences."""
    terms = []
    for query in queries.unique():
        mine, wanted = logits[queries == query], labels[queries == query]
        positive, negative = mine[wanted >= 0.5], mine[wanted < 0.5]
        if len(positive) and len(negative):
            terms.append(torch.nn.functional.softplus(negative.logsumexp(0) - positive).mean())
    return torch.stack(terms).mean() if terms else logits.sum() * 0


def _distilled(logits: torch.Tensor, teacher: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    """Returns the mean over queries of the divergence from the teacher's distribution over their sentences.

    `T² KL(softmax(teacher / T) || softmax(logits / T))`, with T = 2. Source: Hinton, Vinyals, Dean, "Distilling the
    Knowledge in a Neural Network", 2015, section 2.
    """
    terms = []
    for query in queries[~teacher.isnan()].unique():
        known = (queries == query) & ~teacher.isnan()
        own, wanted = ((each[known] / _TEMPERATURE).log_softmax(0) for each in (logits, teacher))
        terms.append(torch.nn.functional.kl_div(own, wanted, reduction="sum", log_target=True))
    return _TEMPERATURE**2 * torch.stack(terms).mean() if terms else logits.sum() * 0


def micro_batches(targets: Sequence[Target], tokens: int) -> Iterator[list[Target]]:
    """Yields runs of targets, sorted by length, that have at most `tokens` tokens with padding (or are one window)."""
    batch: list[Target] = []
    for target in targets:
        if batch and (len(batch) + 1) * len(target.window.ids) > tokens:
            yield batch
            batch = []
        batch.append(target)
    if batch:
        yield batch
