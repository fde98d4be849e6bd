"""Says which rows of a table a question points at by their place among the others: no row holds the words for that.

Four of the operations that questions about tables are made of (Pasupat, Liang, "Compositional Semantic Parsing on
Semi-Structured Tables", 2015), found by the question's English words:

    superlative   "Which city has the most visitors?"    the row with the largest value of the column that is named
    end           "What was the last game?"              the last row, or the first
    neighbour     "Who was mayor after Jones?"           the row below one with the question's words, or above it
    sameness      "Who has the same coach as Jones?"     rows with the same cell as the row with the question's words
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from rag_compress.models.protocols import Passage
from rag_compress.text import separator
from rag_compress.words import words

_EITHER_WAY = (
    "best better worst worse oldest older youngest younger fastest faster slowest slower quickest nearest closest "
    "recent"
)
"""Words for either end, as the column goes (the best time is the least, the best score the most): both are taken."""


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_MOST = _set(
    "most more highest high higher largest larger biggest bigger greatest greater longest longer tallest taller "
    f"deepest heaviest widest farthest furthest strongest richest latest newest maximum max top {_EITHER_WAY}"
)
_LEAST = _set(
    "least less fewest fewer lowest low lower smallest smaller shortest shorter lightest narrowest weakest cheapest "
    f"poorest earliest minimum min {_EITHER_WAY}"
)
_FIRST = _set("first top initial earliest beginning original start")
_LAST = _set("last final latest bottom recent ending end lastly")
_AFTER = _set("after following follows followed next below")
_BEFORE = _set("before previous previously prior above preceding")
_SAME = _set("same")
_POINTING = _MOST | _LEAST | _FIRST | _LAST | _AFTER | _BEFORE | _SAME
_NUMERIC = 0.6
"""The share of a column's rows that must have a number, so that the largest one says something."""


def pointed_rows(
    query: str, passages: Sequence[Passage], lexical: Sequence[NDArray[np.float64]]
) -> list[NDArray[np.float64]]:
    """Returns, for each passage, float64 `(sentences,)`: how surely the query points at each as a row of a table.

    Args:
        query: The question.
        passages: Its passages; of a table each row is a sentence, the first one names the columns. No row: 0.
        lexical: For each passage `(sentences,)`, how far the BM25 score of each sentence is above the mean: the row
            with the highest is the one whose neighbours, or whose like, are asked for.
    """
    found = [np.zeros(len(passage.sentences)) for passage in passages]
    asked = frozenset(re.findall("[a-z]+", query.lower())) & _POINTING
    if asked:
        topic = frozenset(words(query))
        for passage, own, scores in zip(passages, found, lexical, strict=True):
            for header, rows, places in _tables(passage):
                own[places] = _Table(header, rows, scores[places]).pointed(asked, topic)
    return found


class _Table:
    def __init__(self, header: Sequence[str], rows: Sequence[Sequence[str]], lexical: NDArray[np.float64]) -> None:
        self.names = [frozenset(words(cell)) for cell in header]
        self.rows = rows
        self.likeness = np.maximum(lexical, 0)

    def pointed(self, asked: frozenset[str], topic: frozenset[str]) -> NDArray[np.float64]:
        """Returns float64 `(rows,)` from the words of the question that point, and from those that name columns."""
        named = [column for column, name in enumerate(self.names) if name & topic]
        found = np.zeros(len(self.rows))
        if asked & (_MOST | _LEAST):
            found += self._extremes(named, topic, most=bool(asked & _MOST), least=bool(asked & _LEAST))
        found[0] += bool(asked & _FIRST)
        found[-1] += bool(asked & _LAST)
        if asked & _AFTER:
            found[1:] += self.likeness[:-1]
        if asked & _BEFORE:
            found[:-1] += self.likeness[1:]
        if asked & _SAME and self.likeness.any():
            found += self._same(named)
        return found

    def _extremes(self, named: Sequence[int], topic: frozenset[str], *, most: bool, least: bool) -> NDArray[np.float64]:
        """Returns 1 for the rows with the largest or smallest value of the columns whose names fit the query best."""
        values = {column: self._values(column) for column in named}
        fit = {
            column: len(self.names[column] & topic) / len(self.names[column]) ** 0.5
            for column in named
            if sum(map(bool, values[column])) >= _NUMERIC * len(self.rows)
        }
        best = max(fit.values(), default=0.0)
        found = np.zeros(len(self.rows))
        for column in (column for column in fit if fit[column] == best):
            filled = [value for value in values[column] if value]
            ends = [max(filled)] * most + [min(filled)] * least
            found[[value in ends for value in values[column]]] = 1
        return found

    def _values(self, column: int) -> list[tuple[float, ...]]:
        return [_value(row[column]) if column < len(row) else () for row in self.rows]

    def _same(self, named: Sequence[int]) -> NDArray[np.float64]:
        """Returns 1 for the rows that have a cell of a named column in common with the row most like the query."""
        best = int(self.likeness.argmax())
        shared = {(column, cell) for column, cell in enumerate(self.rows[best]) if cell and column in named}
        found = np.array([not shared.isdisjoint(enumerate(row)) for row in self.rows], dtype=float)
        found[best] = 0
        return found


# ---- cells -----------------------------------------------------------------------------------------------------------


def _tables(passage: Passage) -> Iterator[tuple[list[str], list[list[str]], slice]]:
    """Yields, of each table, the cells of its header, those of its other rows, and where these stand."""
    if len(passage.sentences) < 3:
        return
    rows = _rows(passage)
    for filled, group in groupby(range(len(rows)), lambda i: len(rows[i]) > 1):
        first, *others = group
        if filled and len(others) > 1:
            places = slice(others[0], others[-1] + 1)
            yield rows[first], rows[places], places


def _rows(passage: Passage) -> list[list[str]]:
    """Returns the cells of each sentence; one cell: it is no row."""
    texts = [passage.text[start:end] for start, end in passage.sentences]
    mark = separator(passage.text)
    return [_cells(text, "|" if "|" in text else "\t" if "\t" in text else mark) for text in texts]


def _cells(row: str, mark: str) -> list[str]:
    if not mark or mark not in row:
        return [row]
    line = row.strip().partition("\n")[0].rstrip()  # a ruling is below its row
    if line.startswith("|"):
        line = line[1:].removesuffix("|")
    if mark == "|" or '"' not in line:
        return [cell.strip() for cell in line.split(mark)]
    try:
        return next(csv.reader([line], delimiter=mark))
    except csv.Error:  # a quoted field of a megabyte, a carriage return within one
        return [row]


_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?|\.\d+")
_NEGATIVE = re.compile(r"[^\w.]{0,3}[-−(][^\w.]{0,3}\d")


def _value(cell: str) -> tuple[float, ...]:
    """Returns what a cell is ordered by: its numbers, so times (`1:18.30`) and dates (`2026-11-23`) are in order."""
    numbers = [float(digits.replace(",", "")) for digits in _NUMBER.findall(cell)]
    return (-numbers[0],) if numbers and _NEGATIVE.match(cell) else tuple(numbers)
