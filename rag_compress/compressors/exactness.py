"""A gate for soft tokens: an embedding says what a document is about, and loses its exact numbers, names and code."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rag_compress.compressors.grounding.facts import facts_of
from rag_compress.text import sentences

_FOR_NUMBERS = re.compile(
    r"\b(?:when|how (?:many|much|long|old|far|tall|high|big|large|often|fast|deep|wide)|(?:what|which) (?:year|date|"
    r"day|month|number|percentage|share|amount|price|version|age)|percent|number of)\b",
    re.IGNORECASE,
)
_FOR_NAMES = re.compile(r"\b(?:who|whose|whom|name|names|named|called)\b", re.IGNORECASE)
_CODE = re.compile(
    r"```|^\s*(?:def|class|import|from|#include|function|const|var|let|SELECT)\b|[{};]\s*$|\w\(.{0,200}\)\s*[:;{]"
)
_CODE_SHARE = 0.2


@dataclass(frozen=True)
class Exactness:
    """Says that a document has to be text when the question asks for what its embedding loses.

    That is a number or a date, when the text holds one, and a name likewise. A text of which more than a fifth of the
    lines are code is text whatever is asked. Questions are read as English.

    Attributes:
        numbers: Whether to look for numbers.
        names: Whether to look for names.
        code: Whether to look for code.
    """

    numbers: bool = True
    names: bool = True
    code: bool = True

    def __call__(self, query: str, text: str) -> bool:
        """Returns whether soft tokens of the text would not do for the question."""
        if self.code and _is_code(text):
            return True
        numbers = self.numbers and _FOR_NUMBERS.search(query)
        names = self.names and _FOR_NAMES.search(query)
        if not (numbers or names):
            return False
        facts = [facts_of(text[start:end]) for start, end in sentences(text)]
        return any((numbers and each.numbers) or (names and each.names) for each in facts)


def _is_code(text: str) -> bool:
    lines = [line for line in text.splitlines() if line.strip()]
    return sum(bool(_CODE.search(line)) for line in lines) > _CODE_SHARE * len(lines)
