"""`rag-compress doctor`: what is installed, what clashes, and which device is really used."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rich.table import Table

import rag_compress
from rag_compress.cli import FAILED
from rag_compress.cli.view import stderr, stdout
from rag_compress.scorers.classifier import ClassifierScorer

EXTRAS = {
    "cpu": ("onnxruntime", "tokenizers", "faiss-cpu"),
    "gpu": ("onnxruntime-gpu", "onnx", "tokenizers", "faiss-gpu"),
    "torch": ("torch", "transformers", "sentence-transformers"),
    "export": ("onnx", "onnxscript"),
    "rank-bm25": ("rank-bm25",),
    "tokenizers": ("tokenizers",),
    "tiktoken": ("tiktoken",),
    "langchain": ("langchain-core",),
    "llama-index": ("llama-index-core",),
    "parquet": ("pyarrow",),
    "postgres": ("psycopg",),
    "lancedb": ("lancedb",),
    "qdrant": ("qdrant-client",),
    "chroma": ("chromadb",),
    "zstd": ("zstandard",),
    "remote": ("fsspec",),
    "ray": ("ray",),
}
CLASHES = (("onnxruntime", "onnxruntime-gpu"), ("faiss-cpu", "faiss-gpu"))


def _field(tag: int, content: bytes) -> bytes:
    return bytes([tag, len(content)]) + content


def _tensor(name: bytes) -> bytes:
    return _field(0x0A, name) + _field(0x12, _field(0x0A, b"\x08\x01"))


# The ONNX file of y = Identity(x), field by field (ir_version 8, opset 13): the smallest model that shows which
# provider a session really runs on.
_NODE = _field(0x0A, b"x") + _field(0x12, b"y") + _field(0x22, b"Identity")
_GRAPH = _field(0x0A, _NODE) + _field(0x12, b"g") + _field(0x5A, _tensor(b"x")) + _field(0x62, _tensor(b"y"))
_IDENTITY = b"\x08\x08" + _field(0x3A, _GRAPH) + _field(0x42, b"\x10\x0d")


def run_doctor(as_json: bool) -> None:
    """Prints the report; ends with exit code 1 if packages clash."""
    report = examine()
    if as_json:
        sys.stdout.write(json.dumps(report) + "\n")
    else:
        _show(report)
    if report["clashes"]:
        sys.exit(FAILED)


def examine(installed: Callable[[str], str | None] | None = None) -> dict[str, Any]:
    """Returns the versions of everything an extra holds, the clashes with their cure, and the devices."""
    installed = installed or _installed
    extras = {extra: {name: installed(name) for name in names} for extra, names in EXTRAS.items()}
    clashes = [
        f"{cpu} and {gpu} overwrite each other's files: pip uninstall -y {cpu} {gpu}, then install one of them"
        for cpu, gpu in CLASHES
        if installed(cpu) and installed(gpu)
    ]
    return {
        "rag_compress": rag_compress.__version__,
        "python": sys.version.split()[0],
        "extras": extras,
        "clashes": clashes,
        "default_scorer": "classifier" if ClassifierScorer.is_available() else "lexical",
        "devices": {"onnxruntime": _onnxruntime_device(), "torch": _torch_device(), "faiss": _faiss_device()},
    }


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _onnxruntime_device() -> str | None:
    """Returns the provider that a session really gets: the list of available ones names CUDA without any GPU, too."""
    try:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(_IDENTITY, options, providers=onnxruntime.get_available_providers())
        # The wheel's first provider calls a service of Azure's; it computes nothing here.
        return str(next(name for name in session.get_providers() if name != "AzureExecutionProvider"))
    except ImportError:
        return None
    except Exception as error:  # noqa: BLE001 - a broken installation fails in any way, and that is what we report
        return f"broken: {error}"


def _torch_device() -> str | None:
    try:
        import torch
    except ImportError:
        return None
    except OSError as error:  # a library of its own is missing
        return f"broken: {error}"
    return str(torch.cuda.get_device_name(0)) if torch.cuda.is_available() else "cpu"


def _faiss_device() -> str | None:
    try:
        import faiss
    except ImportError:
        return None
    except OSError as error:
        return f"broken: {error}"
    gpus = getattr(faiss, "get_num_gpus", lambda: 0)()
    return f"{gpus} GPU(s)" if gpus else "cpu"


def _show(report: dict[str, Any]) -> None:
    table = Table(
        "extra", "package", "version", title=f"rag_compress {report['rag_compress']}, Python {report['python']}"
    )
    for extra, packages in report["extras"].items():
        for name, found in packages.items():
            table.add_row(extra, name, found or "[dim]not installed[/]")
    stdout.print(table)
    stdout.print(f"default scorer: {report['default_scorer']}")
    for runtime, device in report["devices"].items():
        stdout.print(f"{runtime:12} {device or 'not installed'}", markup=False)
    for clash in report["clashes"]:
        stderr.print(f"[bold red]clash:[/] {clash}")
    if not report["clashes"]:
        stdout.print("no clashes", style="green")
