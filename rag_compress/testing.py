"""Small deterministic models, and `check_context`, which holds a compressor to the library's promises.

For the tests of this library and of yours: nothing here loads a model, uses the network or calls a random number.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rag_compress.models.protocols import Passage
from rag_compress.prompts import PromptTemplate
from rag_compress.types import Context, Segment
from rag_compress.words import words


@dataclass(frozen=True)
class HashEncoder:
    """Encodes a text as the counts of its words, hashed into `dim` places: texts that share words are near."""

    dim: int = 64

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns float32 `(len(texts), dim)`, each row of length 1 or all zeros."""
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in words(text):
                row[zlib.crc32(word.encode()) % self.dim] += 1
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(lengths, 1e-9), dtype=np.float32)


@dataclass(frozen=True)
class RepeatProjector:
    """Makes of an embedding `tokens` soft tokens, each the embedding itself."""

    tokens: int = 1

    def project(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns float32 `(n, tokens, dim)`."""
        return np.repeat(np.asarray(embeddings, dtype=np.float32)[:, None], self.tokens, axis=1)


@dataclass(frozen=True)
class OverlapScorer:
    """Scores a sentence by the share of the query's words that it holds."""

    def score(self, queries: Sequence[str], passages: Sequence[Sequence[Passage]]) -> list[list[NDArray[np.float32]]]:
        """Returns the shares, in [0, 1]."""
        return [
            [
                np.array([_overlap(query, p.text[start:end]) for start, end in p.sentences], dtype=np.float32)
                for p in group
            ]
            for query, group in zip(queries, passages, strict=True)
        ]


@dataclass(frozen=True)
class LeadSummarizer:
    """Summarises a text by its first words, as many as a summary may have tokens: the summary that invents nothing."""

    def summarize(self, queries: Sequence[str], texts: Sequence[str], max_tokens: Sequence[int]) -> list[str]:
        """Returns the beginnings."""
        del queries
        return [" ".join(text.split()[:limit]) for text, limit in zip(texts, max_tokens, strict=True)]


@dataclass(frozen=True)
class ScriptedSummarizer:
    """Returns the same reply for every text: a summary, or an error that is raised."""

    reply: str | Exception

    def summarize(self, queries: Sequence[str], texts: Sequence[str], max_tokens: Sequence[int]) -> list[str]:
        """Returns the reply for each text."""
        del queries, max_tokens
        if isinstance(self.reply, Exception):
            raise self.reply
        return [self.reply] * len(texts)


def check_context(before: Context, after: Context, template: PromptTemplate, max_tokens: int | None = None) -> None:
    """Raises `AssertionError` unless a compressor kept its promises for one context.

    Checked are: query and documents untouched, verbatim text, order, no overlap, not longer than before, within the
    budget, and, where all is verbatim, that kept and dropped pieces together hold every visible character. That a batch
    gives what its contexts give one by one is for the caller to check: it takes several.

    Args:
        before: What the compressor was given.
        after: What it returned.
        template: Renders the contexts and counts their tokens.
        max_tokens: The budget that the compressor was given, if any.
    """
    _check(after.query == before.query, "the query changed")
    _check(after.documents == before.documents, "documents changed, or their order")
    for segment in (*after.segments, *after.dropped):
        _check_sources(after, segment)
    _check_order(after)
    if all(segment.verbatim for segment in (*before.segments, *after.segments)):
        lost = _visible_places(before, before.segments) - _visible_places(after, (*after.segments, *after.dropped))
        _check(not lost, f"{len(lost)} characters are neither kept nor dropped, the first at {min(lost, default=None)}")
    text = template.render_context(after)  # soft segments have no characters
    _check(len(text) <= len(template.render_context(before)), "the context is longer than before")
    if max_tokens is not None:
        tokens = template.count(after)
        _check(tokens <= max_tokens, f"{tokens} tokens exceed the budget of {max_tokens}")


def _check_sources(context: Context, segment: Segment) -> None:
    known = context.by_id()
    for span in segment.spans:
        _check(span.doc_id in known, f"{span} is of no document in the context")
        _check(span.end <= len(known[span.doc_id].text), f"{span} ends behind its document")
    if segment.verbatim:
        span = segment.spans[0]
        _check(segment.text == known[span.doc_id].text[span.start : span.end], f"{segment} is not verbatim")


def _visible_places(context: Context, segments: Iterable[Segment]) -> set[tuple[str, int]]:
    known = context.by_id()
    spans = [span for segment in segments for span in segment.spans]
    return {(s.doc_id, i) for s in spans for i in range(s.start, s.end) if not known[s.doc_id].text[i].isspace()}


def _check_order(context: Context) -> None:
    place = {document.id: n for n, document in enumerate(context.documents)}
    verbatim = [s.spans[0] for s in context.segments if s.verbatim]
    keys = [(place[span.doc_id], span.start, span.end) for span in verbatim]
    _check(keys == sorted(keys), "segments are not in the order of the documents")
    for one, other in pairwise(verbatim):
        _check(one.doc_id != other.doc_id or one.end <= other.start, f"{one} and {other} overlap")


def _check(holds: bool, message: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not holds:
        raise AssertionError(message)


def _overlap(query: str, sentence: str) -> float:
    wanted = set(words(query))
    return len(wanted & set(words(sentence))) / len(wanted) if wanted else 0.0
