"""A result: the figures of one command, as one JSON file under `eval/results/`."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

RESULTS = Path(__file__).parent / "results"
Out = Annotated[Path, typer.Option("--out", help="The folder for the result.", show_default="eval/results")]


@dataclass(frozen=True)
class Result:
    """What one command measured.

    Attributes:
        command: Makes it again.
        scores: Figures by name; shares are percentages.
        details: How it was measured: recipe, counts, machine.
        samples: Figures of single questions, in an order that only depends on the data, for paired tests.
    """

    command: str
    scores: Mapping[str, float]
    details: Mapping[str, Any] = field(default_factory=dict)
    samples: Mapping[str, list[float]] = field(default_factory=dict)

    def write(self, name: str, folder: Path = RESULTS) -> Path:
        """Writes `<name>.json` and returns its path; figures that are not a number are left out."""
        record = asdict(self)
        record["scores"] = {key: round(value, 4) for key, value in self.scores.items() if value == value}
        record["samples"] = {key: [round(value, 4) for value in values] for key, values in self.samples.items()}
        lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in record.items())
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{name}.json"
        file.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
        return file


def limited(limit: int, default: int) -> str:
    """Returns how a command says its `--limit`: not at all where it is the default."""
    return f" --limit {limit}" if limit != default else ""


def check_command(name: str, command: str, folder: Path) -> None:
    """Raises `BadParameter` if the result `<name>.json` is another command's, such as one with another `--limit`."""
    file = folder / f"{name}.json"
    if file.is_file() and (other := read_result(name, folder).command) != command:
        raise typer.BadParameter(f"{file} is the result of `{other}`: give another folder with --out, or delete it")


def read_result(name: str, folder: Path = RESULTS) -> Result:
    """Returns the result `<name>.json`; raises `FileNotFoundError` when its command has not run."""
    return Result(**json.loads((folder / f"{name}.json").read_text(encoding="utf-8")))


def find_result(name: str) -> Result | None:
    """Returns the result `<name>.json`, or `None` when its command has not run."""
    return read_result(name) if (RESULTS / f"{name}.json").is_file() else None


def named_results(prefix: str) -> dict[str, Result]:
    """Returns the results `<prefix>-NAME.json` by those names."""
    files = sorted(RESULTS.glob(f"{prefix}-*.json"))
    return {file.stem.removeprefix(f"{prefix}-"): read_result(file.stem) for file in files}


def machine() -> str:
    """Returns what figures of time depend on: the processor as Linux names it, its architecture and its cores."""
    file = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*: (.+)", file.read_text()) if file.is_file() else None
    processor = f"{named[1].strip()} ({platform.machine()})" if named else platform.machine()
    return f"{processor}, {os.cpu_count()} cores"
