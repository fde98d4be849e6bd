"""Cutting: what is a piece, in many kinds of text, with exact offsets."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from strategies import texts

from rag_compress import Document, text
from rag_compress.errors import InvalidInput
from rag_compress.text import cut, language_of, sentences, split_document


def pieces(value: str) -> list[str]:
    """Returns the texts of the pieces."""
    return [value[start:end] for start, end in cut(value)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Dr. Smith met Mr. Jones. They ate 3.50 apples.", ["Dr. Smith met Mr. Jones.", "They ate 3.50 apples."]),
        ("See http://x.y/z?a=b. Then go, e.g. home.", ["See http://x.y/z?a=b.", "Then go, e.g. home."]),
        ("A wrapped\nline. Next one.", ["A wrapped\nline.", "Next one."]),
        ('He said "Stop." Then he left (really).', ['He said "Stop."', "Then he left (really)."]),
        ("One paragraph\n\nanother one", ["One paragraph", "another one"]),
        ("# Title\nText follows. More.", ["# Title", "Text follows.", "More."]),
        ("Text without end\n# Title\n## Subtitle", ["Text without end", "# Title", "## Subtitle"]),
        ("Text without end\n>>> 1 + 1\n2", ["Text without end", ">>> 1 + 1\n2"]),
        ("Title\n=====\nText.", ["Title\n=====", "Text."]),
        ("- one\n- two. And more.\n* three", ["- one", "- two.", "And more.", "* three"]),
        ("1. first\n2) second", ["1. first", "2) second"]),
        ("| a | b |\n|---|---|\n| 1 | 2 |", ["| a | b |\n|---|---|", "| 1 | 2 |"]),
        ("Year | Team\n2001 | Rovers", ["Year | Team", "2001 | Rovers"]),
        ("```\nx = 1. Y\n\ny = 2\n```\nAfter.", ["```\nx = 1. Y\n\ny = 2\n```", "After."]),
        (">>> 1 + 1\n2\n\nText.", [">>> 1 + 1\n2", "Text."]),
        ("Alice: hi. How are you?\nBob: fine", ["Alice: hi.", "How are you?", "Bob: fine"]),
        ("これは文です。次の文です！はい。", ["これは文です。", "次の文です！", "はい。"]),
        ("هل هذا صحيح؟ نعم، هذا صحيح.", ["هل هذا صحيح؟", "نعم، هذا صحيح."]),
        ("यह एक वाक्य है। यह दूसरा है।", ["यह एक वाक्य है।", "यह दूसरा है।"]),
        ("Well... \"Really?\" ) !\n***", ['Well... "Really?" ) !\n***']),
        ("Title\n~~~~~~~\n\nOne. Two.", ["Title\n~~~~~~~", "One.", "Two."]),
        ("~~~\ncode. X\n\nmore\n~~~\nafter", ["~~~\ncode. X\n\nmore\n~~~", "after"]),
        ("x = 1\n```\n\nOne. Two.\n\n```\ny. X\n```", ["x = 1\n```", "One.", "Two.", "```\ny. X\n```"]),
        ("```\r\n\r\nOne. Two.", ["```", "One.", "Two."]),
        ("```pip install x```\nOne. Two.\n```", ["```pip install x```\nOne.", "Two.\n```"]),
        ("````md\n```py\nx. Y\n```\n````\nOne. Two.", ["````md\n```py\nx. Y\n```\n````", "One.", "Two."]),
        ("(c) Notice is given. And more.", ["(c) Notice is given.", "And more."]),
        ("[1] Smith, 2017.\n[2] Jones, 2018.", ["[1] Smith, 2017.", "[2] Jones, 2018."]),
        ("It is in\nParis: so. See page\n12. It is.", ["It is in\nParis: so.", "See page\n12.", "It is."]),
        ("[10:32] Ann: hi\n10:33 Bob: yes\n<cat> ok", ["[10:32] Ann: hi", "10:33 Bob: yes", "<cat> ok"]),
        ("**Ann:** hi\n**Bob:** yes", ["**Ann:** hi", "**Bob:** yes"]),
        ("记者：你好\n王：好", ["记者：你好", "王：好"]),
        ("It was **bold. ** Next.</p> Then.", ["It was **bold. **", "Next.</p>", "Then."]),
        ('a,b,c\n1,"x. y",3\n4,5,6\n', ["a,b,c", '1,"x. y",3', "4,5,6"]),
        ("k\tv\na\tb. C\nc\td", ["k\tv", "a\tb. C", "c\td"]),
        ("\tOne. Two.\n\tThree. Four.\n\tFive.", ["One.", "Two.", "Three.", "Four.", "Five."]),
        ("\tk\tv\na\tb. C\td\ne\tf\tg", ["k\tv", "a\tb. C\td", "e\tf\tg"]),
        ("据报道增长。1991年开始。2009年结束。", ["据报道增长。", "1991年开始。", "2009年结束。"]),
        ("", []),
        (" \n\t\u3000\n", []),
        ("...", ["..."]),
    ],
)  # fmt: skip
def test_pieces(value: str, expected: list[str]) -> None:
    """Sentences, headings, items, rows, code and turns are cut where a reader would cut them."""
    assert pieces(value) == expected


@given(texts)
def test_nothing_is_lost(value: str) -> None:
    """Pieces are in order, do not overlap, are trimmed, and leave out nothing but white space."""
    for offsets in (cut(value), sentences(value)):
        ends = [0, *(end for _, end in offsets)]
        starts = [*(start for start, _ in offsets), len(value)]
        assert all(not value[end:start].strip() for end, start in zip(ends, starts, strict=True))
        assert all(start < end and value[start:end] == value[start:end].strip() for start, end in offsets)


def test_long_speech_is_cut() -> None:
    """Within quotes and brackets, which the splitter takes as one sentence, long text is cut at its full stops."""
    speech = '"' + "I saw the old man walk down to the river today. " * 12 + '"'
    assert len(pieces(speech)) == 12


@pytest.mark.parametrize("character", ["a", "漢", "ส", "สิ", "ทำ", "ကို", "👩‍👩‍👧‍👦", "👍🏽", "e\u0301", "a, ", "word "])
def test_long_pieces_are_split(character: str) -> None:
    """No piece is longer than the limit, and no visible character is cut in two."""
    found = pieces(character * 3000)
    assert max(map(len, found)) <= text.MAX_CHARS
    assert all(piece.startswith(character.strip()[:2]) for piece in found)


def test_thai_is_cut_at_spaces() -> None:
    """Thai, which marks no sentence ends, is cut at its spaces into pieces of at most 100 characters."""
    clause = "สวัสดีครับผมชื่อสมชายผมเป็นคนไทย"
    found = pieces(" ".join([clause] * 20))
    assert max(map(len, found)) <= 100
    assert all(set(piece.split()) == {clause} for piece in found)


def test_the_splitter_that_panics(monkeypatch: pytest.MonkeyPatch) -> None:
    """When sentencex panics, punctuation decides; other interruptions pass through."""

    class PanicException(BaseException):
        """What a Rust panic looks like."""

    def fails(error: BaseException):
        def call(*_):
            raise error

        return call

    monkeypatch.setattr(text.sentencex, "get_sentence_boundaries", fails(PanicException()))
    assert pieces("One is here. Two is there! 三つ。四つ。") == ["One is here.", "Two is there!", "三つ。", "四つ。"]
    monkeypatch.setattr(text.sentencex, "get_sentence_boundaries", fails(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        pieces("One.")


@pytest.mark.parametrize("value", ["Vitamin D\u3000. Next", "J\u2028.", "Plan B\u2003. Next", "\ud800. A \udfff"])
def test_what_makes_sentencex_panic(value: str) -> None:
    """White space and surrogates that sentencex cannot take are cut like any others."""
    assert "".join("".join(pieces(value)).split()) == "".join(value.split())


@pytest.mark.parametrize(
    ("value", "language"),
    [
        ("Hello", "en"),
        ("Où", "en"),
        ("これは漢字", "ja"),
        ("汉字", "zh"),
        ("Привет", "ru"),
        ("สวัสดี", "th"),
        ("", "en"),
        ("한국어", "ko"),
    ],
)
def test_language(value: str, language: str) -> None:
    """The script tells the language, as far as it can."""
    assert language_of(value) == language


def test_a_language_by_its_locale() -> None:
    """A language may be named with its country; what is no code at all is an error, not English."""
    value = "Am 3. Oktober 1990 war es so. Danach nicht."
    assert len(cut(value, "de")) == len(cut(value, "de-DE")) == len(sentences(value, "DE_at")) == 2
    for wrong in ("german", 3):
        with pytest.raises(InvalidInput, match=f"not {wrong!r}"):
            cut(value, wrong)  # type: ignore[arg-type]


def test_split_document() -> None:
    """Passages cover the document, know their place in it, and are cut between sentences."""
    value = " ".join(f"This is sentence number {i}." for i in range(100))
    document = Document("d", value, title="T", metadata={"a": 1})
    passages = split_document(document, max_words=50)
    assert [p.id for p in passages] == [f"d#{i}" for i in range(10)]
    for passage in passages:
        place = passage.metadata["passage_of"]
        assert passage.text == value[place["start"] : place["end"]]
        assert passage.text.endswith(".")
        assert (passage.title, place["id"], passage.metadata["a"]) == ("T", "d", 1)
    ends = [(p.metadata["passage_of"]["start"], p.metadata["passage_of"]["end"]) for p in passages]
    assert all(end + 1 == start for (_, end), (start, _) in pairwise(ends))
    assert " ".join(p.text for p in split_document(document, max_words=1)) == value


def test_split_document_in_chinese() -> None:
    """Where no spaces stand between words, two characters count as one."""
    passages = split_document(Document("d", "巴黎是法国的首都。" * 100), max_words=90)
    assert max(len(p.text) for p in passages) <= 180
    assert len(passages) > 4


def test_a_short_document_stays_whole() -> None:
    """A document within the limit is returned as it is; a limit below 1 is an error."""
    document = Document("d", "short")
    assert split_document(document) == [document]
    with pytest.raises(InvalidInput, match="max_words"):
        split_document(document, 0)


def test_no_quadratic_time() -> None:
    """A million characters of anything are cut in one pass (this would take hours if not)."""
    for value in (
        "a" * 1_000_000,
        "| " * 500_000,
        "\n" * 1_000_000,
        "x\ty" * 300_000,
        "- \n" * 300_000,
        "A: " * 300_000,
        "`" * 600_000,
        "``` \n" * 100_000,
        "```" + " " * 1_000_000 + "\n\nprose",
        "\u201cHe said. " * 100_000,
        "Read this\u3002 " + "some words without any end " * 3000,
        "x" * 19_999 + "\u3002" + "y" * 30_000,
    ):
        assert sum(end - start for start, end in cut(value)) <= len(value)


WRAPPED = """The river Loire rises in the Massif Central, near Mont Gerbier, and it flows north at
first. After Orleans, a city of trade, it turns to the west. From there on it slowly goes
on to Tours, where castles stand, and meets the Atlantic. It is 1006 km long."""


def test_a_long_table() -> None:
    """Rows stay whole, and apart, in a table much longer than what is looked at to know it for one."""
    row = ",".join(["Some words. And more"] * 20)
    assert pieces("\n".join([row] * 20)) == [row] * 20


def test_long_code() -> None:
    """A block of code longer than a piece may be is cut between lines."""
    lines = [f"value_{i} = compute({i}, other=None)" for i in range(100)]
    parts = pieces("\n".join(["```", *lines, "```"]))
    assert [line for part in parts for line in part.split("\n")] == ["```", *lines, "```"]
    assert max(map(len, parts)) <= text.MAX_CHARS


def test_wrapped_prose_is_no_table() -> None:
    """Lines with as many commas each are prose where spaces follow the commas and sentences end; else they are rows."""
    pieces = [WRAPPED[start:end] for start, end in cut(WRAPPED)]
    assert [piece[-9:] for piece in pieces] == ["at\nfirst.", "the west.", "Atlantic.", "6 km long."[-9:]]
    paragraphs = "The Loire, a river, is long. It is old.\n" * 3
    assert len(cut(paragraphs)) == 6
    for table in ("name,age,city\nAnn,23,Berlin\nBob,31,Rome", "name, age, city\nAnn, 23, Berlin\nBob, 31, Rome"):
        assert [table[start:end] for start, end in cut(table)] == table.split("\n")
