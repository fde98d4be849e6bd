"""Cuts text into pieces with exact character offsets.

`cut` is the default splitter: it knows paragraphs, headings, list items, table rows, code and dialogue turns, and cuts
prose into sentences. Whatever the text, its pieces are in order, do not overlap, start and end with a visible
character, and leave out nothing but white space.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from textwrap import dedent
from typing import Literal, NamedTuple

import sentencex

from rag_compress.checks import check_count
from rag_compress.errors import InvalidInput
from rag_compress.types import Document
from rag_compress.words import count_words

Offsets = tuple[int, int]
Splitter = Callable[[str], Sequence[Offsets]]

MAX_CHARS = 1000
"""A longer piece is split: no budget could take it, and it says too little about where the answer is."""
_FINE = 150
"""The longest part of a piece that was too long for a budget."""

_MAX_CHARS_OF = {"th": 100}  # Thai marks no sentence ends; its spaces stand between clauses
_SCRIPTS = {  # the first script found decides; Japanese before Chinese, since it uses both
    "ja": "\u3040-\u30ff",
    "zh": "\u4e00-\u9fff",
    "ko": "\uac00-\ud7a3",
    "th": "\u0e00-\u0e7f",
    "ar": "\u0600-\u06ff",
    "hi": "\u0900-\u097f",
    "hy": "\u0530-\u058f",
    "el": "\u0370-\u03ff",
    "ru": "\u0400-\u04ff",
}


def cut(text: str, language: str | None = None) -> list[Offsets]:
    """Returns the pieces of a text: sentences of prose, list items and turns; headings; table rows; blocks of code.

    Args:
        text: Any text.
        language: ISO 639-1 code; by default it is guessed from the script.

    Raises:
        InvalidInput: The language is no such code.
    """
    language = _code(language) or language_of(text)
    max_chars = _MAX_CHARS_OF.get(language, MAX_CHARS)
    pieces: list[Offsets] = []
    for block in _blocks(text):
        for start, end in _cut_block(text, block, language):
            pieces.extend(_split_long(text, start, end, max_chars))
    return pieces


def fine_cut(text: str) -> list[Offsets]:
    """Returns the parts, at clauses, words or anywhere, of a text longer than a sentence should be; or all of it."""
    return list(_split_long(text, 0, len(text), _FINE)) if len(text) > _SUSPICIOUS else [(0, len(text))]


def sentences(text: str, language: str | None = None) -> list[Offsets]:
    """Returns the sentences of prose (see `cut` for text with structure)."""
    return list(_sentences_within(text, 0, len(text), _code(language) or language_of(text)))


def _code(language: str | None) -> str | None:
    """Returns the code alone of a language that may be named with its country, such as `zh-CN`; others are refused."""
    code = re.split("[-_]", str(language or ""))[0].lower()
    if code and not re.fullmatch("[a-z]{2,3}", code):
        raise InvalidInput(f"A language is an ISO 639-1 code such as 'de', not {language!r:.80}")
    return code or None


def language_of(text: str) -> str:
    """Returns a guess of the ISO 639-1 code from the script of the first 2,000 characters; `en` for Latin script."""
    sample = text[:2000]
    if sample.isascii():
        return "en"
    letters = max(1, sum(map(str.isalpha, sample)))
    for language, pattern in _script_patterns().items():
        if len(pattern.findall(sample)) > letters / 5:
            return language
    return "en"


def split_document(document: Document, max_words: int = 200) -> list[Document]:
    """Returns passages of at most about `max_words` words, cut between pieces, for a retriever to index.

    A passage's id is the document's id with `#` and its position; its metadata add `passage_of`: the `id` of the
    document, `start` and `end` of the passage in it. A document that is short enough is returned as it is.
    """
    check_count("max_words", max_words, least=1)
    if count_words(document.text) <= max_words:
        return [document]
    ranges = _group(document.text, cut(document.text), max_words)
    return [_passage(document, i, start, end) for i, (start, end) in enumerate(ranges)]


# ---- blocks: what kind of text a line belongs to ---------------------------------------------------------------------

_Kind = Literal["prose", "heading", "row", "code"]


class _Block(NamedTuple):
    kind: _Kind
    start: int
    end: int


_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|\Z)")
# A fence before a blank line closes code that began before this text: passages are often cut within it.
_FENCE = re.compile(r"[ \t]{0,3}(`{3,}+(?![^`\r\n]*`)|~~~(?!~))(?=[ \t]*+(?:\r\n?|\n)?[ \t]*+\S)")
_DOCTEST = re.compile(r"\s*>>> ")
_HEADING = re.compile(r"#{1,6}\s+\S")
_UNDERLINE = re.compile(r"\s*([=\-~^\"*+#])\1{2,}\s*\Z")
_ROW = re.compile(r"\s*\|.*\||.*\S\s\|\s|(?:[^\t]+\t){2}")
_RULE_ROW = re.compile(r"[\s|:+=-]*\Z")
_BULLET = re.compile(r"\s*[-*+•‣◦–]\s+\S")
_NUMBER = re.compile(r"\s*(?:\d{1,3}[.)]|[(\[]\w{1,8}[)\]]|[a-z]\))\s+\S")
_TIME = r"(?:[\[(]?\d{1,2}:\d{2}(?::\d{2})?[\])]?\s*)"
_NAME = r"(?:<[^<>\n]{1,30}>|(?:\*\*)?[^\W\d_][\w.'’ -]{0,30}(?:\([^()\n]{1,20}\))?\s?(?::(?:\*\*)?\s|：))"
_TURN = re.compile(rf"{_TIME}?{_NAME}")
_CLOSED = re.compile(r"[.!?:…。！？：؟।][\"'”’»)\]*_]*\s*\Z")


def _blocks(text: str) -> Iterator[_Block]:
    """Yields the blocks of a text in order; blank lines lie between them."""
    if separator(text):
        yield _Block("row", 0, len(text))
        return
    kind: _Kind | None = None
    start = end = 0
    fence, closed = "", True
    for match in _LINE.finditer(text):
        line = match.group()
        opening = None if fence else _FENCE.match(text, match.start())
        new_kind, starts_new = ("code", False) if fence else _classify(line, kind, closed=closed, fenced=bool(opening))
        if starts_new:
            if kind:
                yield _Block(kind, start, end)
            start = match.start()
            fence = opening[1] if opening else ""
        # A wrapped line may begin like an item or a turn; it is one only after a finished line or another one.
        closed = bool(_CLOSED.search(line[-8:]) or (starts_new and (_NUMBER.match(line) or _TURN.match(line))))
        kind, end = new_kind, match.end()
        if fence and not starts_new and line.strip().startswith(fence):
            yield _Block("code", start, end)
            kind, fence = None, ""
    if kind:
        yield _Block(kind, start, end)


def separator(text: str) -> str:
    """Returns what separates the cells of a text that is a table as CSV files are; empty: it is none.

    Its first lines have the same number of tabs, commas or semicolons each, outside of quoted cells.
    """
    lines = [line for line in text[:4000].split("\n")[:10] if line.strip()]
    if len(lines) < 3:
        return ""
    lines = [_QUOTED.sub('""', line) for line in (lines[:-1] if len(text) > 4000 else lines)]
    lines = dedent("\n".join(lines)).split("\n")  # a tab before each paragraph separates nothing
    for mark, n in _SEPARATORS:
        if len({line.count(mark) for line in lines}) == 1 and lines[0].count(mark) >= n and not _is_prose(lines, mark):
            return mark
    return ""


def _is_prose(lines: Sequence[str], mark: str) -> bool:
    """Returns whether lines with as many commas each are prose: space follows most commas, and a sentence ends."""
    text = "\n".join(lines) + "\n"
    spaced = len(re.findall(rf"{mark}\s", text))
    return mark != "\t" and 2 * spaced > text.count(mark) and bool(_ENDED.search(text))


_SEPARATORS = (("\t", 1), (",", 2), (";", 2))
_QUOTED = re.compile(r'(?<![^\t,;])"[^"]*"(?=[\t,;\r]|\Z)')
"""A quoted cell: a quotation within prose begins after a space."""
_ENDED = re.compile(r"[^\W\d_]{2}[.!?][\"'”’)\]]*\s")


def _classify(line: str, open_kind: _Kind | None, *, closed: bool, fenced: bool) -> tuple[_Kind | None, bool]:
    """Returns the kind of a line (`None`: blank) and whether it starts a new block.

    Args:
        line: The line.
        open_kind: The kind of the open block, if any.
        closed: Whether the line before was finished, so that this one may be an item or a turn.
        fenced: Whether the line opens a fenced block of code.
    """
    if not line.strip():
        return None, True
    if open_kind == "prose" and _UNDERLINE.match(line):
        return "heading", False
    if fenced:
        return "code", True
    if open_kind == "code":
        return "code", False
    if _ROW.match(line) or (open_kind == "row" and _RULE_ROW.match(line)):
        return "row", open_kind != "row"
    if _DOCTEST.match(line) or _HEADING.match(line):
        return "code" if _DOCTEST.match(line) else "heading", True
    if open_kind != "prose" or _BULLET.match(line):
        return "prose", True
    return "prose", closed and bool(_NUMBER.match(line) or _TURN.match(line))


def _cut_block(text: str, block: _Block, language: str) -> Iterator[Offsets]:
    if block.kind == "prose":
        yield from _sentences_within(text, block.start, block.end, language)
    elif block.kind == "row":
        yield from _rows(text, block)
    elif block.kind == "code":
        yield from _line_groups(text, block)
    else:
        yield from _visible(text, block.start, block.end)


def _rows(text: str, block: _Block) -> Iterator[Offsets]:
    """Yields the rows of a table; a ruling such as `|---|---|` belongs to the row above it."""
    open_row: Offsets | None = None
    for match in _LINE.finditer(text, block.start, block.end):
        start, end = match.span()
        if open_row and _RULE_ROW.match(match.group()):
            open_row = (open_row[0], end)
            continue
        if open_row:
            yield from _visible(text, *open_row)
        open_row = (start, end)
    if open_row:
        yield from _visible(text, *open_row)


def _line_groups(text: str, block: _Block) -> Iterator[Offsets]:
    """Yields a block of code whole, or groups of whole lines when it is longer than `MAX_CHARS`."""
    start = block.start
    for match in _LINE.finditer(text, block.start, block.end):
        if match.end() - start > MAX_CHARS and match.start() > start:
            yield from _visible(text, start, match.start())
            start = match.start()
    yield from _visible(text, start, block.end)


# ---- sentences -------------------------------------------------------------------------------------------------------

_WORD_CHARACTER = re.compile(r"[^\W_]")
_ENUMERATOR = re.compile(r"\s*(?:\d{1,3}[.)]|[(\[]\w{1,8}[)\]]|[a-z]\))\s+(?=\S)")
_CLOSERS = re.compile(r"(?:[*_`)\]}»”’]+|</\w+>)(?:\s+|\Z)")
_SENTENCE_END = re.compile(r"(?<=[.!?…؟।۔])[\"'”’)\]]*\s+|(?<=[。！？])[」』”’）]*")
_CJK_END = re.compile(r"[。！？][」』”’）]*")
_SUSPICIOUS = 300
"""A longer sentence is cut once more by its punctuation: sentencex never cuts within quotes or brackets."""
_MOST_AT_ONCE = 20_000


class _SafeForSentencex(dict[int, int]):
    """Maps, one to one, what sentencex cannot take: it panics on some non-ASCII white space and refuses surrogates."""

    def __missing__(self, code: int) -> int:
        safe = code
        if 0xD800 <= code <= 0xDFFF:
            safe = 0xFFFD
        elif code > 127 and chr(code).isspace():
            safe = ord("\n" if code in (0x85, 0x2028, 0x2029) else " ")
        self[code] = safe
        return safe


_SAFE = _SafeForSentencex()


def _sentences_within(text: str, start: int, end: int, language: str) -> Iterator[Offsets]:
    """Yields the sentences of `text[start:end]`.

    What holds no letter or digit, and signs that close what was opened, are joined to the sentence before.
    """
    enumerator = _ENUMERATOR.match(text, start, end)
    body = enumerator.end() if enumerator else start
    sentence: Offsets | None = None
    for first, last in _boundaries(text[body:end], language):
        for piece in _visible(text, start if first == 0 else body + first, body + last):
            if sentence is None:
                sentence = piece
                continue
            middle = _end_of_closers(text, piece)
            if middle < piece[1]:
                yield from _visible(text, sentence[0], max(sentence[1], middle))
                sentence = (middle, piece[1])
            else:
                sentence = (sentence[0], piece[1])
    if sentence:
        yield from _visible(text, *sentence)


def _end_of_closers(text: str, piece: Offsets) -> int:
    """Returns where the part of a piece ends that belongs to the sentence before: its start if there is none."""
    if not _WORD_CHARACTER.search(text, *piece):
        return piece[1]
    closers = _CLOSERS.match(text, *piece)
    return closers.end() if closers else piece[0]


def _boundaries(text: str, language: str) -> Iterator[Offsets]:
    """Yields sentences that together are the text, as `(start, end)`."""
    safe = text if text.isascii() else text.translate(_SAFE)
    # sentencex takes quadratic time over Chinese and Japanese, and misses the end before a digit.
    ends = [match.end() for match in _CJK_END.finditer(safe)] if language in ("zh", "ja") else list(_early_ends(safe))
    for start, end in zip([0, *ends], [*ends, len(safe)], strict=True):
        for first, last in _sentencex(safe[start:end], language):
            long = last - first > _SUSPICIOUS
            pieces = _boundaries_by_punctuation(safe[start + first : start + last]) if long else [(0, last - first)]
            for piece_start, piece_end in pieces:
                yield start + first + piece_start, start + first + piece_end


def _early_ends(text: str) -> Iterator[int]:
    """Yields the end of a sentence in each so many characters: a quotation that never closes takes quadratic time."""
    start = 0
    while len(text) - start > _MOST_AT_ONCE:
        found = (match.end() for match in _SENTENCE_END.finditer(text, start, start + _MOST_AT_ONCE))
        ends = [end for end in found if end > start]  # after a full stop of Chinese, an end is found where one begins
        start = ends[-1] if ends else start + _MOST_AT_ONCE
        yield start


def _sentencex(text: str, language: str) -> list[Offsets]:
    try:
        found = sentencex.get_sentence_boundaries(language, text)
    except BaseException as error:  # a Rust panic derives from BaseException alone
        if type(error).__name__ != "PanicException":
            raise
        return _boundaries_by_punctuation(text)
    return [(boundary["start_index"], boundary["end_index"]) for boundary in found]


def _boundaries_by_punctuation(text: str) -> list[Offsets]:
    ends = [*(match.end() for match in _SENTENCE_END.finditer(text)), len(text)]
    return list(zip([0, *ends], ends, strict=False))


# ---- pieces ----------------------------------------------------------------------------------------------------------

_BREAKS = (
    re.compile(r"[.!?…。！？؟।][\"'”’)\]]*\s+"),
    re.compile(r"[;:!?。！？؟।…]\s*"),
    re.compile(r"[,，、،]\s*"),
    re.compile(r"\s+"),
)
_JOINERS = "\u200d\ufe0e\ufe0f\u0e33\u0eb3\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"


def _split_long(text: str, start: int, end: int, max_chars: int) -> Iterator[Offsets]:
    """Yields pieces of at most `max_chars`, cut at the strongest break in the second half of each, or anywhere."""
    while end - start > max_chars:
        middle = _break(text, start + max_chars // 2, start + max_chars)
        yield from _visible(text, start, middle)
        start = middle
    yield from _visible(text, start, end)


def _break(text: str, first: int, last: int) -> int:
    for pattern in _BREAKS:
        ends = [match.end() for match in pattern.finditer(text, first, last)]
        if ends:
            return ends[-1]
    cut_at = last
    while cut_at > first and _joined(text[cut_at - 1], text[cut_at]):
        cut_at -= 1
    return cut_at if cut_at > first else last


def _joined(before: str, after: str) -> bool:
    """Returns whether two characters belong to one that a person sees (accents, vowel signs, emoji)."""
    return unicodedata.category(after).startswith("M") or after in _JOINERS or before == "\u200d"


def _visible(text: str, start: int, end: int) -> Iterator[Offsets]:
    """Yields `[start, end)` without the white space around it, or nothing when that is all there is."""
    piece = text[start:end]
    stripped = piece.lstrip()
    if stripped:
        start += len(piece) - len(stripped)
        yield start, start + len(stripped.rstrip())


@cache
def _script_patterns() -> dict[str, re.Pattern[str]]:
    return {language: re.compile(f"[{characters}]") for language, characters in _SCRIPTS.items()}


def _group(text: str, pieces: Sequence[Offsets], max_words: int) -> Iterator[Offsets]:
    """Yields ranges of neighbouring pieces with at most `max_words` words each (more only where one piece has more)."""
    start, words = pieces[0][0], 0
    for (first, last), previous in zip(pieces, (pieces[0], *pieces), strict=False):
        count = count_words(text[first:last])
        if words and words + count > max_words:
            yield start, previous[1]
            start, words = first, 0
        words += count
    yield start, pieces[-1][1]


def _passage(document: Document, position: int, start: int, end: int) -> Document:
    metadata = {**document.metadata, "passage_of": {"id": document.id, "start": start, "end": end}}
    return replace(
        document, id=f"{document.id}#{position}", text=document.text[start:end], metadata=metadata, embedding=None
    )
