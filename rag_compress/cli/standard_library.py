"""The docstrings of the Python standard library: real text, in thousands of documents, on every machine."""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from rag_compress.types import Document

_LEFT_OUT = frozenset({"site-packages", "test", "tests", "idlelib", "lib2to3", "turtledemo", "__pycache__"})


def source_files() -> list[Path]:
    """Returns the source files of the standard library, without its tests and demos."""
    root = Path(sysconfig.get_path("stdlib"))
    files = (file.relative_to(root) for file in root.rglob("*.py"))
    return sorted(root / file for file in files if _LEFT_OUT.isdisjoint(file.parts))


def docstrings(file: Path) -> Iterator[Document]:
    """Yields a document for each public module, class and function of a file that has a docstring."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # some files of the library are broken on purpose
        return
    parts = file.relative_to(sysconfig.get_path("stdlib")).with_suffix("").parts
    name = ".".join(part for part in parts if part != "__init__")
    yield from {document.id: document for document in _documented(tree, name)}.values()


def _documented(node: ast.AST, name: str) -> Iterator[Document]:
    if any(part.startswith("_") for part in name.split(".")):
        return
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        text = ast.get_docstring(node)
        if text:
            yield Document(name, text, title=name)
    if isinstance(node, ast.Module | ast.ClassDef):
        for child in node.body:
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield from _documented(child, f"{name}.{child.name}")
