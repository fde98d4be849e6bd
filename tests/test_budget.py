"""Filling a budget: greedy where sizes add up, exact where they do not."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from rag_compress.budget import Part, fit


def test_greedy_takes_what_fits() -> None:
    """A small part follows a large one that did not fit."""
    parts = [Part(5), Part(9), Part(3)]
    assert fit([[0], [1], [2]], parts, lambda kept: sum(parts[i].size for i in kept), 8) == [0, 2]


def test_a_header_is_paid_once() -> None:
    """Parts of one document share its header."""
    parts = [Part(2, "a", 3), Part(2, "a", 3), Part(2, "b", 3)]

    def measure(kept: Sequence[int]) -> int:
        return sum(parts[i].size for i in kept) + 3 * len({parts[i].header for i in kept})

    assert fit([[0], [2], [1]], parts, measure, 7) == [0, 1]


def test_a_group_goes_together() -> None:
    """A group is taken whole or not at all; a part that is already there costs nothing."""
    parts = [Part(2), Part(2), Part(2)]
    assert fit([[0, 1, 2], [0], [0, 1]], parts, lambda kept: 2 * len(kept), 4) == [0, 1]


def test_estimates_that_are_too_low() -> None:
    """When joining costs more than was estimated, the last parts taken go until the rest fits."""
    assert fit([[0], [1], [2]], [Part(1)] * 3, lambda kept: 3 * len(kept), 6) == [0, 1]
    assert fit([[i] for i in range(40)], [Part(10)] * 40, lambda kept: 11 * len(kept), 400) == list(range(36))
    assert fit([[0]], [Part(1)], lambda kept: 9 * len(kept), 6) == []


def test_estimates_that_are_too_high() -> None:
    """When joining costs less, the room that is left is offered again."""
    assert fit([[0], [1], [2]], [Part(4)] * 3, len, 5) == [0, 1]
    assert fit([[0], [1], [2]], [Part(4)] * 3, len, 6) == [0, 1, 2]


def test_room_that_only_seems_enough() -> None:
    """What is offered again is taken only if it fits when measured."""
    sizes = [4, 2, 9]

    def measure(kept: Sequence[int]) -> int:
        return sum(sizes[i] for i in kept)

    assert fit([[0], [1], [2]], [Part(5), Part(2), Part(1)], measure, 7) == [0, 1]


@given(
    sizes=st.lists(st.integers(0, 9), max_size=8),
    errors=st.lists(st.integers(-5, 5), min_size=9, max_size=9),
    limit=st.integers(0, 30),
)
def test_never_over_the_limit(sizes: list[int], errors: list[int], limit: int) -> None:
    """Whatever the estimates, the measured size of what is kept is within the limit, or nothing is kept."""
    parts = [Part(size) for size in sizes]

    def measure(kept: Sequence[int]) -> int:
        return max(0, sum(parts[i].size for i in kept) + errors[len(kept)])

    kept = fit([[i] for i in range(len(parts))], parts, measure, limit)
    assert not kept or measure(kept) <= limit
    assert len(set(kept)) == len(kept)
