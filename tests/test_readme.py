"""The README's examples do what they show."""

from __future__ import annotations

import doctest
from pathlib import Path
from types import ModuleType

import pytest

import rag_compress

ROOT = Path(__file__).parent.parent


DOCS = [ROOT / "README.md", ROOT / "docs" / "abstractive.md", ROOT / "docs" / "xrag.md"]


@pytest.mark.parametrize("where", [*DOCS, rag_compress], ids=["README", "abstractive", "xrag", "package"])
def test_examples(where: Path | ModuleType) -> None:
    """Every example gives exactly the output that stands below it."""
    if isinstance(where, Path):
        result = doctest.testfile(str(where), module_relative=False, encoding="utf-8")
    else:
        result = doctest.testmod(where)
    assert result.attempted > 0
    assert result.failed == 0
