"""Intervals and tests on values whose answer is known."""

from __future__ import annotations

import pytest

from eval.significance import bootstrap_interval, randomisation_test


def test_the_interval_holds_the_mean():
    """Half of the values are 1, so the mean is within, and the interval of 400 values is about 0.1 wide."""
    low, high = bootstrap_interval([0.0, 1.0] * 200)
    assert low < 0.5 < high
    assert high - low == pytest.approx(0.098, abs=0.015)


def test_equal_values_have_an_interval_without_width():
    """Resampling one value gives that value."""
    assert bootstrap_interval([0.25] * 10) == (0.25, 0.25)


def test_equal_systems_do_not_differ():
    """Without any difference the p-value is 1."""
    assert randomisation_test([0.1, 0.5], [0.1, 0.5]) == 1.0


def test_p_value_of_a_one_sided_difference_is_exact():
    """Three wins and no loss are as extreme in 2 of 8 sign patterns."""
    assert randomisation_test([1, 1, 1], [0, 0, 0]) == pytest.approx(0.25, abs=0.02)


def test_many_wins_are_significant():
    """Thirty wins without a loss are not chance."""
    assert randomisation_test([1.0] * 30, [0.0] * 30) < 0.001


def test_the_test_is_symmetric():
    """It is two-sided: which system comes first does not matter."""
    one, other = [0.9, 0.2, 0.5, 0.8], [0.1, 0.3, 0.5, 0.2]
    assert randomisation_test(one, other) == randomisation_test(other, one)
