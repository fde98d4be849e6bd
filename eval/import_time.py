"""Measures what starting costs: `python -m eval.import_time`, each run in a process of its own."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import Annotated

import typer
from rich.console import Console

from eval.results import Result

_IMPORT = "import time; start = time.perf_counter(); import rag_compress; print(time.perf_counter() - start)"
_HELP = "import sys; from rag_compress.cli import main; sys.argv = ['rag-compress', '--help']; main()"
_HEAVY = ("torch", "transformers", "onnxruntime", "sentence_transformers", "langchain_core", "numpy")
_LOADED = f"import sys, rag_compress; print([name for name in {_HEAVY} if name in sys.modules])"


def import_seconds() -> float:
    """Returns the seconds that `import rag_compress` takes in a fresh interpreter, without the interpreter's start."""
    return float(_python(_IMPORT))


def help_seconds() -> float:
    """Returns the seconds from starting the command `rag-compress --help` to its end."""
    start = time.perf_counter()
    _python(_HELP)
    return time.perf_counter() - start


def main(runs: Annotated[int, typer.Option(help="How often to measure; the median counts.")] = 11) -> None:
    """Measures both and writes `eval/results/import-time.json`."""
    scores = {
        "import rag_compress, s": statistics.median(import_seconds() for _ in range(runs)),
        "rag-compress --help, s": statistics.median(help_seconds() for _ in range(runs)),
    }
    details = {"python": sys.version.split()[0], "heavy modules loaded": _python(_LOADED).strip()}
    file = Result("python -m eval.import_time", scores, details).write("import-time")
    Console().print(file.name, scores, details)


def _python(code: str) -> str:
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return child.stdout


if __name__ == "__main__":
    typer.run(main)
