"""Counts tokens with the caller's own tokenizer; without one, estimates them.

Only tiktoken uses the network, to fetch an encoding that it does not have yet.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from numbers import Integral
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from rag_compress.checks import is_folder
from rag_compress.errors import InvalidInput, ModelError, importing

TokenCounter = Callable[[str], int]
Tokenizer = Any
"""A counter `(str) -> int`, a path to a `tokenizer.json`, the name of a tiktoken encoding, or a tokenizer object of
tokenizers, transformers or tiktoken."""


def token_counter(tokenizer: Tokenizer) -> TokenCounter:
    """Returns a function that counts the tokens of a text, without the special tokens around it.

    Lone surrogates, which no tokenizer takes, count as U+FFFD.

    Raises:
        InvalidInput: `tokenizer` is none of what `Tokenizer` lists, or its file cannot be read.
        MissingExtra: The package that reads this kind of tokenizer is not installed.
    """
    if isinstance(tokenizer, str | PathLike):
        return _counter_by_name(fspath(tokenizer))
    if hasattr(tokenizer, "no_truncation") and (tokenizer.truncation or tokenizer.padding):  # tokenizers
        tokenizer = _untruncated(tokenizer)
    if callable(tokenizer) or hasattr(tokenizer, "encode"):
        return _Counter(tokenizer)
    raise InvalidInput(f"A tokenizer must be a callable, a path, a name or a tokenizer object, not {tokenizer!r:.80}")


def estimate_tokens(text: str) -> int:
    """Returns about as many tokens as OpenAI's `cl100k_base` makes, rather more than fewer; needs no vocabulary.

    Use it to plan; for a budget that must hold, give the tokenizer of your LLM.
    """
    runs = _RUN.findall(text)
    # most runs are short words, of one token each: only the others are looked at one by one
    others = (run for run in runs if len(run) > _SHORT or not run.isalpha() or not run.isascii())
    return len(runs) + sum(_cost(run) - 1 for run in others)


_RUN = re.compile(r"[A-Za-z]+| ?[0-9]+|[^\W\d_A-Za-z]+|\n[ \t\r\n]*|[ \t]{2,}|[^\S \t\r]|[^\w\s]|_|\d")
_COST_BELOW = ((0x250, 0.6), (0x400, 0.95), (0x530, 0.5), (0x900, 0.75), (0xA00, 0.95), (0x1100, 1.0))
_CJK_COST = 1.1
_SHORT = 7


def _cost(run: str) -> int:
    """Returns the tokens of one run of like characters, but for a short word, which is one token.

    The constants are fitted to `cl100k_base` in 13 languages.
    """
    first = run[0]
    if run.isspace():
        return 1
    if not first.isascii():
        cost = next((cost for below, cost in _COST_BELOW if ord(first) < below), _CJK_COST)
        return math.ceil(len(run) * cost)
    if first.isalpha():
        return 2 if len(run) <= 13 else math.ceil(len(run) / 5)
    digits = run.lstrip(" ")  # or one sign
    return math.ceil(len(digits) / 3) + len(run) - len(digits)


@dataclass(frozen=True)
class _Counter:
    """A `TokenCounter` of a tokenizer object or a counter; no closure, so that what holds it can be pickled."""

    tokenizer: Any

    def __call__(self, text: str) -> int:
        tokens: object = self._count(without_surrogates(text))
        if isinstance(tokens, bool) or not isinstance(tokens, Integral) or tokens < 0:
            raise ModelError(f"A token counter must return an integer of at least 0, not {tokens!r:.80}")
        return int(tokens)

    def _count(self, text: str) -> Any:
        if hasattr(self.tokenizer, "encode_ordinary"):  # tiktoken
            return len(self.tokenizer.encode_ordinary(text))
        if hasattr(self.tokenizer, "encode"):
            encoding = self.tokenizer.encode(text, add_special_tokens=False)
            return len(getattr(encoding, "ids", encoding))
        return self.tokenizer(text)


_SURROGATE = re.compile("[\ud800-\udfff]")
"""A lone surrogate: a Python string may hold one, but no encoding carries it and no tokenizer takes it."""


def without_surrogates(text: str) -> str:
    """Returns the text with U+FFFD, one for one, in place of lone surrogates."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def escaped_surrogates(json: str) -> str:
    """Returns JSON with escapes in place of lone surrogates, so that any stream or file carries it unaltered."""
    return json if json.isascii() else _SURROGATE.sub(lambda match: f"\\u{ord(match.group()):04x}", json)


@lru_cache(maxsize=8)
def _counter_by_name(name: str) -> TokenCounter:
    file = tokenizer_file(name)
    return token_counter(_tiktoken_encoding(name) if file is None else tokenizer_from_file(file))


def tokenizer_file(name: str) -> Path | None:
    """Returns the `tokenizer.json` that a name stands for: a file, or the folder of one; `None`: tiktoken knows it."""
    path = Path(name)
    if is_folder(name):
        path /= "tokenizer.json"
    is_file = path.suffix == ".json" or len(path.parts) > 1 or os.path.isfile(name)  # noqa: PTH113 - raises nothing
    return path if is_file else None


def tokenizer_from_file(path: Path, extra: str = "tokenizers", purpose: str = "Reading a tokenizer.json") -> Any:
    """Returns the `tokenizers.Tokenizer` of a `tokenizer.json`.

    Raises:
        MissingExtra: `tokenizers` is not installed; `extra` brings it, for this purpose.
        InvalidInput: The file cannot be read.
    """
    with importing("tokenizers", extra, purpose):
        from tokenizers import Tokenizer as FastTokenizer
    try:
        tokenizer = FastTokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises plain Exception for every kind of failure
        raise InvalidInput(f"Cannot read the tokenizer {path}: {error}") from error
    return tokenizer


@lru_cache(maxsize=8)  # a copy takes as long as thousands of counts
def _untruncated(tokenizer: Any) -> Any:
    """Returns a copy that neither truncates nor pads: that would count a long text as short, a short one as long."""
    tokenizer = type(tokenizer).from_str(tokenizer.to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _tiktoken_encoding(name: str) -> Any:
    with importing("tiktoken", "tiktoken", f"The tokenizer {name!r}"):
        import tiktoken
    if name not in tiktoken.list_encoding_names():
        names = ", ".join(tiktoken.list_encoding_names())
        raise InvalidInput(f"No tokenizer {name!r}: give the path of a tokenizer.json, or one of {names}")
    try:
        return tiktoken.get_encoding(name)
    except Exception as error:  # of whatever it downloads with
        known = "set TIKTOKEN_CACHE_DIR to a folder that holds it, or give the path of a tokenizer.json"
        raise InvalidInput(f"The tokenizer {name!r} cannot be had ({type(error).__name__}): {known}") from error
