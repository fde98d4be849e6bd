"""Windows: what the model reads, and how its outputs become sentence logits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import texts
from tiny_classifier import write_encoder

from rag_compress.errors import InvalidInput
from rag_compress.models.classifier.windows import WindowCutter, load_tokenizer, pool
from rag_compress.models.protocols import Passage
from rag_compress.text import cut


@pytest.fixture(scope="module")
def cutter(tmp_path_factory: pytest.TempPathFactory) -> WindowCutter:
    """Windows of 256 characters and words."""
    folder: Path = write_encoder(tmp_path_factory.mktemp("encoder"))
    return WindowCutter(load_tokenizer(folder / "tokenizer.json"), max_tokens=256, overlap=64)


def test_a_short_passage_is_one_window(cutter: WindowCutter) -> None:
    """Query, title and passage stand in one window, between the tokenizer's own special tokens."""
    (reading,) = cutter.read("which river?", [Passage("France", "The Loire.", [(0, 10)])])
    (window,) = reading.windows
    text = cutter.tokenizer.decode(window.ids, skip_special_tokens=False)
    assert text == "[CLS] which river? [SEP] france : the loire. [SEP]"
    assert window.types == [0] * 5 + [1] * 6
    assert cutter.tokenizer.decode(window.ids[window.begin : window.begin + window.size]) == "the loire."


@given(query=st.text(max_size=20), text=texts, title=st.sampled_from(["", "France"]))
def test_every_token_is_in_one_window(cutter: WindowCutter, query: str, text: str, title: str) -> None:
    """Whatever the text, its windows answer for each of its tokens once, in order, and none is too long."""
    text = text * 3
    (reading,) = cutter.read(query, [Passage(title, text, [(0, len(text))])])
    answered = [i for window in reading.windows for i in range(window.first, window.first + window.size)]
    assert answered == list(range(reading.size))
    assert all(len(window.ids) <= 256 and len(window.ids) == len(window.types) for window in reading.windows)
    assert all(window.begin + window.size < len(window.ids) for window in reading.windows)


def test_the_tokens_answered_for_are_the_passages(cutter: WindowCutter) -> None:
    """The tokens that the windows of a long passage answer for are those of the passage tokenized whole."""
    text = " ".join(f"the river {i} is in france." for i in range(200))
    (reading,) = cutter.read("which?", [Passage("t", text, cut(text))])
    answered = [token for w in reading.windows for token in w.ids[w.begin : w.begin + w.size]]
    assert len(reading.windows) > 5
    assert answered == cutter.tokenizer.encode(text, add_special_tokens=False).ids


def test_later_windows_repeat_the_first_sentence(cutter: WindowCutter) -> None:
    """The header of a long table stands in each of its windows."""
    text = "\n".join(["river | length", *(f"loire {i} | {i}" for i in range(100))])
    (reading,) = cutter.read("which?", [Passage("", text, cut(text))])
    assert all("river |" in cutter.tokenizer.decode(window.ids) for window in reading.windows)


@pytest.mark.parametrize(("lead", "repeated"), [(2, 2), (64, 64), (65, 0)])
def test_where_windows_begin(cutter: WindowCutter, lead: int, repeated: int) -> None:
    """Neighbours share 64 tokens, of which each answers for half; a first sentence that is too long stands once."""
    (reading,) = cutter.read("which?", [Passage("", "a " * 440, [(0, 2 * lead), (2 * lead, 880)])])
    ends = [251, 251 + 251 - repeated - 64]
    head, kept = 4 + repeated, [end - 32 for end in ends]
    assert [(w.begin, w.first, w.size) for w in reading.windows] == [
        (4, 0, kept[0]),
        (head + 32, kept[0], kept[1] - kept[0]),
        (head + 32, kept[1], 440 - kept[1]),
    ]


def test_passages_are_read_apart(cutter: WindowCutter) -> None:
    """Several passages are read as each alone is."""
    passages = [Passage("France", "The Loire.", [(0, 10)]), Passage("", "river " * 9, [(0, 6)]), Passage("t", "", [])]
    assert cutter.read("which?", passages) == [cutter.read("which?", [passage])[0] for passage in passages]


def test_windows_without_sentences_are_left_out(cutter: WindowCutter) -> None:
    """Of a long passage, only the windows with a sentence to score are read."""
    text = "river " * 2000
    (reading,) = cutter.read("which?", [Passage("", text, [(6000, 6011)])])
    assert len(reading.windows) == 1
    for sentence, first in (((0, 6 * 219), 0), ((6 * 219, 6 * 220), 219)):
        (reading,) = cutter.read("which?", [Passage("", text, [sentence])])
        assert [window.first for window in reading.windows] == [first]
    (empty,) = cutter.read("which?", [Passage("", text, [])])
    assert empty.windows == []


def test_a_long_query_or_title_is_cut_with_a_warning(cutter: WindowCutter) -> None:
    """A query, or a title, that would leave no room for the passage is cut, and says so."""
    with (
        pytest.warns(UserWarning, match="A query has 300 tokens; only the first 124 are read"),
        pytest.warns(UserWarning, match="A title has 301 tokens; only the first 1 are read"),
    ):
        (reading,) = cutter.read("river " * 300, [Passage("t " * 300, "the loire.", [(0, 10)])])
    assert [len(window.ids) <= 256 for window in reading.windows] == [True]


def test_windows_must_leave_room(cutter: WindowCutter) -> None:
    """Windows too small for a query and a passage are refused."""
    for max_tokens, overlap in ((255, 64), (256, 65), (256, -1)):
        with pytest.raises(InvalidInput, match="max_tokens >= 256"):
            WindowCutter(cutter.tokenizer, max_tokens, overlap)


def test_pool_by_hand() -> None:
    """A sentence's logit is the weighted mean of its tokens' values, however large; one without tokens has none."""
    outputs = np.array([[1, 900], [3, 900], [5, np.log(3)], [1, 0]], dtype=np.float32)
    logits = pool(outputs, [(0, 2), (2, 4), (4, 4)])
    np.testing.assert_allclose(logits, [2, (3 * 5 + 1) / 4, np.nan], rtol=1e-6)
