"""What counts as a word."""

from __future__ import annotations

from eval.words import count_words, plain_words


def test_words_are_separated_by_white_space():
    """A hyphen or a bar does not end a word; a bar between spaces is one."""
    assert count_words("well-known | a|b  c\n") == 4


def test_characters_of_unspaced_scripts_are_words():
    """Every Chinese, Japanese and Thai character counts."""
    assert count_words("北京 is ไทย") == 6


def test_plain_words_are_lower_cased_runs():
    """Punctuation ends a word, and nothing is left out or stemmed."""
    assert plain_words("The well-known X2s, 北京!") == ["the", "well", "known", "x2s", "北", "京"]
