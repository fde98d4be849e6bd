"""Words: what lexical matching sees."""

from __future__ import annotations

from rag_compress.words import words


def test_words() -> None:
    """Words are case folded and stemmed; stop words go, numbers and repetitions stay."""
    assert words("The Rivers of FRANCE, the river!") == ["river", "franc", "river"]
    assert words("In 1,006 km") == ["1", "006", "km"]
    assert words("snake_case and naïve Straße") == ["snake", "case", "naïve", "strass"]
    assert words("") == words("?! the") == []


def test_scripts_without_spaces() -> None:
    """Chinese, Japanese and Thai give pairs of characters; Korean, Arabic and Russian give words."""
    assert words("東京都に") == ["東京", "京都", "都に"]
    assert words("水") == ["水"]
    assert words("한국어 문장") == ["한국어", "문장"]
    assert words("река в России") == ["река", "в", "россии"]


def test_surrogates() -> None:
    """A lone surrogate is no word."""
    assert words("a \ud800 river") == ["river"]
