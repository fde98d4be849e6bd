"""Imports go one way, and the base stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import rag_compress

PACKAGE = Path(rag_compress.__file__).parent
LAYERS = [
    {"errors", ""},
    {"types", "checks", "named", "whole", "processes"},
    {"stages", "words", "tokens", "budget"},
    {"text", "prompts", "documents", "models"},
    {"selection", "stores"},
    {"scorers", "testing", "retrievers"},
    {"compressors", "training"},
    {"pipelines", "batch"},
    {"cli", "__main__"},
]
"""From the lowest up; a module imports only from its own layer and those below."""

HEAVY = {
    "torch",
    "transformers",
    "sentence_transformers",
    "onnxruntime",
    "tokenizers",
    "faiss",
    "langchain_core",
    "langchain",
    "llama_index",
    "haystack",
    "pydantic",
    "tiktoken",
    "pyarrow",
    "psycopg",
    "lancedb",
    "qdrant_client",
    "chromadb",
    "fsspec",
    "ray",
}
ONE_HOME = {
    "torch": {
        "models/classifier/network.py",
        "models/summarizers/copying.py",
        "models/summarizers/generation.py",
        "models/soft_tokens/projector.py",
        "models/soft_tokens/soft_prompts.py",
        "cli/doctor.py",
    },
    "transformers": {
        "models/classifier/network.py",
        "models/summarizers/copying.py",
        "models/summarizers/generation.py",
        "models/soft_tokens/soft_prompts.py",
    },
    "safetensors": {"models/soft_tokens/projector.py"},
    "faiss": {"retrievers/faiss.py", "cli/doctor.py"},
    "rank_bm25": {"retrievers/rank_bm25.py"},
    "sentence_transformers": {"models/torch.py"},
    "onnxruntime": {"models/onnx.py", "models/export.py"},
    "onnx": {"models/classifier/fused.py"},
    "onnxscript": {"models/export.py"},
    "tokenizers": {"tokens.py"},
    "tiktoken": {"tokens.py"},
    "pyarrow": {"stores/parquet.py"},
    "psycopg": {"stores/postgres.py"},
    "lancedb": {"stores/lancedb.py"},
    "qdrant_client": {"stores/qdrant.py"},
    "chromadb": {"stores/chroma.py"},
    "fsspec": {"stores/files.py"},
    "zstandard": {"stores/files.py"},
    "ray": {"batch/ray.py"},
    "bm25s": {"retrievers/bm25.py"},
    "langchain_core": {"models/summarizers/langchain.py", "pipelines/langchain.py", "pipelines/langchain_agent.py"},
    "langchain": {"pipelines/langchain_agent.py"},
    "llama_index": {"pipelines/llamaindex.py"},
    "haystack": {"pipelines/haystack.py"},
    "pydantic": {"pipelines/langchain.py"},
    "sentencex": {"text.py"},
    "Stemmer": {"words.py"},
}
"""The files that may import a third-party package."""


def imports(file: Path) -> list[str]:
    """Returns the modules that a file imports, anywhere in it, except for typing alone."""
    found: list[str] = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
    return found


def layer_of(module: str) -> int:
    """Returns the number of a module's layer."""
    name = module.removeprefix("rag_compress").removeprefix(".").partition(".")[0]
    return next(number for number, names in enumerate(LAYERS) if name in names)


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_imports_go_one_way(file: Path) -> None:
    """A module imports only from its own layer and those below."""
    if file == PACKAGE / "__init__.py":
        return
    module = ".".join(["rag_compress", *file.relative_to(PACKAGE).with_suffix("").parts])
    for imported in imports(file):
        if imported.partition(".")[0] == "rag_compress":
            assert layer_of(imported) <= layer_of(module), f"{module} imports {imported}"


@pytest.mark.parametrize(("package", "homes"), ONE_HOME.items(), ids=ONE_HOME.keys())
def test_a_third_party_has_one_home(package: str, homes: set[str]) -> None:
    """Each third-party package is imported by one file (and by the doctor, which examines it)."""
    importers = {
        file.relative_to(PACKAGE).as_posix()
        for file in FILES
        if any(imported.partition(".")[0] == package for imported in imports(file))
    }
    assert importers == homes


@pytest.mark.parametrize(
    "statement",
    [
        "import rag_compress",
        "from rag_compress import *",
        "import rag_compress.cli.app",
        "import rag_compress.retrievers",
        "import rag_compress.pipelines.framework",
        "import rag_compress.cli.batch",
        "import rag_compress.stores",
    ],
)
def test_nothing_heavy_is_loaded(statement: str) -> None:
    """Importing the library, all its public names or its command line loads no model runtime."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not HEAVY & set(loaded)
    if statement == "import rag_compress":
        assert "numpy" not in loaded


def test_public_names() -> None:
    """`__all__` lists what can be imported, and nothing else is promised."""
    for name in rag_compress.__all__:
        assert getattr(rag_compress, name).__name__ == name
    assert set(rag_compress.__all__) <= set(dir(rag_compress))
    with pytest.raises(AttributeError, match="no attribute 'Magic'"):
        _ = rag_compress.Magic
    assert sorted(rag_compress._HOME_OF) == sorted(rag_compress.__all__)


def test_the_architecture_names_every_module() -> None:
    """The table of the parts has a place for each file, but for those of the command line."""
    page = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = {row.split("`")[1]: row for row in page.splitlines() if row.startswith("| `")}
    for file in FILES:
        folder, *inner = file.relative_to(PACKAGE).with_suffix("").parts
        if inner and folder != "cli" and file.stem != "__init__":
            own = f"{file.parent.relative_to(PACKAGE).as_posix()}/"
            assert f"`{file.stem}`" in rows.get(own, rows[f"{folder}/"]), file
        elif not inner and not folder.startswith("__"):
            assert any(f"`{folder}.py`" in row for row in rows.values()), file


def test_every_public_thing_has_a_docstring() -> None:
    """Modules, public classes and public functions say what they are or return."""
    for file in FILES:
        tree = ast.parse(file.read_text())
        nodes = [tree, *(n for n in ast.walk(tree) if isinstance(n, ast.ClassDef | ast.FunctionDef))]
        for node in nodes:
            name = getattr(node, "name", "module")
            excused = name.startswith("_") or _is_inner(node, tree) or _is_overload(node)
            assert excused or ast.get_docstring(node), f"{file.name}: {name}"


def _is_overload(node: ast.AST) -> bool:
    return any(ast.unparse(decorator) == "overload" for decorator in getattr(node, "decorator_list", []))


def _is_inner(node: ast.AST, tree: ast.Module) -> bool:
    outer = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    return any(node is not n and node in ast.walk(n) for n in outer)
