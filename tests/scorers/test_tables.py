"""Rows that a question points at by their place in a table."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_compress.models.protocols import Passage
from rag_compress.scorers.tables import pointed_rows
from rag_compress.text import cut

MAYORS = """\
Mayor | Party | Term in years | Votes
Adams | Blue | 4 | 1,200
Baker | Red | 12 | 900
Clark | Blue | 3 | 1,050
Davis | Green | 8 | 400
"""


def pointed(query: str, text: str = MAYORS, like: int | None = None) -> list[float]:
    """Returns what each sentence of a text gets; the row `like` stands out by its words."""
    passage = Passage("", text, cut(text))
    lexical = np.full(len(passage.sentences), -0.5)
    if like is not None:
        lexical[like] = 2.0
    return pointed_rows(query, [passage], [lexical])[0].tolist()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("Which mayor had the most votes?", [0, 1, 0, 0, 0]),
        ("Who got the fewest votes?", [0, 0, 0, 0, 1]),
        ("Whose term was the longest?", [0, 0, 1, 0, 0]),
        ("Which party had the most?", [0, 0, 0, 0, 0]),  # a column without numbers
        ("Who was the largest?", [0, 0, 0, 0, 0]),  # no column is named
        ("Who was the last mayor?", [0, 0, 0, 0, 1]),
        ("Who came first?", [0, 1, 0, 0, 0]),
        ("How many votes did Clark get?", [0, 0, 0, 0, 0]),
    ],
)
def test_extremes_and_ends(query: str, expected: list[float]) -> None:
    """A superlative means the row with the extreme of the named column; first and last the ends."""
    assert pointed(query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("Who was mayor after Baker?", [0, 0, 0, 2, 0]),
        ("Who was mayor before Baker?", [0, 2, 0, 0, 0]),
        ("Who has the same party as Adams?", [0, 0, 0, 0, 0]),  # nobody has that of row 2
    ],
)
def test_neighbours(query: str, expected: list[float]) -> None:
    """The row below or above the one that stands out by its words is as likely as that one stands out."""
    assert pointed(query, like=2) == expected


def test_a_header_has_no_neighbour() -> None:
    """The names of the columns have the question's words, too, and the first row does not come after them."""
    assert pointed("Which mayor follows?", like=0) == [0, 0, 0, 0, 0]


def test_same_cell() -> None:
    """Rows that share a cell of the named column with the row that stands out; itself is found by its words."""
    assert pointed("Who has the same party as Adams?", like=1) == [0, 0, 0, 1, 0]
    assert pointed("Who has the same party as Adams?") == [0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("cells", "smallest", "largest"),
    [
        (["1:18.50", "1:09.90", "0:59.00"], 2, 0),
        (["2019-05-01", "2019-11-23", "2018-12-31"], 2, 1),
        (["$1,000", "-$20", "$3.50"], 1, 0),
        (["(8.7)", "9", "0"], 0, 1),
        (["12 (of 40)", "3 (of 50)", "?"], 1, 0),
    ],
)
def test_what_cells_are_ordered_by(cells: list[str], smallest: int, largest: int) -> None:
    """Times, dates, thousands and losses are in order; a cell without a number is neither end."""
    text = "".join(f"{name} | {cell}\n" for name, cell in zip(["Name", *"abc"], ["Value", *cells], strict=True))
    assert pointed("the highest value?", text).index(1) == 1 + largest
    assert pointed("the lowest value?", text).index(1) == 1 + smallest


@pytest.mark.parametrize("mark", ["\t", ",", ";"])
def test_separated_values(mark: str) -> None:
    """Files of separated values are tables, too; a quoted cell may hold the separator."""
    rows = [("City", "Land", "People"), ("Ulm", '"Bad, W; B"', "120"), ("Bonn", "NRW", "330"), ("Jena", "T", "110")]
    assert pointed("most people?", "\n".join(mark.join(row) for row in rows)) == [0, 0, 1, 0]


def test_other_tables_and_prose_beside() -> None:
    """Each table of a text has ends of its own; prose with bars, or of fewer than three rows, is none."""
    text = f"We saw the last of it.\n\n{MAYORS}\nThe last word.\n\nA | B\n1 | 2\n\nMore.\n\n{MAYORS}"
    found = pointed("the last?", text)
    assert [i for i, value in enumerate(found) if value] == [5, len(found) - 1]
    assert not any(pointed("What was the last?", "It ended. It was the last of them. Nobody saw it, though, at first."))


def test_markdown_tables() -> None:
    """The ruling below the header belongs to it, and bars at the ends of rows separate nothing."""
    text = "| Team | Wins |\n|------|------|\n| Reds | 7 |\n| Blues | 11 |\n| Greens | 9 |\n"
    assert pointed("Which team has the most wins?", text) == [0, 0, 1, 0]


def test_rows_of_unequal_length() -> None:
    """Rows may lack cells or have more than the header names; a column that few rows have says nothing."""
    assert pointed("most wins?", "Team | Wins\nReds | 7 | x\nBlues\t|\nGreens | 9\n") == [0, 0, 0, 1]
    assert not any(pointed("most wins?", "Team | Wins\nReds |\nBlues | none\nGreens | 9\n"))


@given(st.text("|\t,;\"'\r\n -−(1.:a"), st.sampled_from(["the most a", "same a as", "last after before a", "a"]))
def test_any_text_has_an_answer(text: str, query: str) -> None:
    """Whatever the cells look like, each sentence has a number that is not negative."""
    passage = Passage("", text, cut(text))
    (found,) = pointed_rows(query, [passage], [np.arange(len(passage.sentences), dtype=float)])
    assert found.shape == (len(passage.sentences),)
    assert (found >= 0).all()
