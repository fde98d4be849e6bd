"""Chunks end where the topic changes, and share a budget."""

from __future__ import annotations

import random

import pytest

from rag_compress import Chunking, Document, Segment
from rag_compress.compressors.chunking import density, keywords
from rag_compress.errors import InvalidInput
from rag_compress.testing import HashEncoder

RIVERS = ["The river flows to the sea.", "The river is long and the sea is near.", "A river feeds the sea."]
BREAD = ["Knead the dough with flour.", "Let the dough rise with yeast and flour.", "Bake the dough."]


def pieces(*texts: str) -> list[Segment]:
    """Returns one piece for each text, all of one document."""
    document = Document("d", "\n".join(texts))
    starts = [sum(len(text) + 1 for text in texts[:i]) for i in range(len(texts))]
    return [Segment.of(document, start, start + len(text)) for start, text in zip(starts, texts, strict=True)]


@pytest.mark.parametrize("encoder", [None, HashEncoder()])
def test_cuts_where_the_topic_changes(encoder: HashEncoder | None) -> None:
    """The border lies between the least alike neighbours, by words or by vectors."""
    assert Chunking(20, encoder).cut(pieces(*RIVERS, *BREAD), [6] * 6) == [range(3), range(3, 6)]


def test_cuts_between_documents() -> None:
    """Two documents on one topic are still two."""
    one, other = Document("a", RIVERS[0]), Document("b", RIVERS[0])
    assert Chunking(7).cut([Segment.of(one), Segment.of(other)], [6, 6]) == [range(1), range(1, 2)]


def test_nothing_is_lost_and_nothing_is_too_long() -> None:
    """Chunks are all pieces in order, none longer than allowed unless it is one piece."""
    sizes = [3, 9, 1, 1, 40, 2, 2, 5, 8, 1]
    chunks = Chunking(12).cut(pieces(*(f"word{i} sentence." for i in range(10))), sizes)
    assert [i for chunk in chunks for i in chunk] == list(range(10))
    assert all(len(chunk) == 1 or sum(sizes[i] for i in chunk) <= 12 for chunk in chunks)
    assert Chunking().cut([], []) == []


def test_shares() -> None:
    """A share grows with size, density and relevance; together they keep to the budget, and none exceeds its chunk."""
    shares = Chunking(least=10).allot(100, [100, 100, 50], [0.5, 0.5, 0.5], [0.9, 0.1, 0.1])
    assert sum(shares) <= 100
    assert shares[0] > shares[1] > shares[2] > 0
    assert Chunking().allot(1000, [10, 20], [1, 1], [0, 0]) == [10, 20]


def test_the_smallest_share() -> None:
    """What is small or says little still gets `least`, as far as there is so much of it; the others have the rest."""
    shares = Chunking(least=20).allot(100, [1000, 30, 5], [1.0, 0.1, 1.0], [0.9, 0.0, 0.0])
    assert shares == [74, 20, 5]
    assert Chunking(least=20).allot(90, [10, 1000, 1000], [1, 1, 1], [1, 1, 1]) == [10, 40, 40]
    assert Chunking(least=20).allot(5, [10, 1000], [1, 1], [1, 2]) == [0, 5]
    assert Chunking().allot(48, [3, 3, 400], [1, 1, 1], [0.9, 0.8, 0.7]) == [3, 3, 42]


def test_nothing_is_left_over() -> None:
    """Where chunks have room, all but a few tokens of the budget are shared out."""
    draw = random.Random(0)
    for _ in range(500):
        sizes = [draw.randint(1, 300) for _ in range(draw.randint(1, 8))]
        budget = draw.randint(1, 600)
        relevance = [draw.random() for _ in sizes]
        shares = Chunking().allot(budget, sizes, [draw.random() for _ in sizes], relevance)
        assert sum(shares) <= budget
        assert all(share <= size for share, size in zip(shares, sizes, strict=True))
        assert all(share >= min(24, size, budget) for share, size in zip(shares, sizes, strict=True) if share)
        room = sum(size for share, size in zip(shares, sizes, strict=True) if share)
        assert sum(shares) > min(budget, room) - len(sizes)


def test_the_least_relevant_give_way() -> None:
    """Where there is too little for all, the most relevant get it."""
    shares = Chunking(least=20).allot(45, [100] * 4, [1] * 4, [0.1, 0.9, 0.2, 0.8])
    assert (shares[0], shares[2]) == (0, 0)
    assert shares[1] > shares[3] > 20 or shares[1] + shares[3] >= 44


def test_density_and_keywords() -> None:
    """Repetition is less dense; keywords are what is said often."""
    assert density(["river river river"]) < density(["river sea bread"]) == 1
    assert keywords(RIVERS, 2) == ["river", "sea"]
    assert keywords(["the of"], 3) == []


def test_wrong_options() -> None:
    """A chunk has at least one token."""
    with pytest.raises(InvalidInput, match="max_tokens"):
        Chunking(0)
