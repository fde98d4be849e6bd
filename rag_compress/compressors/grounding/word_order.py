"""Finds names and numbers that stand elsewhere in a sentence than in the sentences that support it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from itertools import combinations, pairwise

from rag_compress.compressors.grounding.facts import MONTHS, Facts, Name, Number, Token, facts_of
from rag_compress.words import STOP_WORDS

_REACH = 3
"""Two neighbours may be this many words apart in a source, which may say more of a name."""
_PREPOSITIONS = frozenset("in on at since during until before after near throughout".split())
_DAYS = frozenset(MONTHS) | {f"{day}day" for day in "mon tues wednes thurs fri satur sun".split()}
_YEAR = re.compile(r"1\d{3}|20\d{2}")
_PASSIVE = re.compile(r"\b(?:was|were|is|are|been|being)(?: \w+){1,2} by (?=(?:the )?[A-Z])")
_CONTEXT = 2
"""How many words before or after a name say which name stands there."""


def misplaced(sentence: str, sources: Sequence[str], short: Set[str] = frozenset()) -> Iterator[str]:
    """Yields what stands elsewhere than in the sources of a sentence, the first of which is the best.

    Names in `short` are the first letters of others, so that they may stand in their place.
    """
    said, known = facts_of(sentence), [facts_of(source) for source in sources]
    named = _named(known)
    names = [*said.names, *(name for name in said.openers if named.issuperset(name.words))]
    yield from _joined(said, names, known)
    yield from _replaced(said, [name for name in names if short.isdisjoint(name.words)], known)
    if (" by " in sentence) == (" by " in sources[0]):
        free = {key for _, key in set(_phrases(said)) & set(_phrases(known[0]))}
        yield from _exchanged(said, known[0], free)
        yield from _moved(said, names, known[0], free)
    elif _PASSIVE.search(sentence):
        yield from _turned(sentence, said, known[0])
    elif _PASSIVE.search(sources[0]):
        yield from _turned(sources[0], known[0], said)


# ---- neighbours ------------------------------------------------------------------------------------------------------


def _joined(said: Facts, names: Sequence[Name], known: Sequence[Facts]) -> Iterator[str]:
    """Yields two words of a name, or one and the number next to it, that no source has next to each other."""
    held = _named(known) | {token.word for facts in known for token in facts.tokens if token.word.isdigit()}
    near = {pair for facts in known for pair in _near(facts.tokens)}
    named = {part for name in names for part in name.parts}
    for one, other in pairwise(said.tokens):
        words = {one.word, other.word}
        numbers = sum(word.isdigit() for word in words)
        if not other.is_next or not words <= held or len(words & named) + numbers < 2 or numbers > 1:
            continue
        pairs = {(one.word, other.word)} | ({(other.word, one.word)} if numbers else set())
        if not pairs & near:
            yield f"{one.word} beside {other.word}"


def _near(tokens: Sequence[Token]) -> Iterator[tuple[str, str]]:
    for i, token in enumerate(tokens):
        yield from ((token.word, other.word) for other in tokens[i + 1 : i + 1 + _REACH])


# ---- what stands in place of what ------------------------------------------------------------------------------------


def _replaced(said: Facts, names: Sequence[Name], known: Sequence[Facts]) -> Iterator[str]:
    """Yields names next to words that only have other names next to them in the sources, left out here."""
    starts = {token.place: i for i, token in enumerate(said.tokens)}
    held = {token.word for token in said.tokens}
    for name in names:
        start = starts.get(name.place)
        if start is None:
            continue
        stop = start + 1
        while stop < len(said.tokens) and said.tokens[stop].word in name.parts:
            stop += 1
        before, after = said.tokens[max(0, start - _CONTEXT) : start], said.tokens[stop : stop + _CONTEXT]
        there = _following(before, known) if said.tokens[start].is_next else set()
        others = there or (_preceding(after, name, known) if after and after[0].is_next else set())
        if others - held and not others & set(name.parts) and not _same(name, others, known):
            yield f"name {' '.join(name.words)} in place of {min(others - held)}"


def _following(before: Sequence[Token], known: Sequence[Facts]) -> set[str]:
    """Returns the names that follow these words in a source, by their first words."""
    found = {facts.tokens[i] for facts in known for i in _ends(before, facts.tokens) if i < len(facts.tokens)}
    return {token.word for token in found if token.is_next} & _named(known)


def _preceding(after: Sequence[Token], name: Name, known: Sequence[Facts]) -> set[str]:
    """Returns the names that precede these words in a source, by their last words.

    Where the name itself stands before, the sentence may only have left out what stands between.
    """
    found = set()
    for facts in known:
        for first in (i - _CONTEXT for i in _ends(after, facts.tokens)):
            ahead = {token.word for token in facts.tokens[:first]}
            if first and facts.tokens[first].is_next and ahead.isdisjoint(name.parts):
                found.add(facts.tokens[first - 1].word)
    return found & _named(known)


def _named(known: Sequence[Facts]) -> frozenset[str]:
    return frozenset().union(*(facts.named for facts in known))


def _ends(part: Sequence[Token], tokens: Sequence[Token]) -> Iterator[int]:
    """Yields where the tokens go on after these words; nowhere, if these say too little."""
    wanted = [token.word for token in part]
    if len(wanted) < _CONTEXT or STOP_WORDS.issuperset(wanted):
        return
    for i in range(len(tokens) - len(wanted) + 1):
        if all(token.word == word for token, word in zip(tokens[i:], wanted, strict=False)):
            yield i + len(wanted)


def _same(name: Name, others: Set[str], known: Sequence[Facts]) -> bool:
    """Returns whether one of the others is the name in short, or stands in one name with a word of it."""
    if "".join(part[0] for part in name.parts) in others:
        return True
    return any(others & set(own.parts) and set(name.parts) & set(own.parts) for facts in known for own in facts.names)


# ---- order -----------------------------------------------------------------------------------------------------------


def _phrases(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yields names and numbers that may stand anywhere in a sentence: dates, and those after a preposition, with it."""
    starts = {token.place: i for i, token in enumerate(facts.tokens)}
    items: tuple[Name | Number, ...] = (*facts.names, *facts.openers, *facts.numbers)
    for item in items:
        key = item.words[-1] if isinstance(item, Name) else item.value
        at = starts.get(item.place)
        around = [] if at is None else [token.word for token in facts.tokens[max(0, at - 1) : at + 2]]
        if _DAYS & {key, *around} or _YEAR.fullmatch(key):
            yield "", key
        elif around and at and around[0] in _PREPOSITIONS:
            yield around[0], key


def _exchanged(said: Facts, best: Facts, free: Set[str]) -> Iterator[str]:
    """Yields two names, or two numbers, that stand in the opposite order in the source, but for the free ones."""
    for here, there in (
        (_places(said.names), _places(best.names)),
        (_places(said.numbers), _places(best.numbers)),
    ):
        shared = [key for key in here if key in there and key not in free]
        for one, other in combinations(shared, 2):
            if (here[one] < here[other]) != (there[one] < there[other]):
                yield f"order of {one} and {other}"


def _turned(text: str, passive: Facts, active: Facts) -> Iterator[str]:
    """Yields who acts in a passive sentence if the active one has that name behind the one that suffers."""
    by = next(match.end() for match in _PASSIVE.finditer(text))
    here, there = _places(passive.names) | _places(passive.openers), _places(active.names) | _places(active.openers)
    agent = next((key for key, place in here.items() if 0 <= place - by <= len("the ") and key in there), None)
    suffering = [key for key, place in here.items() if place < by and key in there]
    if agent is not None and suffering and there[suffering[0]] < there[agent]:
        yield f"{agent} acts on {suffering[0]}"


def _moved(said: Facts, names: Sequence[Name], best: Facts, free: Set[str]) -> Iterator[str]:
    """Yields names that stand before a word that they follow in the source, or the other way round."""
    here, there = _single(said.tokens), _single(best.tokens)
    for name in names:
        key = name.words[-1]
        if key not in here or key not in there or key in free:
            continue
        own = [w for w in here if w not in name.words and w in there and here[w].is_lower]
        before = max((w for w in own if here[w].place < here[key].place), key=lambda w: here[w].place, default=None)
        after = min((w for w in own if here[w].place > here[key].place), key=lambda w: here[w].place, default=None)
        if before is not None and there[before].place > there[key].place:
            yield f"{key} after {before}"
        if after is not None and there[after].place < there[key].place:
            yield f"{key} before {after}"


def _single(tokens: Sequence[Token]) -> dict[str, Token]:
    """Returns the words that carry meaning and stand only once."""
    counts = Counter(token.word for token in tokens)
    return {token.word: token for token in tokens if counts[token.word] == 1 and token.word not in STOP_WORDS}


def _places(found: Sequence[Name] | Sequence[Number]) -> dict[str, int]:
    """Returns the place of each name (by its last word) or number that stands only once."""
    places = [(item.words[-1] if isinstance(item, Name) else item.value, item.place) for item in found]
    counts = Counter(key for key, _ in places)
    return {key: place for key, place in places if counts[key] == 1}
