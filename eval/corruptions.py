"""Spoils sentences on purpose, one function for each kind: what a grounding check has to catch.

Each returns the spoiled sentence, or `None` where the sentence has nothing to spoil. Source: the transformations of
FactCC (Kryściński et al., "Evaluating the Factual Consistency of Abstractive Text Summarization", 2020).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

_NUMBER = re.compile(r"(?<![\w.,])\d[\d,.]*\d|(?<![\w.,])\d(?!\w)")
_NAME = re.compile(r"(?<=[\w,;'\"] )[A-Z][a-z]+(?: [A-Z][a-z]+)*")
_ADVERB = r"(?! (?:not|n't|never|no)\b)"
_AUXILIARY = re.compile(
    rf"\b(is|was|are|were|has|have|had|will|can|could|would|may|must|should|does|did|do)\b{_ADVERB}", re.IGNORECASE
)
_NEGATION = re.compile(r" not\b| never\b")
_PAIRS = (
    "kilometres/miles kilometers/miles km/miles metres/feet meters/feet m/feet kg/pounds years/months months/years "
    "days/weeks weeks/days hours/minutes minutes/hours seconds/minutes million/billion billion/million "
    "percent/million %/million acres/hectares hectares/acres tonnes/kilograms dollars/euros pounds/dollars"
)
_UNITS: dict[str, str] = dict(pair.split("/") for pair in _PAIRS.split())
_UNIT = re.compile(rf"\d(?:\s|-)?(?P<unit>{'|'.join(map(re.escape, _UNITS))})(?!\w)", re.IGNORECASE)
_MONTHS = "January February March April May June July August September October November December".split()
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
_CALENDAR = [(names, re.compile(rf"\b(?:{'|'.join(names)})\b")) for names in (_MONTHS, _DAYS)]
_QUOTATION = re.compile(r"[\"“]([^\"“”]{5,200})[\"”]")
_WORD = re.compile(r"[A-Za-z]{3,}")


class Material(NamedTuple):
    """What a corruption may use.

    Attributes:
        source: The text that the sentence was written from.
        elsewhere: A text on something else.
        rng: Makes every choice.
    """

    source: str
    elsewhere: str
    rng: random.Random


def number_changed(sentence: str, material: Material) -> str | None:
    """Changes one digit of one number."""
    found = list(_NUMBER.finditer(sentence))
    if not found:
        return None
    match = material.rng.choice(found)
    places = [i for i in range(*match.span()) if sentence[i].isdigit()]
    place = material.rng.choice(places)
    others = [digit for digit in "123456789" if digit != sentence[place]]
    return sentence[:place] + material.rng.choice(others) + sentence[place + 1 :]


def unit_changed(sentence: str, material: Material) -> str | None:
    """Gives one number another unit or scale."""
    found = list(_UNIT.finditer(sentence))
    if not found:
        return None
    match = material.rng.choice(found)
    other: str = _UNITS[match["unit"].casefold()]
    return sentence[: match.start("unit")] + other + sentence[match.end("unit") :]


def date_changed(sentence: str, material: Material) -> str | None:
    """Puts another month, or another day of the week, in the place of one."""
    found = [(match, names) for names, pattern in _CALENDAR for match in pattern.finditer(sentence)]
    if not found:
        return None
    match, names = material.rng.choice(found)
    other: str = material.rng.choice([name for name in names if name != match.group()])
    return sentence[: match.start()] + other + sentence[match.end() :]


def quotation_changed(sentence: str, material: Material) -> str | None:
    """Puts a word of another text in the place of one of a quotation of two words or more."""
    found = [match for match in _QUOTATION.finditer(sentence) if len(_WORD.findall(match[1])) > 1]
    others: list[str] = [
        word for word in _WORD.findall(material.elsewhere) if word.casefold() not in sentence.casefold()
    ]
    if not found or not others:
        return None
    quotation = material.rng.choice(found)
    word = material.rng.choice(list(_WORD.finditer(sentence, *quotation.span(1))))
    return sentence[: word.start()] + material.rng.choice(others) + sentence[word.end() :]


def name_of_the_source(sentence: str, material: Material) -> str | None:
    """Puts another name of the source in the place of a name."""
    return _renamed(sentence, material.source, material.rng)


def name_from_elsewhere(sentence: str, material: Material) -> str | None:
    """Puts a name that the source does not hold in the place of a name."""
    names = [name for name in _names(material.elsewhere) if name not in material.source]
    return _renamed(sentence, ". . ".join(["", *(f"x {name}" for name in names)]), material.rng)


def names_exchanged(sentence: str, material: Material) -> str | None:
    """Lets two names of the sentence change places."""
    found = [match for match in _NAME.finditer(sentence) if sentence.count(match.group()) == 1]
    if len({match.group() for match in found}) < 2:
        return None
    one, other = sorted(material.rng.sample(found, 2), key=lambda match: match.start())
    between = sentence[one.end() : other.start()]
    return sentence[: one.start()] + other.group() + between + one.group() + sentence[other.end() :]


def negated(sentence: str, material: Material) -> str | None:
    """Adds a negation after an auxiliary verb, or takes one away."""
    if _NEGATION.search(sentence):
        return _NEGATION.sub("", sentence, count=1)
    found = list(_AUXILIARY.finditer(sentence))
    if not found:
        return None
    match = material.rng.choice(found)
    return f"{sentence[: match.end()]} not{sentence[match.end() :]}"


def invented(sentence: str, material: Material) -> str | None:
    """Returns a sentence on something else."""
    del sentence
    return material.elsewhere


CORRUPTIONS: Mapping[str, Callable[[str, Material], str | None]] = {
    "number changed": number_changed,
    "unit changed": unit_changed,
    "date changed": date_changed,
    "quotation changed": quotation_changed,
    "name of the source": name_of_the_source,
    "name from elsewhere": name_from_elsewhere,
    "names exchanged": names_exchanged,
    "negated": negated,
    "invented": invented,
}


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(_NAME.findall(text)))


def _renamed(sentence: str, text: str, rng: random.Random) -> str | None:
    own = list(_NAME.finditer(sentence))
    others = [name for name in _names(text) if not set(name.split()) & set(sentence.split())]
    if not own or not others:
        return None
    match = rng.choice(own)
    return sentence[: match.start()] + rng.choice(others) + sentence[match.end() :]
