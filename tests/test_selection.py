"""Choosing: threshold, floor, budgets, neighbours, near-copies; and choosing again."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from rag_compress import Context, Document, PromptTemplate, Segment, Selection
from rag_compress.errors import InvalidInput
from rag_compress.selection import reopen

PLAIN = PromptTemplate(source="{text}", separator=" ", tokenizer=lambda text: len(text.split()))
DOCUMENTS = (Document("a", "one one. two two. three three."), Document("b", "four four. five five."))
SCORED = Context(
    "q",
    DOCUMENTS,
    (
        Segment.of(DOCUMENTS[0], 0, 8, 0.9),
        Segment.of(DOCUMENTS[0], 9, 17, 0.1),
        Segment.of(DOCUMENTS[0], 18, 30, 0.5),
        Segment.of(DOCUMENTS[1], 0, 10, 0.3),
        Segment.of(DOCUMENTS[1], 11, 21, 0.7),
    ),
)


def kept(**options: object) -> list[float | None]:
    """Returns the scores that a selection keeps, in prompt order."""
    (context,) = Selection(template=PLAIN, **options)([SCORED])  # type: ignore[arg-type]
    assert len(context.segments) + len(context.dropped) == 5
    return [segment.score for segment in context.segments]


def test_no_limits() -> None:
    """Without limits everything is kept."""
    assert kept() == [0.9, 0.1, 0.5, 0.3, 0.7]


def test_threshold_and_floor() -> None:
    """What reaches the threshold is kept, and the best n in any case."""
    assert kept(threshold=0.5) == [0.9, 0.5, 0.7]
    assert kept(threshold=0.95) == []
    assert kept(threshold=0.95, keep_best=2) == [0.9, 0.7]
    assert kept(threshold=float("inf"), keep_best=1) == [0.9]


def test_gate() -> None:
    """Nothing is kept when even the best scores too little, but for the best n in any case."""
    assert kept(gate=0.9, threshold=0.5) == [0.9, 0.5, 0.7]
    assert kept(gate=0.91, threshold=0.5) == []
    assert kept(gate=0.91, keep_best=1) == [0.9]
    assert Selection(gate=0.5)([Context("q", DOCUMENTS)])[0].is_empty
    with pytest.raises(InvalidInput, match="gate"):
        Selection(gate=float("nan"))


def test_budgets() -> None:
    """A budget takes the best that fit; the smaller of two holds, also against the floor."""
    assert kept(max_tokens=5) == [0.9, 0.7]
    assert kept(max_ratio=0.6) == [0.9, 0.5, 0.7]
    assert kept(max_tokens=2, max_ratio=0.6) == [0.9]
    assert kept(max_tokens=2, threshold=2, keep_best=3) == [0.9]
    assert kept(max_tokens=0) == kept(max_ratio=0.0) == []


def test_a_counter_that_adds_special_tokens() -> None:
    """They stand around the whole text once, and so take no room from each piece."""
    special = replace(PLAIN, tokenizer=lambda text: 9 + len(text.split()))
    for max_tokens in range(11):
        (context,) = Selection(template=special, max_tokens=9 + max_tokens)([SCORED])
        assert [segment.score for segment in context.segments] == kept(max_tokens=max_tokens)


def test_neighbours() -> None:
    """A kept sentence brings its neighbours of the same document if they fit, and comes alone if not."""
    assert kept(threshold=0.7, neighbours=1) == [0.9, 0.1, 0.3, 0.7]
    assert kept(threshold=0.7, neighbours=1, max_tokens=6) == [0.9, 0.1, 0.7]


def test_neighbours_may_share_words() -> None:
    """Without a limit on similarity, a neighbour stays whatever words it shares with other documents."""
    one, other = Document("a", "The river is long."), Document("b", "The river is wide. The sea is deep.")
    pieces = (Segment.of(one, score=1.0), Segment.of(other, 0, 18, 0.1), Segment.of(other, 19, 35, 0.9))
    (context,) = Selection(threshold=0.5, neighbours=1)([Context("q", (one, other), pieces)])
    assert context.segments == pieces


def test_near_copies_stay_dropped() -> None:
    """A near-copy neither comes back as a neighbour nor takes the place of one of the best n."""
    texts = ["The river is long.", "The river is long.", "The river is long!", "The sea is deep."]
    documents = tuple(Document(str(i), text) for i, text in enumerate(texts))
    scored = Context("q", documents, tuple(Segment.of(d, score=1 - i / 10) for i, d in enumerate(documents)))
    (context,) = Selection(threshold=2, keep_best=3, max_similarity=0.5)([scored])
    assert [segment.text for segment in context.segments] == ["The river is long.", "The sea is deep."]
    copy = Document("c", "The river is long. It is wide.")
    pieces = (Segment.of(documents[0], score=1.0), Segment.of(copy, 0, 18, 0.1), Segment.of(copy, 19, 30, 0.9))
    (context,) = Selection(threshold=0.5, neighbours=1, max_similarity=0.5)(
        [Context("q", (documents[0], copy), pieces)]
    )
    assert [segment.text for segment in context.segments] == ["The river is long.", "It is wide."]


def test_a_neighbour_whose_copy_is_not_kept() -> None:
    """A neighbour stays when the sentence that it repeats stands nowhere in the prompt."""
    one, other = Document("a", "The heading. Turn the red valve now."), Document("b", "The heading. Nothing else.")
    pieces = (
        Segment.of(one, 0, 12, 0.01),
        Segment.of(one, 13, 36, 0.9),
        Segment.of(other, 0, 12, 0.02),
        Segment.of(other, 13, 26, 0.0),
    )
    (context,) = Selection(threshold=0.5, neighbours=1, max_similarity=0.8)([Context("q", (one, other), pieces)])
    assert [segment.text for segment in context.segments] == ["The heading.", "Turn the red valve now."]


def test_copies_without_words() -> None:
    """Sentences of nothing but stop words are copies when they are the same."""
    documents = (Document("a", "It was."), Document("b", "It was."), Document("c", "It is."))
    (context,) = Selection(max_similarity=0.9)([Context.whole("q", documents)])
    assert [segment.text for segment in context.segments] == ["It was.", "It is."]


def test_unscored_segments() -> None:
    """A segment without a score passes any threshold and comes first."""
    context = Context("q", DOCUMENTS, (Segment.of(DOCUMENTS[0], 0, 8, 5.0), Segment.of(DOCUMENTS[1], 0, 10)))
    (after,) = Selection(threshold=1, max_tokens=2, template=PLAIN)([context])
    assert [segment.score for segment in after.segments] == [None]


def test_near_copies() -> None:
    """Of near-copies in several documents the best stays; repetitions within a document are left alone."""
    documents = [Document("a", "the long river loire"), Document("b", "The long river, Loire!"), Document("c", "river")]
    context = Context.whole("q", documents)
    (after,) = Selection(max_similarity=0.8)([context])
    assert [segment.spans[0].doc_id for segment in after.segments] == ["a", "c"]
    same = Document("d", "yes. yes.")
    twice = Context("q", (same,), (Segment.of(same, 0, 4), Segment.of(same, 5, 9)))
    assert len(Selection(max_similarity=0.0)([twice])[0].segments) == 2


@pytest.mark.parametrize("limit", [0.0, 0.3, 0.5, 0.99, 1.0])
def test_near_copies_by_brute_force(limit: float) -> None:
    """What is dropped is exactly what is too similar to a better piece that was kept."""
    rng = random.Random(0)
    texts = [
        " ".join(rng.choices(["alpha", "beta", "gamma", "delta", "omega"], k=rng.randint(1, 5))) for _ in range(80)
    ]
    (after,) = Selection(max_similarity=limit)([Context.whole("q", texts)])
    kept: list[set[str]] = []
    for text in texts:
        bag = set(text.split())
        if all(len(bag & other) / len(bag | other) <= limit for other in kept):
            kept.append(bag)
    assert [set(segment.text.split()) for segment in after.segments] == kept


def test_choosing_again() -> None:
    """What was dropped can be offered again, in its place, without a model."""
    (narrow,) = Selection(threshold=0.8)([SCORED])
    assert reopen(narrow) == SCORED
    assert Selection(threshold=0.5)([reopen(narrow)]) == Selection(threshold=0.5)([SCORED])


@pytest.mark.parametrize(
    "options",
    [
        {"max_tokens": -1},
        {"max_tokens": "5"},
        {"max_ratio": 1.5},
        {"max_similarity": -0.1},
        {"keep_best": -1},
        {"neighbours": 1.5},
        {"threshold": float("nan")},
        {"threshold": "high"},
        {"template": "{context} {query}"},
    ],
)
def test_options_are_checked(options: dict) -> None:
    """An impossible option is an error that names it and shows the value."""
    (name, value) = next(iter(options.items()))
    with pytest.raises(InvalidInput, match=name) as caught:
        Selection(**options)
    assert str(value).lower() in str(caught.value).lower()
