"""Sentences of a long text, and what stands around them."""

from __future__ import annotations

import numpy as np
import pytest

from rag_compress.scorers.surroundings import REACH, with_surroundings

LONG = 3 * REACH


def a_peak(size: int, place: int) -> np.ndarray:
    """Returns the log-odds of poor sentences with one good one."""
    log_odds = np.full(size, -6.0)
    log_odds[place] = 4.0
    return log_odds


def test_a_short_text_stays_as_it_is() -> None:
    """Up to the reach on both sides, nothing changes."""
    log_odds = np.linspace(-5, 5, 2 * REACH)

    assert with_surroundings(log_odds) is log_odds


def test_neighbours_of_a_good_sentence_rise_the_nearest_most() -> None:
    """The good sentence stays the best; what is near it comes next; beyond the reach nothing rises."""
    found = with_surroundings(a_peak(LONG, place=20))

    assert np.argsort(-found)[0] == 20
    assert found[20] > found[19] > found[15] > found[20 - REACH] > found[20 - REACH - 1]
    assert found[19] == pytest.approx(found[21])


def test_a_weak_sentence_among_good_ones_passes_an_equal_one_far_from_them() -> None:
    """This is what surroundings are for."""
    log_odds = np.full(LONG, -6.0)
    log_odds[:6] = 3.0
    log_odds[[3, 40]] = -1.0

    found = with_surroundings(log_odds)

    assert found[3] > found[40]


@pytest.mark.parametrize("value", [-40.0, 0.0, 14.0])
def test_sentences_all_alike_keep_their_log_odds_also_at_the_ends(value: float) -> None:
    """Where the text ends, there are fewer neighbours, and none of them is made up."""
    assert with_surroundings(np.full(LONG, value)) == pytest.approx(np.full(LONG, value))


def test_one_good_neighbour_counts_more_than_many_poor_ones_take_away() -> None:
    """The mean of odds is above that of log-odds."""
    found = with_surroundings(a_peak(LONG, place=20))

    plain_mean = (-6.0 + (-6.0 * (REACH * (REACH + 1) - REACH) + 4.0 * REACH) / (REACH * (REACH + 1))) / 2
    assert found[19] > plain_mean


@pytest.mark.parametrize("value", [60.0, 1e6])
def test_a_sentence_however_sure_stays_above_those_around(value: float) -> None:
    """Its neighbours do not become certain with it, and nothing overflows."""
    log_odds = a_peak(LONG, place=20)
    log_odds[[20, -1]] = value, -value

    found = with_surroundings(log_odds)

    assert np.isfinite(found).all()
    assert found[20] > 20
    assert np.delete(found, 20).max() < 1
