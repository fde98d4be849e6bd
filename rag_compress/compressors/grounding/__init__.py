"""Checks a summary against its sources, sentence by sentence; each gets the source sentences that support it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from math import fsum, log
from typing import NamedTuple

from rag_compress.checks import check_count, check_number
from rag_compress.compressors.grounding.antonyms import opposites
from rag_compress.compressors.grounding.facts import Facts, content_words, facts_of, folded, normalized
from rag_compress.compressors.grounding.word_order import misplaced
from rag_compress.text import Splitter, sentences
from rag_compress.words import words

_LONG_ACRONYM = 3
"""Shorter ones are spelled by chance in any text."""
_CAPITALS = re.compile(r"[A-Z]{2,6}")


class Verdict(NamedTuple):
    """What the check says of one sentence of a summary.

    Attributes:
        text: The sentence.
        sources: Positions of the source sentences that support it, the best first.
        support: The share of its words, weighted by rarity, that these hold.
        faults: What is wrong with it; empty when nothing is.
    """

    text: str
    sources: tuple[int, ...]
    support: float
    faults: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether the sentence may stand."""
        return not self.faults


@dataclass(frozen=True)
class Grounding:
    """Aligns each sentence of a summary to source sentences, and checks its facts against them.

    With N source sentences, n(w) of which hold the stemmed word w, a word weighs idf(w) = ln(1 + N / (n(w) + 1/2)). The
    sources of a sentence are chosen greedily: each time the one that holds most of the weight that the others lack, as
    long as it adds `min_gain` of the whole. The support is the share of the weight that all of them hold.

    A sentence fails when

    * its support is below `min_support`: it was invented;
    * a number, a name, or a quotation of two words or more is in none of its sources, or a number has another unit;
    * a name or number stands where its best source has another one: one from elsewhere may replace a pronoun only;
    * two words of a name, or a name and the number next to it, are nowhere near each other in its sources;
    * a name stands next to words that only have another name next to them in its sources, which the sentence left out;
    * two names, or two numbers, or a name and the word next to it, stand in the opposite order in its best source,
      or who acts on whom is turned round between the passive ("by") and the active;
    * a word stands in it whose opposite stands in its best source, which the sentence left out;
    * a word is negated in it and not in its sources, or the other way round, or its sources deny nothing at all.

    This finds what a summary changed, not what follows from its words by reasoning: a paraphrase that shares few words
    with its source fails, and a false statement made only of the source's words in their order does not.

    The least support is the largest at which, on dev splits, nearly all invented sentences fail: those from another
    abstract of the same field share up to a fifth of their words with it, and good paraphrases a little more.

    Attributes:
        min_support: The least support.
        min_gain: The least share of the weight that a further source must add.
        max_sources: The most sources of one sentence.
    """

    min_support: float = 0.22
    min_gain: float = 0.15
    max_sources: int = 3

    def __post_init__(self) -> None:
        check_number("min_support", self.min_support, 0, 1)
        check_number("min_gain", self.min_gain, 0, 1)
        check_count("max_sources", self.max_sources, least=1)

    def check(self, summary: str, sources: Sequence[str], splitter: Splitter = sentences) -> list[Verdict]:
        """Returns a verdict on each sentence of a summary, in order.

        Args:
            summary: The summary.
            sources: The sentences that it was written from.
            splitter: Cuts the summary into sentences.
        """
        known = [normalized(source) for source in sources]
        alignment = _Alignment.of(known)
        return [self._verdict(summary[start:end], known, alignment) for start, end in splitter(summary)]

    def _verdict(self, sentence: str, sources: Sequence[str], alignment: _Alignment) -> Verdict:
        said = normalized(sentence)
        chosen, support = alignment.align(said, self.min_gain, self.max_sources)
        if not chosen or support < self.min_support:
            return Verdict(sentence, chosen, support, ("unsupported",))
        faults = _faults(said, [sources[i] for i in chosen], alignment)
        return Verdict(sentence, chosen, support, tuple(dict.fromkeys(faults)))


class _Alignment(NamedTuple):
    """The words of source sentences, in how many of them each stands, and what their first letters spell."""

    bags: list[frozenset[str]]
    frequency: Counter[str]
    acronyms: frozenset[str]
    initials: str

    @classmethod
    def of(cls, sources: Sequence[str]) -> _Alignment:
        """Returns what the sentences of a source hold."""
        bags = [frozenset(content_words(source)) for source in sources]
        facts = [facts_of(source) for source in sources]
        acronyms = frozenset[str]().union(*(each.acronyms for each in facts))
        return cls(bags, Counter(word for bag in bags for word in bag), acronyms, " ".join(f.initials for f in facts))

    def spells(self, word: str, chosen: Sequence[Facts]) -> bool:
        """Returns whether first letters are this word: of the chosen sources, of names, or of many words anywhere."""
        if word in self.acronyms or any(word in facts.initials for facts in chosen):
            return True
        return len(word) >= _LONG_ACRONYM and word in self.initials

    def align(self, sentence: str, min_gain: float, most: int) -> tuple[tuple[int, ...], float]:
        """Returns the sources of a sentence, the best first, and the share of its weight that they hold."""
        weights = {word: log(1 + len(self.bags) / (self.frequency[word] + 0.5)) for word in content_words(sentence)}
        total = fsum(weights.values())  # the same in any order, so that ties are
        missing = dict(weights)
        chosen: list[int] = []
        while missing and len(chosen) < most:
            gains = [fsum(missing[word] for word in missing.keys() & bag) for bag in self.bags]
            best = max(range(len(gains)), key=lambda i: (gains[i], -i), default=None)
            if best is None or gains[best] <= 0 or (chosen and gains[best] < min_gain * total):
                break
            chosen.append(best)
            for word in self.bags[best]:
                missing.pop(word, None)
        return tuple(chosen), 1 - fsum(missing.values()) / total if total else 0.0


def _faults(sentence: str, sources: Sequence[str], alignment: _Alignment) -> Iterator[str]:
    said = facts_of(sentence)
    known = [facts_of(source) for source in sources]
    yield from _number_faults(said, known)
    written = {word.casefold() for word in _CAPITALS.findall(sentence)}
    short = {word for word in written if any(word in facts.acronyms for facts in known)}
    yield from _name_faults(said, known, short | {word for word in written if alignment.spells(word, known)})
    text = folded(" ".join(sources))
    yield from (f'quotation "{quote}"' for quote in said.quotes if quote not in text)
    yield from misplaced(sentence, sources, short)
    yield from _negation_faults(said, known)
    yield from opposites(said, known)


def _number_faults(said: Facts, known: Sequence[Facts]) -> Iterator[str]:
    best = known[0]
    left_out = best.values - said.values
    for number in said.numbers:
        units = {own.unit for facts in known for own in facts.numbers if own.value == number.value}
        if not units and number.value == "1" and any(number.unit in facts.singles for facts in known):
            continue  # "one hour" and "an hour" are "1 hour"
        if not units:
            yield f"number {number.value}"
        elif number.unit and units and number.unit not in units and "" not in units:
            yield f"unit of {number.value} {number.unit}"
        elif number.value not in best.values and left_out:
            yield f"number {number.value} in place of {min(left_out)}"
    held = {own.unit for facts in known for own in facts.numbers if own.value == "1"}.union(*(f.singles for f in known))
    yield from (f"one {unit}" for unit in sorted(said.ones - held))


def _name_faults(said: Facts, known: Sequence[Facts], short: Set[str]) -> Iterator[str]:
    """Yields names that the sources do not hold, but for those in `short`, the first letters of words of theirs."""
    best = known[0]
    left_out = [name for name in best.names if not said.words & set(name.words)]
    for name in said.names:
        unknown = [w for w in name.words if not any(_knows(f, w) for f in known) and w.rstrip("s") not in short]
        if unknown:
            yield f"name {' '.join(unknown)}"
        elif left_out and not any(_knows(best, word) or word.rstrip("s") in short for word in name.words):
            yield f"name {' '.join(name.words)} in place of {' '.join(left_out[0].words)}"


def _knows(facts: Facts, word: str) -> bool:
    """Returns whether a sentence holds a word of a name: as it is, stemmed, or in parts."""
    if facts.words & {word, word.removesuffix("s"), *words(word)}:
        return True
    parts = [part for part in word.replace("/", "-").split("-") if part]
    return len(parts) > 1 and all(_knows(facts, part) for part in parts)


def _negation_faults(said: Facts, known: Sequence[Facts]) -> Iterator[str]:
    negated = frozenset().union(*(facts.negated for facts in known))
    plain = frozenset().union(*(facts.plain for facts in known))
    yield from (f"negation of {word}" for word in sorted(said.negated & plain - negated))
    if said.denies and not any(facts.doubts for facts in known):
        yield "negation of what no source denies"
    yield from (f"no negation of {word}" for word in sorted(said.plain & negated - plain - said.negated))
