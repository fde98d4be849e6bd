"""Each metric on small cases worked out by hand."""

from __future__ import annotations

import math

import pytest

from eval import metrics


def test_budget_is_filled_best_first():
    """The best sentences are taken until the budget is full."""
    assert metrics.kept_within([0.1, 0.9, 0.5], [5, 3, 2], 0.5) == {1, 2}


def test_a_small_sentence_follows_one_that_does_not_fit():
    """A sentence that is too long is passed over, not the end."""
    assert metrics.kept_within([0.9, 0.8, 0.7], [8, 1, 1], 0.2) == {1, 2}


def test_the_budget_is_rounded_up():
    """A twentieth of 21 words is two words."""
    assert metrics.kept_within([0.9, 0.1], [2, 19], 0.05) == {0}


def test_ties_go_to_the_earlier_sentence():
    """Of sentences with equal scores the first is taken."""
    assert metrics.kept_within([0.5, 0.5], [1, 1], 0.5) == {0}


def test_evidence_recall_is_the_share_of_evidence_kept():
    """One of two evidence sentences is a half, whatever else is kept."""
    assert metrics.evidence_recall({0, 2, 5}, {2, 3}) == 0.5


@pytest.mark.parametrize(
    ("text", "answers", "found"),
    [
        ("The LOIRE, flows.", ["loire flows"], 1.0),
        ("In 1997 it rained.", ["199"], 0.0),
        ("It costs 5 dollars.", ["Loire", "$5"], 1.0),
        ("首都是北京。", ["北京"], 1.0),
        ("a " * 13, ["a " * 13], 0.0),
        ("Nothing.", [], 0.0),
        ("Nothing.", ["?"], 0.0),
    ],
)
def test_answer_recall_looks_for_whole_words(text, answers, found):
    """Case and punctuation do not matter; parts of words, long answers and answers without words do not count."""
    assert metrics.answer_recall(text, answers) == found


def test_gold_share_counts_words_of_gold_passages():
    """Three of the ten gold words are kept; the word that is not gold does not count."""
    assert metrics.gold_share({0, 2}, [3, 7, 1], [True, True, False]) == pytest.approx(0.3)


def test_area_under_a_constant_curve_from_the_origin():
    """A line from (0, 0) to (0.5, 1) and on at 1 covers three quarters of its box."""
    assert metrics.area_under_curve([0.5, 1.0], [1.0, 1.0]) == pytest.approx(0.75)


def test_words_kept_is_a_share():
    """Four of eight words are a half; nothing of nothing is 0."""
    assert metrics.words_kept({1}, [4, 4]) == 0.5
    assert metrics.words_kept(set(), []) == 0.0


def test_share_empty_counts_questions_without_a_kept_sentence():
    """One of four is a quarter; of no questions there is no share."""
    assert metrics.share_empty([{1}, set(), {0}, {2}]) == 0.25
    assert math.isnan(metrics.share_empty([]))


def test_auroc_counts_pairs_in_the_right_order():
    """Of four pairs, two are right, one is tied and one is wrong: 2.5 of 4."""
    assert metrics.auroc([3, 1, 1, 2], [True, True, False, False]) == pytest.approx(2.5 / 4)


def test_auroc_of_one_class_does_not_exist():
    """Without items of both kinds there is nothing to compare."""
    assert math.isnan(metrics.auroc([1, 2], [True, True]))


def test_ndcg_discounts_by_the_logarithm_of_the_rank():
    """The one relevant item at rank 2 gives 1 / log2(3)."""
    assert metrics.ndcg([2, 1], [0, 1]) == pytest.approx(1 / math.log2(3))


def test_ndcg_of_the_ideal_order_is_one():
    """Higher gains first is as good as it gets, and only the first k count."""
    assert metrics.ndcg([3, 2, 1], [2, 1, 0]) == 1.0
    assert metrics.ndcg([3, 2, 1], [0, 1, 1], k=1) == 0.0


def test_calibration_error_weighs_the_gap_of_each_bin():
    """Two at 0.9 of which one is right (gap 0.4), two at 0.1 of which none is (gap 0.1): 0.25 in the mean."""
    assert metrics.expected_calibration_error([0.9, 0.9, 0.1, 0.1], [1, 0, 0, 0]) == pytest.approx(0.25)


def test_probability_one_belongs_to_the_last_bin():
    """A certain and right score has no error."""
    assert metrics.expected_calibration_error([1.0], [1]) == 0.0


@pytest.mark.parametrize(
    ("answer", "gold", "exact", "f1"),
    [
        ("The Loire.", ["loire"], 1.0, 1.0),
        ("river Loire", ["the long Loire river", "Rhine"], 0.0, 0.8),
        ("Loire Loire", ["Loire"], 0.0, 2 / 3),
        ("", ["Loire"], 0.0, 0.0),
        ("", [], 1.0, 1.0),
        ("Loire", [], 0.0, 0.0),
        ("the", ["a"], 1.0, 1.0),
        ("the.", [], 1.0, 1.0),
    ],
)
def test_answers_are_compared_as_squad_does(answer, gold, exact, f1):
    """Case, punctuation and articles do not count, repeated words do; no gold answer means that none is right."""
    assert metrics.exact_match(answer, gold) == exact
    assert metrics.answer_f1(answer, gold) == pytest.approx(f1)
