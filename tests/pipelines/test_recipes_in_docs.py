"""The recipes in the documents of the adapters run as they stand, and print what stands below them."""

from __future__ import annotations

import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", ["langchain", "llamaindex"])
@pytest.mark.filterwarnings("ignore:The function `load` is in beta")
def test_recipes(name):
    """Each block of Python prints exactly the block of text after it."""
    printed, names = StringIO(), {"__name__": name}
    expected = []
    for kind, content in _BLOCK.findall((DOCS / f"{name}.md").read_text(encoding="utf-8")):
        if kind == "text":
            expected.append(content)
            assert printed.getvalue() == content
            continue
        printed = StringIO()
        with redirect_stdout(printed):
            exec(compile(content, f"{name}.md", "exec"), names)  # noqa: S102 - our own document
    assert len(expected) > 5
