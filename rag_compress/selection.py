"""Chooses which scored segments to keep: pure functions of the scores, so one scoring pass serves a whole sweep."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from math import ceil, floor

from rag_compress.budget import fit
from rag_compress.checks import check_count, check_number
from rag_compress.errors import InvalidInput
from rag_compress.prompts import PromptTemplate, choose, document_order, rank_key
from rag_compress.stages import Stage
from rag_compress.types import Context, Segment, as_contexts
from rag_compress.words import words


@dataclass(frozen=True)
class Selection(Stage):
    """Keeps the best segments, in prompt order, within the limits; what it drops stays in `Context.dropped`.

    Segments are offered best first, and one is taken when it fits what is left. A segment without a score passes any
    threshold and comes first. With no limit at all, everything is kept.

    Attributes:
        threshold: Keep what scores at least this.
        gate: Keep nothing unless the best segment scores at least this: when nothing that was retrieved is relevant,
            the empty context is the best one.
        keep_best: Keep the best n even below the threshold and the gate (a budget still holds).
        max_tokens: The most tokens the rendered context may have: titles, numbers and separators included.
        max_ratio: The same as a share, in [0, 1], of the tokens of the context with its documents whole.
        neighbours: With each kept segment, also keep the n before and after it in its document, if they fit.
        max_similarity: Drop a segment when its words' Jaccard similarity with those of a better one from another
            document is above this.
        template: Renders the context and counts its tokens; see `PromptTemplate`.
    """

    threshold: float | None = None
    keep_best: int = 0
    max_tokens: int | None = None
    max_ratio: float | None = None
    neighbours: int = 0
    max_similarity: float | None = None
    template: PromptTemplate = field(default_factory=PromptTemplate)
    gate: float | None = None

    def __post_init__(self) -> None:
        for name in ("keep_best", "neighbours"):
            check_count(name, getattr(self, name))
        if self.max_tokens is not None:
            check_count("max_tokens", self.max_tokens)
        for name in ("threshold", "gate"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name))
        for name in ("max_ratio", "max_similarity"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), 0, 1)
        if not isinstance(self.template, PromptTemplate):
            raise InvalidInput(f"template must be a PromptTemplate, not {self.template!r:.80}")

    def __call__(self, batch: Sequence[Context]) -> list[Context]:
        """Returns each context with its best segments kept and the others added to `dropped`."""
        return [self._select(context) for context in as_contexts(batch)]

    @property
    def without_budget(self) -> Selection:
        """The same choice with all the room that it wants."""
        return replace(self, max_tokens=None, max_ratio=None)

    def _select(self, context: Context) -> Context:
        segments = context.segments
        order = sorted(range(len(segments)), key=lambda i: rank_key(segments[i], i))
        opened = bool(order) and _reaches(segments[order[0]], self.gate)
        offered = iter(order) if self.max_similarity is None else _distinct(segments, order, self.max_similarity)
        best = enumerate(offered)  # what comes after one that is not kept is not kept either
        order = [i for _, i in takewhile(lambda place: self._takes(*place, segments, opened=opened), best)]
        groups = list(_with_neighbours(segments, order, self.neighbours, self.max_similarity))
        return choose(context, self._within_budget(context, groups))

    def _takes(self, rank: int, place: int, segments: Sequence[Segment], *, opened: bool) -> bool:
        return rank < self.keep_best or (opened and _reaches(segments[place], self.threshold))

    def _within_budget(self, context: Context, groups: Sequence[Sequence[int]]) -> Sequence[int]:
        """Returns the positions of the groups' segments that fit the budget; all of them when there is none."""
        limits = [] if self.max_tokens is None else [self.max_tokens]
        if self.max_ratio is not None:
            whole = self.template.count(Context.whole(context.query, context.documents))
            limits.append(floor(self.max_ratio * whole))
        if not limits:
            return [i for group in groups for i in group]

        def measure(kept: Sequence[int]) -> int:
            return self.template.count(choose(context, kept))

        return fit(groups, self.template.parts(context), measure, min(limits))


def _reaches(segment: Segment, limit: float | None) -> bool:
    return limit is None or segment.score is None or segment.score >= limit


def reopen(context: Context) -> Context:
    """Returns the context with everything that was dropped put back in its place, for another choice without a model.

    Scores are compared as they are: reopen only what one scorer has scored.
    """
    pieces = sorted((*context.segments, *context.dropped), key=document_order(context))
    return replace(context, segments=tuple(pieces), dropped=())


def _with_neighbours(
    segments: Sequence[Segment], order: Sequence[int], reach: int, limit: float | None
) -> Iterator[list[int]]:
    """Yields each segment with its neighbours, near-copies of others that are kept left out; then alone."""
    bags = {i: _bag(segments[i]) for i in order} if reach and limit is not None else {}

    def is_copy(j: int) -> bool:
        bag, chosen = _bag(segments[j]), (i for i in bags if not _same_document(segments[i], segments[j]))
        return j not in bags and any(_jaccard(bag, bags[i]) > (limit or 0) for i in chosen)

    for i in order:
        around = range(max(0, i - reach), min(len(segments), i + reach + 1))
        near = [j for j in around if segments[j].spans and _same_document(segments[j], segments[i])]
        group = [j for j in near if not bags or not is_copy(j)]
        if len(group) > 1:
            yield [i, *(j for j in group if j != i)]
        yield [i]


def _same_document(one: Segment, other: Segment) -> bool:
    return {span.doc_id for span in one.spans} == {span.doc_id for span in other.spans}


def _distinct(segments: Sequence[Segment], order: Sequence[int], max_similarity: float) -> Iterator[int]:
    """Yields the positions, best first, whose words are not too similar to those of a better one elsewhere.

    The Jaccard similarity of two sets of words is the size of their intersection over that of their union. Two sets
    above a similarity share a word among the rarest of each, so that only those are looked up (Bayardo, Ma, Srikant,
    "Scaling Up All Pairs Similarity Search", 2007).
    """
    bags = {i: _bag(segments[i]) for i in order}
    frequency = Counter(word for bag in bags.values() for word in bag)
    holders: defaultdict[str, list[int]] = defaultdict(list)
    for i in order:
        rarest = sorted(bags[i], key=lambda word: (frequency[word], word))
        telling = rarest[: len(rarest) - ceil(max_similarity * len(rarest)) + 1]
        candidates = {j for word in telling for j in holders[word] if not _same_document(segments[i], segments[j])}
        if any(_jaccard(bags[i], bags[j]) > max_similarity for j in candidates):
            continue
        for word in telling:
            holders[word].append(i)
        yield i


def _bag(segment: Segment) -> frozenset[str]:
    """Returns the words of a segment; of one that has only stop words, its text."""
    return frozenset(words(segment.text)) or frozenset([segment.text.strip()])


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)
