"""Counting tokens: every kind of tokenizer, and what none of them takes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from rag_compress.errors import InvalidInput, MissingExtra, ModelError
from rag_compress.tokens import estimate_tokens, token_counter


@pytest.fixture
def tokenizer() -> Tokenizer:
    """A tokenizer that knows a few words, adds special tokens and truncates to 3."""
    made = Tokenizer(models.WordLevel({"[UNK]": 0, "[CLS]": 1, "the": 2, "river": 3}, unk_token="[UNK]"))  # noqa: S106
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 1)])
    made.enable_truncation(3)
    return made


def test_a_callable() -> None:
    """A function of a text is used as it is."""
    assert token_counter(len)("river") == 5
    assert token_counter(lambda text: np.int64(3))("river") == 3


def test_a_tokenizer_file(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """A tokenizer.json, or its folder, counts without special tokens, truncation and padding."""
    tokenizer.enable_padding(length=50)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    for path in (tmp_path / "tokenizer.json", str(tmp_path)):
        assert token_counter(path)("the river the river the") == 5


def test_tokenizer_objects(tokenizer: Tokenizer) -> None:
    """Objects of tokenizers, transformers and tiktoken are told apart by what they can do."""

    class LikeTransformers:
        def encode(self, text: str, add_special_tokens: bool) -> list[int]:
            return [1] * add_special_tokens + [0] * len(text.split())

        def __call__(self, text: str):
            raise AssertionError("encode is what counts")

    class LikeTiktoken:
        def encode_ordinary(self, text: str) -> list[int]:
            return list(text.encode())

        encode = None

    tokenizer.enable_padding(length=50)
    assert token_counter(tokenizer)("the river the river") == 4
    assert tokenizer.truncation
    assert token_counter(LikeTransformers())("the river") == 2
    assert token_counter(LikeTiktoken())("é") == 2


def test_a_tokenizer_that_truncates_is_copied_once(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget is measured many times, and reading a large vocabulary anew each time would take minutes."""
    counts = [token_counter(tokenizer)("the river the river")]
    monkeypatch.setattr("tokenizers.Tokenizer.from_str", None)
    counts.append(token_counter(tokenizer)("the river the river"))
    tokenizer.no_truncation()
    counts.append(token_counter(tokenizer)("the river the river"))
    assert counts == [4, 4, 4]


def test_surrogates(tokenizer: Tokenizer) -> None:
    """A lone surrogate, which Rust refuses, counts as U+FFFD."""
    assert token_counter(tokenizer)("the \ud800") == 2


@pytest.mark.parametrize("count", [-1, 1.5, None, True])
def test_a_counter_that_lies(count: object) -> None:
    """A counter that returns no count is an error that shows what it returned."""
    with pytest.raises(ModelError, match=repr(count)):
        token_counter(lambda text: count)("river")


@pytest.mark.parametrize("tokenizer", [7, None, "no-such-encoding", Path("absent/tokenizer.json")])
def test_what_is_no_tokenizer(tokenizer: object) -> None:
    """Anything else is an error that says what is allowed."""
    with pytest.raises(InvalidInput, match="okenizer"):
        token_counter(tokenizer)


@pytest.mark.parametrize(
    ("package", "tokenizer", "extra"),
    [("tokenizers", "x.json", "tokenizers"), ("tiktoken", "cl100k_base", "tiktoken")],
)
def test_missing_extra(package: str, tokenizer: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package that reads it, the error holds the pip line."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf'pip install "rag-compress\[{extra}\]"'):
        token_counter(tokenizer)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("The river is long.", 5),
        ("extraordinarily", 3),
        ("In 2019 it was 1,006 km", 11),
        ("東京都", 4),
        ("\n\n", 1),
        ("\r\n\r\n", 1),
        ("\u3000\u3000", 2),
        ("10\xa0km", 3),
    ],
)
def test_estimate(text: str, tokens: int) -> None:
    """The estimate counts words, longer ones as more, numbers by three digits, and signs."""
    assert estimate_tokens(text) == tokens


@given(st.text(st.characters(), max_size=200))
def test_estimate_never_fails(text: str) -> None:
    """Every text has an estimate, at least 1 if there is anything to see, at most two for a character."""
    assert bool(text.strip()) <= estimate_tokens(text) <= 2 * len(text)
