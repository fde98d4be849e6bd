"""Turns text into the words that lexical methods match: case folded, stemmed, without stop words.

Scripts that put no spaces between words (Chinese, Japanese, Thai and their neighbours) give pairs of characters, the
usual stand-in for words in retrieval (Nie, Gao, Zhang, Zhou, "On the use of words and n-grams for Chinese information
retrieval", 2000).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import Stemmer

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_UNSPACED_CHARACTER = re.compile(f"[{_UNSPACED}]")
_FORMS = re.compile("[\ufb00-\ufdff\ufe70-\ufefc\uff01-\uffee]+")
"""Ligatures, shapes of Arabic letters and full-width signs. Other compatibility forms are no spellings: NFKC would make
"2½" 21⁄2, and "Kleenex™" kleenextm."""
_OPTIONAL = re.compile("[\u00ad\u0640\u064b-\u065f\u0670]")
"""Soft hyphens, and Arabic's vowel signs and stretched lines: a text may have them or not."""
_MARKS = "".join(
    character
    for character in map(chr, range(0x300, 0x2000))
    if unicodedata.category(character) in ("Mn", "Mc") and not _UNSPACED_CHARACTER.match(character)
)
_ASCII_WORD = re.compile("[a-z0-9]+")
_WORD = re.compile(rf"[{_UNSPACED}]+|(?:[^\W_{_UNSPACED}][{_MARKS}]*)+")

STOP_WORDS = frozenset(
    "a about an and are as at be been but by can could did do does for from had has have he her his how i if in into "
    "is it its me my of on or our she should so than that the their them then there these they this those to was we "
    "were what when where which who whom whose why will with would you your".split()
)
"""English function and question words: they say what kind of answer is wanted, not what it is about."""


def words(text: str) -> list[str]:
    """Returns the words of a text in order, with repetitions; numbers are words."""
    if text.isascii():  # the same, several times as fast
        return [_stem(run) for run in _ASCII_WORD.findall(text.lower()) if run not in STOP_WORDS]
    found: list[str] = []
    for run in _WORD.findall(_normalised(text)):
        if _UNSPACED_CHARACTER.match(run):
            found.extend(_pairs(run))
        elif run not in STOP_WORDS:
            found.append(_stem(run))
    return found


def count_words(text: str) -> int:
    """Returns the number of words between white space, plus one for each two characters of scripts without spaces."""
    spaced = len(text.split())
    return spaced if text.isascii() else spaced + len(_UNSPACED_CHARACTER.findall(text)) // 2


def _normalised(text: str) -> str:
    """Returns the text in one form; Turkish's capital İ folds to an i with a dot of its own, which no small i has."""
    plain = _FORMS.sub(lambda run: unicodedata.normalize("NFKC", run.group()), text)
    return unicodedata.normalize("NFC", _OPTIONAL.sub("", plain).casefold().replace("i\u0307", "i"))


def _pairs(run: str) -> list[str]:
    return [run] if len(run) == 1 else [run[i : i + 2] for i in range(len(run) - 1)]


@lru_cache(maxsize=1 << 16)
def _stem(word: str) -> str:
    # The stemmer refuses lone surrogates, which `\w` does not match, so that none can reach it.
    return str(_STEMMER.stemWord(word)) if word.isascii() else word


_STEMMER = Stemmer.Stemmer("english")
