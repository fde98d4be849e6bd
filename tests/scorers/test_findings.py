"""The findings of a report, for questions about an effect."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_compress.models.protocols import Passage
from rag_compress.scorers.findings import pointed_findings
from rag_compress.text import cut

EFFECT = "Compared with tea, what is the effect of coffee on sleep?"


def pointed(text: str, title: str = "", query: str = EFFECT) -> list[float]:
    """Returns what each sentence of a text gets."""
    return pointed_findings(query, [Passage(title, text, cut(text))])[0].tolist()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (EFFECT, 1),
        ("Is coffee associated with poor sleep?", 1),
        ("Coffee at night: does it matter?", 1),
        ("Which drink reduces sleep?", 1),
        ("How many people drank coffee?", 0),
        ("Where was the study done?", 0),
        ("", 0),
    ],
)
def test_questions_about_effects(query: str, expected: float) -> None:
    """A question about an effect, or one for yes or no, is about the findings."""
    assert pointed("They slept for an hour less.", "RESULTS", query) == [expected]


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Results", 1),
        ("3. Results and discussion", 1),
        ("Methods and findings", 1),
        ("Coffee and sleep - Main results", 1),
        ("BODY.RESULTS", 1),
        ("Coffee and sleep: Methods", 0),
        ("Election results of 1998", 0),
        ("Results: how we measured", 0),
        ("", 0),
    ],
)
def test_titles(title: str, expected: float) -> None:
    """The title names the section, alone or as its last part; a title that only has the word does not."""
    assert pointed("They slept less.", title) == [expected]


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("They slept less (P = 0.03).", 0.5),
        ("They slept for 1 hour less (95% CI 0.5 to 1.5).", 0.5),
        ("There was no significant difference.", 0.5),
        ("They slept significantly less.", 0.5),
        ("This is a significant paper, and the p of coffee is small.", 0),
        ("They slept less.", 0),
    ],
)
def test_significance(sentence: str, expected: float) -> None:
    """A sentence that states significance is an effect, anywhere; a question for yes or no may want something else."""
    assert pointed(sentence) == [expected]
    assert pointed(sentence, "Results") == [1 + expected]
    assert pointed(sentence, query="Is coffee harmful?") == [0]


def test_labels_within_a_text() -> None:
    """An abstract in one passage names its sections; a label holds until the next one."""
    text = (
        "BACKGROUND: Coffee is common. METHODS: Ten people drank some. RESULTS: They slept less. Nobody complained. "
        "CONCLUSIONS: Drink tea."
    )
    assert pointed(text) == [0, 0, 1, 1, 0]


def test_headings_within_a_text() -> None:
    """Headings are labels, too, and what stands below one within the section belongs to it."""
    text = (
        "# Methods\n\nTen people.\n\n## 2. Results\n\nThey slept less.\n\n### Women\n\nNo less.\n\n# Discussion\n\nTea."
    )
    found = pointed(text)
    inside = [text[start:end] for (start, end), value in zip(cut(text), found, strict=True) if value]
    assert [piece.strip("# 2.") for piece in inside] == ["Results", "They slept less", "Women", "No less"]


def test_prose_that_begins_like_a_label() -> None:
    """A sentence about results is no heading."""
    assert pointed("Results were mixed. Findings differ from others. Methods of all kinds were tried.") == [0, 0, 0]


@given(st.text("Results: and\n.#-1*_"), st.text("is effect:-. "))
def test_any_text_has_an_answer(text: str, query: str) -> None:
    """Each sentence has a number, whatever it looks like."""
    assert set(pointed(text, text, query)) <= {0.0, 0.5, 1.0, 1.5}
