"""`rag-compress doctor`: what is installed, what clashes, and which device is really used."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

from rich.table import Table

import rag_compress
from rag_compress.cli import FAILED
from rag_compress.cli.view import stderr, stdout
from rag_compress.errors import MissingExtra, importing
from rag_compress.scorers.classifier import ClassifierScorer
from rag_compress.scorers.named import default_scorer

CLASHES = (("onnxruntime", "onnxruntime-gpu"), ("faiss-cpu", "faiss-gpu"))


_REQUIREMENT = re.compile(r"([\w.-]+)[^;]*; extra == ['\"]([\w-]+)['\"]")


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
    extras = {extra: {name: installed(name) for name in names} for extra, names in extras_of_package().items()}
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
        "default_scorer": default_scorer(),
        "devices": {name: _device(find) for name, find in _DEVICES.items()},
    }


def extras_of_package() -> dict[str, list[str]]:
    """Returns the packages of each extra, as the installed metadata name them; none for a bare folder of sources."""
    extras: dict[str, list[str]] = {}
    with suppress(PackageNotFoundError):
        for requirement in requires("rag-compress") or ():
            found = _REQUIREMENT.match(requirement)
            if found and found[1] != "rag-compress":
                extras.setdefault(found[2], []).append(found[1])
    return extras


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _device(find: Callable[[], str]) -> str | None:
    """Returns the device, `None` where the package is not installed; of a broken one, why it is, in a line."""
    try:
        return find()
    except MissingExtra as error:
        return _line("cannot be imported", error.reason) if error.reason else None
    except OSError as error:  # a library of its own is missing
        return _line("cannot be imported", error)
    except Exception as error:  # noqa: BLE001 - a broken installation fails in any way, and that is what we report
        return _line("broken", error)


def _line(what: str, why: object) -> str:
    return f"{what}: {' '.join(str(why).split()) or type(why).__name__:.200}"


def _onnxruntime_device() -> str:
    """Returns the provider that really runs the classifier: that CUDA is offered says nothing of a GPU."""
    return ClassifierScorer().provider


def _torch_device() -> str:
    with importing("torch", "torch", "A local model"):
        import torch
    return str(torch.cuda.get_device_name(0)) if torch.cuda.is_available() else "cpu"


def _faiss_device() -> str:
    with importing("faiss", "cpu", "A faiss index"):
        import faiss
    gpus = getattr(faiss, "get_num_gpus", lambda: 0)()
    return f"{gpus} GPU(s)" if gpus else "cpu"


_DEVICES = {"onnxruntime": _onnxruntime_device, "torch": _torch_device, "faiss": _faiss_device}


def _show(report: dict[str, Any]) -> None:
    table = Table(
        "extra", "package", "version", title=f"rag_compress {report['rag_compress']}, Python {report['python']}"
    )
    for extra, packages in report["extras"].items():
        for name, found in packages.items():
            table.add_row(extra, name, found or "[dim]not installed[/]")
    stdout.print(table)
    stdout.print(f"default scorer: {report['default_scorer']}")
    for name, device in report["devices"].items():
        stdout.print(f"{name:12} {device or 'not installed'}", markup=False)
    for clash in report["clashes"]:
        stderr.print(f"[bold red]clash:[/] {clash}", soft_wrap=True)
    if not report["clashes"]:
        stdout.print("no clashes", style="green")
