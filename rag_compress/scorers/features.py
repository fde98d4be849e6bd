"""What the classifier's probabilities are made from: its logits, and what the words of a query and its passages say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rag_compress.models.protocols import Passage
from rag_compress.scorers.findings import pointed_findings
from rag_compress.scorers.lexical import LexicalScorer
from rag_compress.scorers.tables import pointed_rows
from rag_compress.words import words

_LEXICAL = 8.0
"""How many times BM25 counts beside the sentence's logit, as in training, where a first guess is needed."""
_BRIDGES = 3
_LEAST_SPREAD = 0.02
"""Added to the standard deviation of BM25 scores, which is 0 where no word of the query stands."""


class Logits(NamedTuple):
    """What the model says of one passage.

    Attributes:
        sentences: float32 `(sentences,)`, logits.
        passage: The logit of the passage, that of its best window.
    """

    sentences: NDArray[np.float32]
    passage: float


SENTENCE_FEATURES = ("sentence", "passage", "behind", "lexical", "before", "bridge", "pointed")
PASSAGE_FEATURES = ("passage", "behind", "best", "bridge")


def script_of(query: str) -> str:
    """Returns `latin` or `other`, the script of most letters of a query: encoders rarely read all scripts well."""
    letters = [character for character in query if character.isalpha()]
    latin = sum(character < "\u0250" or "\u1e00" <= character <= "\u1eff" for character in letters)
    return "latin" if 2 * latin >= len(letters) else "other"


def lexical_scores(queries: Sequence[str], passages: Sequence[Sequence[Passage]]) -> list[list[NDArray[np.float32]]]:
    """Returns the BM25 scores that `features` takes; 0 for a query without words, of which BM25 knows nothing."""
    scores = LexicalScorer().score(queries, passages)
    return [[array * bool(words(query)) for array in group] for query, group in zip(queries, scores, strict=True)]


def features(
    query: str, passages: Sequence[Passage], logits: Sequence[Logits], lexical: Sequence[NDArray[np.float32]]
) -> list[NDArray[np.float64]]:
    """Returns, for each passage of one query, float64 `(sentences, 7)`, what probabilities are made from.

    The columns (`SENTENCE_FEATURES`) are the model's logits of the sentence and of its passage; how far the latter is
    behind that of the query's best passage; the BM25 score of the sentence, by how many standard deviations it is above
    the mean of the query's sentences (long questions have low scores everywhere, and still some sentences stand out);
    the BM25 score of the sentence before it, which often says what this one is about; the passage's bridge; and whether
    the query points at the sentence: at a row of a table by its place, at the findings of a report.
    """
    flat = np.concatenate([np.zeros(0), *lexical])
    mean, spread = (flat.mean(), flat.std() + _LEAST_SPREAD) if len(flat) else (0.0, 1.0)
    standing = [(scores - mean) / spread for scores in lexical]
    rows, findings = pointed_rows(query, passages, standing), pointed_findings(query, passages)
    tables = []
    for each, (passage, behind, _, bridge), scores, above, row, finding in zip(
        logits, passage_features(passages, logits, lexical), lexical, standing, rows, findings, strict=True
    ):
        table = np.empty((len(scores), len(SENTENCE_FEATURES)))
        before = np.concatenate([[0.0], scores])[: len(scores)]
        columns = (each.sentences, passage, behind, above, before, bridge, row + finding)
        for column, values in enumerate(columns):
            table[:, column] = values
        tables.append(table)
    return tables


def passage_features(
    passages: Sequence[Passage], logits: Sequence[Logits], lexical: Sequence[NDArray[np.float32]]
) -> NDArray[np.float64]:
    """Returns float64 `(passages, 4)` for the passages of one query: `features`, as far as they are the passage's."""
    highest = max((each.passage for each in logits), default=0.0)
    table = np.zeros((len(passages), len(PASSAGE_FEATURES)))
    for row, each, scores in zip(table, logits, lexical, strict=True):
        row[:3] = each.passage, each.passage - highest, scores.max(initial=0.0)
    table[:, 3] = _bridges(passages, logits, lexical)
    return table


def _bridges(
    passages: Sequence[Passage], logits: Sequence[Logits], lexical: Sequence[NDArray[np.float32]]
) -> list[float]:
    """Returns for each passage how surely one of the three best sentences elsewhere names its title.

    A question that takes two steps often says nothing of the second passage; the evidence in the first one names it.
    """
    pairs = zip(logits, lexical, strict=True)
    likely = [sigmoid(each.sentences + _LEXICAL * scores) for each, scores in pairs]
    ranked = sorted(((p, i, j) for i, array in enumerate(likely) for j, p in enumerate(array)), reverse=True)[:_BRIDGES]
    best = [(p, passages[i].title, set(words(_sentence(passages[i], j)))) for p, i, j in ranked]
    titles = [(passage.title, set(words(passage.title))) for passage in passages]
    return [
        max((float(p) * len(own & named) / len(own) for p, other, named in best if own and other != title), default=0.0)
        for title, own in titles
    ]


def _sentence(passage: Passage, place: int) -> str:
    start, end = passage.sentences[place]
    return passage.text[start:end]


def sigmoid(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Returns the probabilities of log-odds."""
    return np.asarray(1 / (1 + np.exp(np.clip(-logits, -60, 60))), dtype=np.float64)
