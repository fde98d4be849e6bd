"""Finds in a sentence what must not change in a summary: numbers with units, names, quotations, negations.

Everything is normalised: "1,006 km" and "1006 kilometres", "five" and "5", "Sept." and "September" are the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from itertools import zip_longest
from typing import NamedTuple
from unicodedata import normalize

from rag_compress.words import STOP_WORDS, words


class Number(NamedTuple):
    """A number: its value in plain digits, its unit (`%`, `$`, `km`, ...; empty if none is known), and its place."""

    value: str
    unit: str
    place: int


class Name(NamedTuple):
    """Capitalised words in a row, folded, and the place of the first."""

    words: tuple[str, ...]
    place: int

    @property
    def parts(self) -> tuple[str, ...]:
        """Its words, compounds in parts."""
        return tuple(part for word in self.words for part in _COMPOUND.split(word) if part)


class Token(NamedTuple):
    """A word or a part of a compound, folded as names are.

    Attributes:
        word: The word.
        place: Where it starts.
        is_lower: Whether it is written with a small letter.
        is_next: Whether nothing but a space, a hyphen or a quotation mark stands between it and the one before.
    """

    word: str
    place: int
    is_lower: bool
    is_next: bool


@dataclass(frozen=True)
class Facts:
    """What a sentence holds.

    Attributes:
        tokens: Its words in order.
        words: All its words, folded, as they are written; stems too.
        numbers: In order.
        ones: Units behind "one", but for a beginning with "One day", which may be any.
        singles: Units behind "one", "a" or "an", "full", "single" or "whole".
        names: In order.
        openers: Capitalised words at its start, and at those of sentences within it, that may be names.
        named: The words of its names and openers.
        quotes: Quoted texts of two words or more, folded, with single spaces.
        negated: Stems of the words that a negation is followed by.
        plain: Stems of the other words.
        denies: Whether it holds a negation.
        initials: The first letters of its words in a row, and again without stop words.
        acronyms: The first letters of its capitalised words in a row, with the stop words between them and without.
    """

    tokens: tuple[Token, ...]
    words: frozenset[str]
    numbers: tuple[Number, ...]
    ones: frozenset[str]
    singles: frozenset[str]
    names: tuple[Name, ...]
    openers: tuple[Name, ...]
    named: frozenset[str]
    quotes: tuple[str, ...]
    negated: frozenset[str]
    plain: frozenset[str]
    denies: bool
    initials: str
    acronyms: frozenset[str]

    @property
    def doubts(self) -> bool:
        """Whether it says no in any way, be it by a word such as `instead` or `impossible`."""
        return self.denies or not _DENIALS.isdisjoint(self.plain)

    @property
    def values(self) -> frozenset[str]:
        """The values of its numbers."""
        return frozenset(number.value for number in self.numbers)


@lru_cache(maxsize=1 << 14)
def facts_of(sentence: str) -> Facts:
    """Returns the facts of a sentence."""
    tokens = [match.group().casefold().replace("’", "'") for match in _TOKEN.finditer(sentence)]
    bare = {token.removesuffix("'s").rstrip("'") for token in tokens}
    bare |= {_MONTH_OF[token] for token in bare if token in _MONTH_OF}
    parts = {part for token in bare for part in re.split(r"[-/]", token)}
    negated, plain, denies = _negations(tokens)
    names = tuple(_names(sentence))
    openers = tuple(_openers(sentence, names))
    return Facts(
        tokens=tuple(_tokens(sentence)),
        words=frozenset(bare | parts | {s for token in bare | parts for s in words(token)}),
        numbers=tuple(_numbers(sentence)),
        ones=frozenset(_UNIT_OF[word] for word in _ONE.findall(sentence) if word in _UNIT_OF),
        singles=frozenset(_UNIT_OF[word] for word in _SINGLE.findall(sentence.casefold()) if word in _UNIT_OF),
        names=names,
        openers=openers,
        named=frozenset(part for name in (*names, *openers) for part in name.parts),
        quotes=tuple(_quotes(sentence)),
        negated=frozenset(negated),
        plain=frozenset(plain),
        denies=denies,
        initials=f"{_initials(tokens)} {_initials([token for token in tokens if token not in STOP_WORDS])}",
        acronyms=frozenset(_acronyms(sentence)),
    )


def normalized(text: str) -> str:
    """Returns a text without accents on Latin letters, citations such as [3] and emphasis, its dates written out.

    Numbers have their first digit before the point (.5), none of their thousands apart (1 006), and no "No." (No. 5).
    """
    text = _EMPHASIS.sub(" ", _CITATION.sub("", _HALF_OF_DAY.sub(r" \1m", _CLOCK.sub(":", text))))
    text = _NUMERO.sub("number ", _POINT.sub("0.", _THOUSANDS.sub("", text)))
    if not text.isascii():
        text = "".join(map(_unaccented, normalize("NFC", text))).translate(_LETTERS)
    return _DATE.sub(_written_out, text)


def content_words(sentence: str) -> list[str]:
    """Returns the stemmed words of a sentence, with numbers and units in their normal form, without negations."""
    plain = _DIGITS.sub(
        lambda match: f" {_value(match['digits'], match['scale']) or match['digits']} {match['tail'] or ''} ", sentence
    )
    found: list[str] = []
    for token in _TOKEN.findall(plain.casefold()):
        if token in _NEGATORS:
            continue
        number = _word_value(token)
        found.extend([_UNIT_OF[token]] if token in _UNIT_OF else [str(number)] if number else words(token))
    return found


def folded(text: str) -> str:
    """Returns a text as quotations are compared: without case, with plain quotation marks and single spaces."""
    return " ".join(text.casefold().translate(_QUOTE_MARKS).split())


# ---- what is written in several ways ---------------------------------------------------------------------------------

_CITATION = re.compile(r"\s?\[\d{1,3}\]")
_CLOCK = re.compile(r"(?<=\d)\.(?=\d\d\s?[ap]\.?m\b)", re.IGNORECASE)
_HALF_OF_DAY = re.compile(r"(?<=\d)(?::00)?\s?([ap])\.?m\b\.?", re.IGNORECASE)
_THOUSANDS = re.compile(r"(?<=\d)(?<!\d{4})['’\u00a0\u2009\u202f](?=\d{3}(?!\d))")
_POINT = re.compile(r"(?<![\w.])\.(?=\d)")
_NUMERO = re.compile(r"\b[Nn]o\.\s?(?=\d)|№\s?")  # without the point, "No 12-year-old may enter" denies
_EMPHASIS = re.compile(r"(?<!\w)_+|_+(?!\w)")
_LETTERS = str.maketrans({"ł": "l", "Ł": "L", "ø": "o", "Ø": "O", "đ": "d", "Đ": "D", "ß": "ss", "æ": "ae", "œ": "oe"})
_DATE = re.compile(
    r"\b(?P<y>\d{4})[-/](?P<m>\d{2})[-/](?P<d>\d{2})\b|\b(?P<day>\d{1,2})\.(?P<month>\d{1,2})\.(?P<year>\d{4})\b"
)


@lru_cache(maxsize=1 << 12)
def _unaccented(character: str) -> str:
    base = normalize("NFD", character)[0]
    return base if base.isascii() and base.isalpha() else character


def _written_out(date: re.Match[str]) -> str:
    day, month, year = date["d"] or date["day"], int(date["m"] or date["month"]), date["y"] or date["year"]
    return f"{int(day)} {MONTHS[month - 1].capitalize()} {year}" if 1 <= month <= len(MONTHS) else date.group()


# ---- numbers ---------------------------------------------------------------------------------------------------------

_SCALE_WORDS = {
    10**3: "thousand",
    10**5: "lakh",
    10**6: "million millions millionen millones",
    10**7: "crore",
    10**9: "billion milliard milliards milliarden bn",
    10**12: "trillion tn",
}
_SCALES = {word: scale for scale, spellings in _SCALE_WORDS.items() for word in spellings.split()}
_SCALE = rf"[- ]?(?i:{'|'.join(_SCALES)})\b|[万萬亿億]"
_SCALES |= {"k": 10**3, "m": 10**6, "b": 10**9, "万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_DIGITS = re.compile(
    r"(?P<currency>[$€£¥₹]|\b(?:USD|EUR|GBP|JPY|INR|CHF)\b)?\s?(?P<sign>(?<![^\s(])[-−])?"
    r"(?<![A-Za-z0-9_])(?<!\d\.)(?P<digits>\d[\d,.]*\d|\d)(?:st|nd|rd|th|s)?"
    rf"(?P<scale>{_SCALE}|[mMkK]\b|(?(currency) ?[mMkKbB]\b|(?!)))?"
    r"(?P<tail>[ -]?(?:per cent|%|km/h|[A-Za-zµμ°]+)|\s?[$€£¥₹](?!\s?\d))?"
)
_ONE = re.compile(r"\b(?:one|One(?! day\b))[- ]([a-z]+)")
_SINGLE = re.compile(r"\b(?:(?:one|an?)[- ](?:(?:full|single|whole)[- ])?|(?:full|single|whole)[- ])(?=([a-z]+))")
_ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split()
_ONES += "seventeen eighteen nineteen".split()
_TENS = {ten: 10 * i for i, ten in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), start=2)}
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth".split()
_ORDINALS += "fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth".split()
_WORD_VALUES = {word: i for i, word in enumerate(_ONES) if i > 1} | _TENS | {"dozen": 12, "hundred": 100}
_WORD_VALUES |= {word: i for i, word in enumerate(_ORDINALS, start=1) if i > 2}
_WORD_VALUES |= {f"{ten[:-1]}ieth": value for ten, value in _TENS.items()}
_SMALL = {word: i for names in (_ONES[1:10], _ORDINALS[:9]) for i, word in enumerate(names, start=1)}
_NUMBER_WORD = re.compile(rf"(?i:(?:{'|'.join(_TENS)})-(?:{'|'.join(_SMALL)})\b)|[A-Za-z]+")
MONTHS = "january february march april may june july august september october november december".split()
_UNITS = {
    "%": "% percent pct",
    "$": "$ dollar dollars usd",
    "¢": "cent cents",
    "€": "€ euro euros eur",
    "£": "£ pound pounds gbp",
    "¥": "¥ yen jpy",
    "₹": "₹ rupee rupees inr",
    "chf": "chf franc francs",
    "peso": "peso pesos",
    "pp": "percentage",
    "bp": "basis",
    "km": "km kilometre kilometres kilometer kilometers",
    "m": "m metre metres meter meters",
    "cm": "cm centimetre centimetres centimeter centimeters",
    "mm": "mm millimetre millimetres millimeter millimeters",
    "mi": "mi mile miles",
    "ft": "ft foot feet",
    "in": "inch inches",
    "kg": "kg kilogram kilograms kilo kilos",
    "g": "g gram grams",
    "mg": "mg milligram milligrams",
    "mol": "mol mole moles",
    "mmol": "mmol millimole millimoles",
    "µg": "µg μg mcg microgram micrograms",
    "lb": "lb lbs",
    "oz": "oz ounce ounces",
    "ha": "ha hectare hectares",
    "ac": "acre acres",
    "km/h": "km/h kmh kph",
    "mph": "mph",
    "hz": "hz hertz",
    "watt": "w watt watts",
    "kw": "kw kilowatt kilowatts",
    "kwh": "kwh",
    "mw": "megawatt megawatts",
    "t": "tonne tonnes ton tons",
    "am": "am",
    "pm": "pm",
    "h": "hour hours hr hrs",
    "min": "minute minutes min mins",
    "s": "s second seconds sec secs",
    "ms": "ms millisecond milliseconds",
    "µs": "µs μs microsecond microseconds",
    "ns": "ns nanosecond nanoseconds",
    "d": "day days",
    "wk": "week weeks",
    "mo": "month months",
    "a": "year years yr yrs",
    "10a": "decade decades",
    "l": "litre litres liter liters",
    "ml": "ml millilitre millilitres milliliter milliliters",
    "°c": "°c celsius",
    "°f": "°f fahrenheit",
    "tb": "tb terabyte terabytes",
    "gb": "gb gigabyte gigabytes",
    "mb": "mb megabyte megabytes",
    "kb": "kb kilobyte kilobytes",
}
_UNIT_OF = {word: unit for unit, spellings in _UNITS.items() for word in spellings.split()}


def _numbers(sentence: str) -> Iterator[Number]:
    for match in _DIGITS.finditer(sentence):
        tail = (match["tail"] or "").strip(" -").casefold()
        unit = "%" if tail == "per cent" else _UNIT_OF.get(tail, "")
        currency = (match["currency"] or "").casefold()
        value = _value(match["digits"], match["scale"]) or match["digits"].rstrip(".,")  # 1.2.3 is itself
        yield Number(
            f"-{value}" if match["sign"] else value, _UNIT_OF.get(currency, currency) or unit, match.start("digits")
        )
    yield from _written_numbers(sentence)


def _written_numbers(sentence: str) -> Iterator[Number]:
    """Yields numbers in words, such as `five` or `two hundred`."""
    end = -1
    for match in _NUMBER_WORD.finditer(sentence):
        word = match.group().casefold()
        following = _NUMBER_WORD.match(sentence, match.end() + 1)
        after = following.group().casefold() if following else ""
        scale = 100 if after == "hundred" else _SCALES.get(after if len(after) > 2 else "", 1)
        number = 1 if scale > 1 and word in ("one", "a") else _word_value(word)
        if number is None or match.start() <= end:
            continue
        if following and scale > 1:
            end = following.end()
        yield Number(str(number * scale), _UNIT_OF.get(after, ""), match.start())


def _word_value(word: str) -> int | None:
    """Returns the value of a number word such as `five` or `twenty-one`; `one` alone is rather a pronoun."""
    ten, hyphen, rest = word.partition("-")
    if not hyphen:
        return _WORD_VALUES.get(ten)
    return _TENS[ten] + _SMALL[rest] if ten in _TENS and rest in _SMALL else None


def _value(digits: str, scale: str | None) -> str | None:
    digits = digits.rstrip(".,")
    if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", digits):
        digits = digits.replace(",", "")
    try:
        number = Decimal(digits.replace(",", ".")) * _SCALES.get((scale or "").strip(" -").casefold(), 1)
    except InvalidOperation:  # 1.2.3 is a name
        return None
    return f"{number.normalize():f}"


# ---- names -----------------------------------------------------------------------------------------------------------

_TOKEN = re.compile(r"\w+(?:['’\-/]\w+)*")
_PART = re.compile(r"[^\W_]+(?:['’]s\b)?")
_COMPOUND = re.compile(r"[-/']")
_BETWEEN = re.compile(r"[\s\-/'\"“”‘’`]*")
_CAPITALISED = re.compile(r"(?<![\w-])[A-Z][\w-]++(?:(?: (?:of|and|the|for|in|de|on|to)\b){0,3} [A-Z][\w-]++)+")
_LONGEST_RUN = 12
_SENTENCE_START = re.compile(r"\A\W*|[.!?:]['\"”’)]*\s+\W*")
_MONTH_OF = {short: month for month in MONTHS for short in (month[:3], month)} | {"sept": "september"}
_HEADLINE = 0.85
_HONORIFICS = frozenset("mr mrs ms dr prof sir st jr sr inc ltd co corp the".split())
_NO_NAMES = frozenset(word for word in STOP_WORDS if len(word) > 1) | _HONORIFICS


def _names(sentence: str) -> Iterator[Name]:
    """Yields runs of capitalised words; one word alone at the start of a sentence is no name unless it is marked so.

    In a headline, where most words are capitalised, only marked words are names.
    """
    tokens = [token for token in _TOKEN.findall(sentence) if token.casefold() not in STOP_WORDS]
    if len(tokens) > 6 and sum(map(_is_capitalised, tokens)) > _HEADLINE * len(tokens):
        for match in _TOKEN.finditer(sentence):
            if _is_marked(match.group()):
                yield Name((_folded_name(match.group()),), match.start())
        return
    starts = {match.end() for match in _SENTENCE_START.finditer(sentence)}
    run: list[re.Match[str]] = []
    for word in _TOKEN.finditer(sentence):
        if run and word.group()[0].isupper() and _goes_on(sentence, run[-1], word):  # one letter too: Vitamin C
            run.append(word)
            continue
        yield from _name(run, starts)
        run = [word] if _is_capitalised(word.group()) else []
    yield from _name(run, starts)


def _tokens(sentence: str) -> Iterator[Token]:
    end = 0
    for match in _PART.finditer(sentence):
        is_next = _BETWEEN.fullmatch(sentence, end, match.start()) is not None
        yield Token(_folded_name(match.group()), match.start(), match.group()[0].islower(), is_next)
        end = match.end()


def _openers(sentence: str, names: Sequence[Name]) -> Iterator[Name]:
    """Yields the capitalised words at the start of a sentence that are not among its names."""
    known = {word for name in names for word in name.words}
    for start in _SENTENCE_START.finditer(sentence):
        word = _TOKEN.match(sentence, start.end())
        if word and _is_capitalised(word.group()) and (own := _folded_name(word.group())) not in known | STOP_WORDS:
            yield Name((own,), word.start())


def _name(run: list[re.Match[str]], starts: set[int]) -> Iterator[Name]:
    if run and run[0].start() in starts and not _is_marked(run[0].group()):
        kept = run[1:] if len(run) == 1 or run[0].group().casefold() in STOP_WORDS else run
    else:
        kept = run
    if kept:
        folded_words = (_folded_name(match.group()) for match in kept)
        if own := tuple(word for word in folded_words if word not in _NO_NAMES):
            yield Name(own, kept[0].start())


def _goes_on(sentence: str, last: re.Match[str], following: re.Match[str]) -> bool:
    """Returns whether two words in a row are of one name; a full stop between them is that of a title (Dr. Lee)."""
    gap = sentence[last.end() : following.start()]
    return gap == " " or (gap in (". ", ".") and last.group().casefold() in _HONORIFICS)


def _acronyms(sentence: str) -> Iterator[str]:
    for run in _CAPITALISED.finditer(sentence):
        tokens = [token.casefold() for token in _TOKEN.findall(run.group())]
        if len(tokens) > _LONGEST_RUN:  # a headline
            continue
        for kept in (tokens, [token for token in tokens if token not in STOP_WORDS]):
            yield from (_initials(kept[first:]) for first in range(len(kept) - 1))


def _initials(tokens: Sequence[str]) -> str:
    return "".join(part[0] for token in tokens for part in re.split(r"[-/]", token) if part)


def _is_capitalised(word: str) -> bool:
    return word[0].isupper() and len(word) > 1


def _is_marked(word: str) -> bool:
    """Returns whether a word is a name wherever it stands: it has capitals or digits inside, as NASA or A17."""
    return any(character.isupper() or character.isdigit() for character in word[1:])


def _folded_name(word: str) -> str:
    word = word.casefold().replace("’", "'").removesuffix("'s").rstrip("'")
    return _MONTH_OF.get(word, word)


# ---- quotations ------------------------------------------------------------------------------------------------------

_QUOTE_MARKS = str.maketrans({"“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'"})
_QUOTED = re.compile(r'"([^"]{3,400})"')


def _quotes(sentence: str) -> Iterator[str]:
    for match in _QUOTED.finditer(folded(sentence)):
        quote = match.group(1).strip(" .,;:!?'")
        if " " in quote:
            yield quote


# ---- negations -------------------------------------------------------------------------------------------------------

_NEGATORS = frozenset("not no never neither nor none nobody nothing without cannot hardly unable fails failed".split())
_DEGREES = frozenset("longer very so too really quite yet even also always necessarily fully".split())
_DENIALS = frozenset(
    words(
        "avoid barely cease deny difficult eliminate except fail few free hard impossible instead lack less limit "
        "little lose miss only prevent poor rather refuse reject remove scarce stop unless unlike"
    )
)
"""Stems of words that say no without a negation."""


def _negations(tokens: list[str]) -> tuple[set[str], set[str], bool]:
    """Returns the stems that follow a negation, as the next word that carries meaning, all others, and if one is there.

    "Not only" is none.
    """
    negated: set[str] = set()
    plain: set[str] = set()
    open_negation = denies = False
    for token, following in zip_longest(tokens, tokens[1:]):
        if (token in _NEGATORS and following != "only") or token.endswith("n't"):
            open_negation = denies = True
            continue
        stems = words(token)
        (negated if open_negation and stems else plain).update(stems)
        open_negation = open_negation and (not stems or token in _DEGREES)
    return negated, plain, denies
