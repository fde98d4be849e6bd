"""Turns a query and a passage into the windows of tokens that a cross-encoder reads, and its outputs into sentences.

A window is `[CLS] query [SEP] title: tokens of the passage [SEP]`, with whatever special tokens the tokenizer puts
there. A passage that needs several windows has them overlap, and each begins with the passage's first sentence (the
header of a table, the lead of an article) after the title. Every token of a passage belongs to exactly one window, the
one where it stands further from the edge, so that outputs are put together again without gaps or repetitions.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rag_compress.errors import InvalidInput
from rag_compress.models.protocols import Passage
from rag_compress.tokens import tokenizer_from_file, without_surrogates

_MAX_TITLE = 64
_MAX_LEAD = 64
_MIN_ROOM = 128
"""Tokens of a window that are the passage's however long the query is."""


class Window(NamedTuple):
    """One sequence for the model.

    Attributes:
        ids: Token ids, special tokens included.
        types: Token type ids (0 for the query, 1 for the passage, where the model knows types).
        begin: The position in `ids` of the first token that this window answers for.
        first: The place of that token among the passage's tokens.
        size: How many tokens, from there on, this window answers for.
    """

    ids: list[int]
    types: list[int]
    begin: int
    first: int
    size: int


class Reading(NamedTuple):
    """A passage as the model reads it for one query.

    Attributes:
        windows: In order; none when the passage has no token that a sentence needs.
        ranges: The tokens `[start, end)` of each sentence among the passage's tokens; empty when it has none.
        size: How many tokens the passage has.
    """

    windows: list[Window]
    ranges: list[tuple[int, int]]
    size: int


class _Tokens(NamedTuple):
    ids: list[int]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


@dataclass(frozen=True)
class WindowCutter:
    """Cuts passages into windows.

    Attributes:
        tokenizer: A `tokenizers.Tokenizer` that neither pads nor truncates (see `load_tokenizer`).
        max_tokens: The longest window, special tokens included.
        overlap: How many tokens two neighbouring windows of a passage share.
    """

    tokenizer: Any
    max_tokens: int = 512
    overlap: int = 64

    def __post_init__(self) -> None:
        if self.max_tokens < 2 * _MIN_ROOM or not 0 <= self.overlap <= _MIN_ROOM // 2:
            raise InvalidInput(
                f"Windows need max_tokens >= {2 * _MIN_ROOM} and 0 <= overlap <= {_MIN_ROOM // 2}, "
                f"not {self.max_tokens} and {self.overlap}"
            )

    def read(self, query: str, passages: Sequence[Passage]) -> list[Reading]:
        """Returns each passage's reading for the query; a query too long for a window is cut, with a warning."""
        texts = [query, *(text for passage in passages for text in (f"{passage.title}:", passage.text))]
        encodings = self.tokenizer.encode_batch([without_surrogates(text) for text in texts], add_special_tokens=False)
        layout = _layout(self.tokenizer)
        query_ids = _fitting("query", encodings[0].ids, self.max_tokens - len(layout.special_types) - _MIN_ROOM - 1)
        return [
            self._reading(query_ids, title.ids if passage.title else [], _tokens(text), passage.sentences, layout)
            for passage, title, text in zip(passages, encodings[1::2], encodings[2::2], strict=True)
        ]

    def _reading(
        self, query: list[int], title: list[int], text: _Tokens, sentences: Sequence[tuple[int, int]], layout: _Layout
    ) -> Reading:
        ranges = [_range_of(text, start, end) for start, end in sentences]
        room = self.max_tokens - len(layout.special_types) - len(query)
        title = _fitting("title", title, min(_MAX_TITLE, room - _MIN_ROOM))
        lead: list[int] = []
        if len(text.ids) > room - len(title) and ranges:
            lead = text.ids[ranges[0][0] : ranges[0][1]]
            lead = lead if len(title) + len(lead) <= min(_MAX_LEAD, room - _MIN_ROOM) else []
        windows = [
            layout.window(query, head, text.ids, start, end, kept)
            for head, start, end, kept in self._spans(title, lead, len(text.ids), room)
            if any(first < kept[1] and kept[0] < last for first, last in ranges)
        ]
        return Reading(windows, ranges, len(text.ids))

    def _spans(
        self, title: list[int], lead: list[int], size: int, room: int
    ) -> Iterator[tuple[list[int], int, int, tuple[int, int]]]:
        """Yields, for each window, what stands before its tokens, its tokens and those it answers for."""
        head, start, kept = title, 0, 0
        while kept < size:
            end = min(size, start + room - len(head))
            last = size if end == size else end - self.overlap // 2
            yield head, start, end, (kept, last)
            head, start, kept = title + lead, end - self.overlap, last


def pool(outputs: NDArray[np.float32], ranges: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
    """Returns one logit per sentence from the outputs of its tokens; NaN for a sentence without tokens.

    The outputs `(tokens, 2 * heads)` hold, for each head, a value and how much that value counts; a sentence's logit is
    the sum over heads of the softmax-weighted mean of its tokens' values.
    """
    logits = np.full(len(ranges), np.nan, np.float32)
    bounds = np.array(ranges, np.int64).reshape(-1, 2)
    filled = np.flatnonzero(bounds[:, 0] < bounds[:, 1])
    if len(filled):
        sizes = np.diff(bounds[filled]).ravel()
        firsts = np.concatenate([[0], sizes.cumsum()[:-1]])
        places = np.arange(sizes.sum()) + np.repeat(bounds[filled, 0] - firsts, sizes)
        values, weights = np.split(outputs[places].astype(np.float64), 2, axis=1)
        weights = np.exp(weights - np.repeat(np.maximum.reduceat(weights, firsts), sizes, axis=0))
        means = np.add.reduceat(weights * values, firsts) / np.add.reduceat(weights, firsts)
        logits[filled] = means.sum(axis=1)
    return logits


def load_tokenizer(path: str | Path) -> Any:
    """Returns the tokenizer of a `tokenizer.json`, set neither to pad nor to truncate.

    Raises:
        MissingExtra: `tokenizers` is not installed.
        InvalidInput: The file cannot be read.
    """
    tokenizer = tokenizer_from_file(Path(path), "cpu", "The sentence classifier")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


@dataclass(frozen=True)
class _Layout:
    """The special tokens that a tokenizer puts before, between and after two texts, and the types of all."""

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    special_types: tuple[int, ...]
    query_type: int
    passage_type: int

    def window(
        self, query: list[int], head: list[int], text: list[int], start: int, end: int, kept: tuple[int, int]
    ) -> Window:
        """Returns the window of a passage's tokens `[start, end)`, answering for those `kept`."""
        ids = [*self.before, *query, *self.between, *head, *text[start:end], *self.after]
        first, second = len(self.before), len(self.before) + len(self.between)
        types = [
            *self.special_types[:first],
            *[self.query_type] * len(query),
            *self.special_types[first:second],
            *[self.passage_type] * (len(head) + end - start),
            *self.special_types[second:],
        ]
        begin = len(ids) - len(self.after) - (end - kept[0])
        return Window(ids, types, begin, kept[0], kept[1] - kept[0])


@lru_cache(maxsize=8)
def _layout(tokenizer: Any) -> _Layout:
    """Returns the layout that the tokenizer's own post-processor gives to two texts."""
    encoding = tokenizer.encode("a", "b")
    of = encoding.sequence_ids
    groups: tuple[list[int], list[int], list[int]] = ([], [], [])
    place = 0
    for token, sequence in zip(encoding.ids, of, strict=True):
        place = place if sequence is None else sequence + 1
        if sequence is None:
            groups[place].append(token)
    types = [kind for kind, sequence in zip(encoding.type_ids, of, strict=True) if sequence is None]
    by_sequence = dict(zip(of, encoding.type_ids, strict=True))
    before, between, after = map(tuple, groups)
    return _Layout(before, between, after, tuple(types), by_sequence[0], by_sequence[1])


def _fitting(name: str, ids: list[int], limit: int) -> list[int]:
    if len(ids) > limit:
        warnings.warn(f"A {name} has {len(ids)} tokens; only the first {limit} are read: shorten it", stacklevel=6)
    return ids[:limit]


def _tokens(encoding: Any) -> _Tokens:
    offsets = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
    return _Tokens(encoding.ids, offsets[:, 0], offsets[:, 1])


def _range_of(text: _Tokens, start: int, end: int) -> tuple[int, int]:
    first = int(np.searchsorted(text.ends, start, side="right"))
    last = int(np.searchsorted(text.starts, end, side="left"))
    return first, max(first, last)
