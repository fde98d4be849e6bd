"""Finds words of a summary that say the opposite of what stands in its source: "rose" for "fell"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product

from rag_compress.compressors.facts import Facts
from rag_compress.words import words

_PAIRS = """
increase raise/decrease reduce; rise rose risen/fall fell fallen; grow grew grown/shrink shrank shrunk;
gain/lose lost; more/less fewer; most/least fewest; higher/lower; high/low; highest/lowest; larger
bigger/smaller; largest biggest/smallest; maximum/minimum; best/worst; better/worse; faster/slower;
oldest/youngest newest; longest/shortest; first/last; north/south; northern/southern; east/west;
eastern/western; left/right; upper/lower; win won/lose lost; success succeed successful/failure fail failed;
accept approve/reject refuse decline; allow permit/forbid prohibit ban; support/oppose; positive/negative;
strong/weak; safe/dangerous; legal/illegal; same/different; true/false; begin began begun start/end finish
stop; open opened/close closed; alive/dead; majority/minority; male/female; men/women; boy/girl;
mother/father; sister/brother; daughter/son; queen/king; summer/winter; always/never; public/private
"""
_PREFIXES = ("un", "non", "dis", "in", "im", "il", "ir")
_SUFFIXES = ("able", "ible", "al", "ent", "ant", "ive", "ate", "ect", "ure", "ar", "ility", "ency", "ly")
"""Of words that such a prefix turns round; "form" and "inform" are no opposites."""


def opposites(said: Facts, known: Sequence[Facts]) -> Iterator[str]:
    """Yields words of a sentence that no source has, if the best one has an opposite that the sentence has not."""
    held = frozenset().union(*(facts.words for facts in known))
    left_out = {token.word for token in known[0].tokens} - said.words
    for token in said.tokens:
        if token.word in held or not held.isdisjoint(words(token.word)):
            continue
        if found := sorted(other for other in left_out if _are_opposite(token.word, other)):
            yield f"{token.word} in place of {found[0]}"


def _are_opposite(one: str, other: str) -> bool:
    return other in _table().get(one, ()) or _is_denied(one, other) or _is_denied(other, one)


def _is_denied(one: str, other: str) -> bool:
    """Returns whether one word is the other behind a prefix that denies."""
    if not one.endswith(other) or not other.endswith(_SUFFIXES):
        return False
    return one.removesuffix(other).rstrip("-") in _PREFIXES


@cache
def _table() -> dict[str, frozenset[str]]:
    """Returns the opposites of each word, in the forms of regular verbs too."""
    table: dict[str, set[str]] = {}
    for pair in _PAIRS.split(";"):
        one, other = ({form for word in side.split() for form in _forms(word)} for side in pair.split("/"))
        for a, b in product(one, other):
            table.setdefault(a, set()).add(b)
            table.setdefault(b, set()).add(a)
    return {word: frozenset(found) for word, found in table.items()}


def _forms(word: str) -> Iterator[str]:
    stem = word.removesuffix("e")
    yield from (word, f"{word}s", f"{word}es", f"{stem}ed", f"{stem}ing", f"{word}{word[-1]}ing")
