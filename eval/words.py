"""What a word is: for budgets, what white space separates; for matching, a lower-cased run of word characters.

Each character of a script that puts no spaces between words (Chinese, Japanese, Thai) is a word of its own in both.
"""

from __future__ import annotations

import re

_UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_BETWEEN_SPACES = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")
_RUN = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")


def count_words(text: str) -> int:
    """Returns how many words a text costs: what white space separates."""
    return len(_BETWEEN_SPACES.findall(text))


def plain_words(text: str) -> list[str]:
    """Returns the words that can match others: lower-cased runs of letters and digits, nothing stemmed or left out."""
    return _RUN.findall(text.lower())
