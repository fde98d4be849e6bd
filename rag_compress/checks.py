"""Checks of single values from the caller; each raises `InvalidInput` with the value it saw."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any, get_args

from rag_compress.errors import InvalidInput


def check_count(name: str, value: object, least: int = 0) -> None:
    """Raises `InvalidInput` unless a value is an integer (numpy's too) of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InvalidInput(f"{name} must be an integer of at least {least}, not {value!r:.80}")


def check_list(name: str, kinds: str, values: object) -> None:
    """Raises `InvalidInput` for one value where several are asked for, such as a text, a mapping or `None`."""
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise InvalidInput(f"{name} must be a list of {kinds}, not {values!r:.80}: put it into a list")


def listed(name: str, kinds: str, values: Any) -> list[Any]:
    """Returns values as a list; raises what `check_list` raises."""
    check_list(name, kinds, values)
    return list(values)


def check_question(question: str | None) -> None:
    """Raises `InvalidInput` if a question is given and blank, as an empty variable of a shell makes it."""
    if question is not None and not question.strip():
        raise InvalidInput("The question must not be blank")


def check_number(name: str, value: object, least: float = -float("inf"), most: float = float("inf")) -> None:
    """Raises `InvalidInput` unless a value is a number from `least` to `most`; NaN never is."""
    if isinstance(value, bool) or not isinstance(value, Real) or not least <= _float(value) <= most:
        raise InvalidInput(f"{name} must be a number from {least} to {most}, not {value!r:.80}")


def check_choice(name: str, value: object, choices: Any) -> None:
    """Raises `InvalidInput` unless a value is one of those of a `Literal`."""
    known = get_args(choices)
    if value not in known:
        raise InvalidInput(f"{name} must be {', '.join(known[:-1])} or {known[-1]}, not {value!r:.80}")


def _float(value: Real) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer of hundreds of digits
        return float("nan")


def is_folder(name: str) -> bool:
    """Returns whether there is a folder of this name; `Path.is_dir` raises where a text is too long for a name."""
    return os.path.isdir(name)  # noqa: PTH112
