"""Runs the matrix and holds every figure against the expected one: `python -m eval.run`.

Exit code 1 when a figure is off or a command fails.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from eval.matrix import Check, Row, read_matrix
from eval.results import find_result

_console = Console(highlight=False, soft_wrap=True)


def main(
    only: Annotated[str, typer.Option(help="Only rows whose system, data or command holds this text.")] = "",
    check_only: Annotated[bool, typer.Option("--check-only", help="Check the results at hand; run nothing.")] = False,  # noqa: FBT002 - typer makes a flag of it
) -> None:
    """Runs the commands of `matrix.toml` and prints OK or FAIL for each figure."""
    rows = [row for row in read_matrix() if only in f"{row.system} {row.data} {row.command}"]
    checks = [check for row in rows for check in _checked(row, run=not check_only)]
    failed = sum(not check.holds for check in checks)
    _console.print(f"{len(rows)} rows, {len(checks)} figures, {failed} not as expected")
    raise typer.Exit(1 if failed or not rows else 0)


def _checked(row: Row, *, run: bool) -> list[Check]:
    """Runs a row's command, prints how its figures compare, and returns that."""
    if run and not _run(row.command):
        checks = [Check("command", None, "exit code 0", holds=False)]
    else:
        result = find_result(row.result)
        checks = list(row.checks(result.scores if result else {}))
    verdict = "[green]OK  [/]" if all(check.holds for check in checks) else "[red]FAIL[/]"
    _console.print(f"{verdict} {escape(row.system)} on {escape(row.data)}  [dim]{escape(row.command)}[/]")
    for check in checks:
        if not check.holds:
            seen = "missing" if check.measured is None else f"{check.measured:.2f}"
            _console.print(f"     [red]{escape(check.name)}: {seen}, not {check.wanted}[/]")
    return checks


def _run(command: str) -> bool:
    program, *arguments = shlex.split(command)
    program = sys.executable if program == "python" else program
    return subprocess.run([program, *arguments], stdout=subprocess.DEVNULL, check=False).returncode == 0


if __name__ == "__main__":
    typer.run(main)
