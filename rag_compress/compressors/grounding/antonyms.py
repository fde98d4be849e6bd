"""Finds words of a summary that say the opposite of what stands in its source: "rose" for "fell"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from rag_compress.compressors.grounding.facts import Facts, Token
from rag_compress.words import STOP_WORDS, words

_GROUPS = """
rise rises rose risen rising grow grows grew grown growing increase increases increased increasing climb climbs climbed
raise raises raised raising
/ fall falls fell fallen falling drop drops dropped dropping decline declines declined declining decrease decreases
decreased decreasing shrink shrinks shrank shrunk shrinking reduce reduces reduced reducing;
improve improves improved improving / worsen worsens worsened worsening; higher / lower; above / below; before / after;
more / less fewer; most / least fewest; high / low; highest / lowest; largest biggest / smallest; maximum / minimum;
best / worst; oldest / youngest newest; longest / shortest; north / south; northern / southern; east / west;
eastern / western; win wins won winning / lose loses lost losing; succeed succeeds succeeded success successful
/ fail fails failed failing failure; accept accepts accepted approve approves approved approval
/ reject rejects rejected rejection refuse refuses refused refusal; allow allows allowed permit permits permitted
/ forbid forbids forbade forbidden prohibit prohibits prohibited ban bans banned;
support supports supported / oppose opposes opposed; positive / negative; strong stronger / weak weaker;
start starts started starting / stop stops stopped stopping; open opens opened opening / close closes closed closing;
alive / dead; majority / minority; male / female; men / women; public / private; guilty / innocent
"""
_PREFIXES = ("dis", "in", "im", "il", "ir")
_SUFFIXES = ("able", "ible", "al", "ent", "ant", "ive", "ate", "ect", "ure", "ar", "ility", "ency", "ly")
"""Of words that such a prefix turns round; "form" and "inform" are no opposites."""
_SAME = frozenset({"valuable", "flammable"})
_REACH, _LEAST_LETTERS = 3, 4
_NOTHING = (frozenset[str](), frozenset[str]())


def opposites(said: Facts, known: Sequence[Facts]) -> Iterator[str]:
    """Yields words of a sentence that no source has, if the best one has an opposite in their place.

    That is near a word that stands near them, too; it is negated only if they are; and no source has another word that
    means the same.
    """
    held = frozenset().union(*(facts.words for facts in known))
    for place, token in enumerate(said.tokens):
        alike, opposed = _table().get(token.word, _NOTHING)
        if token.word in held or not held.isdisjoint((*words(token.word), *alike)):
            continue
        for other_place, other in enumerate(known[0].tokens):
            if (
                other.word not in said.words
                and (other.word in opposed or _is_denied(token.word, other.word) or _is_denied(other.word, token.word))
                and _is_negated(token, said) == _is_negated(other, known[0])
                and not _around(said.tokens, place).isdisjoint(_around(known[0].tokens, other_place))
            ):
                yield f"{token.word} in place of {other.word}"


def _is_negated(token: Token, facts: Facts) -> bool:
    return not facts.negated.isdisjoint(words(token.word))


def _around(tokens: Sequence[Token], place: int) -> set[str]:
    """Returns the words that carry meaning within reach of a place."""
    near = (*tokens[max(0, place - _REACH) : place], *tokens[place + 1 : place + 1 + _REACH])
    return {token.word for token in near if token.word not in STOP_WORDS}


def _is_denied(one: str, other: str) -> bool:
    """Returns whether one word is the other behind a prefix that denies."""
    if len(other) < _LEAST_LETTERS or not one.endswith(other) or other in _SAME:
        return False
    prefix = one.removesuffix(other).rstrip("-")
    return prefix in ("un", "non") or (prefix in _PREFIXES and other.endswith(_SUFFIXES))


@cache
def _table() -> dict[str, tuple[frozenset[str], frozenset[str]]]:
    """Returns for each word those that mean the same, and its opposites."""
    found: dict[str, tuple[frozenset[str], frozenset[str]]] = {}
    for group in _GROUPS.split(";"):
        one, other = (frozenset(side.split()) for side in group.split("/"))
        found |= dict.fromkeys(one, (one, other)) | dict.fromkeys(other, (other, one))
    return found
