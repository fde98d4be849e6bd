"""Words: what lexical matching sees."""

from __future__ import annotations

from rag_compress.words import count_words, words


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


def test_marks() -> None:
    """Vowel signs belong to their word; composed and decomposed letters are the same; Arabic's are left out."""
    assert words("हिन्दी भाषा") == ["हिन्दी", "भाषा"]
    assert words("re\u0301sume\u0301") == words("résumé") == ["résumé"]
    assert words("مُحَمَّد") == words("محمد")


def test_forms_of_one_letter() -> None:
    """Full-width signs, ligatures, the shapes that PDFs give Arabic letters, and soft hyphens make no other words."""
    assert words("ＡＩは２０２０年") == words("AIは2020年")
    assert words("ﬁnd ｶﾞﾀｶﾅ") == words("find ガタカナ")
    assert words("Kleenex™") == words("Kleenex")
    assert words("ﻣﺮﺣﺒﺎ") == words("مرحبا") == words("مـرحـبا") == words("ﻣ\ufe77ﺮﺣﺒﺎ")  # the last with a vowel sign
    assert words("Donau\u00addampfschiff") == words("Donaudampfschiff")


def test_turkish_capitals() -> None:
    """A word in capitals, or at the start of a sentence, is the word in small letters."""
    assert words("İstanbul ŞEHİR") == words("I\u0307stanbul şehir") == ["istanbul", "şehir"]


def test_count_words() -> None:
    """Words stand between spaces; of scripts without spaces, two characters count as one."""
    assert count_words("two words") == 2
    assert count_words("巴黎是法国的首都。") == 5
