"""Writes `eval/RESULTS.md`, its plots and the README's figures from the results at hand: `python -m eval.report`."""

from __future__ import annotations

from pathlib import Path

import typer

from eval.report_abstractive import gate_sections, grounding_sections, summary_sections
from eval.report_batch import batch_sections
from eval.report_extractive import extractive_sections
from eval.report_frameworks import framework_sections
from eval.report_reader import reader_sections
from eval.report_readme import write_figures
from eval.report_retrieval import retrieval_sections
from eval.report_soft import soft_sections
from eval.report_speed import import_sections, index_sections, speed_sections

FOLDER = Path(__file__).parent

_INTRODUCTION = """\
# Results

Written by `python -m eval.report` from the files in `eval/results/`, each of which names the command that made it.
`python -m eval.run` runs all of them, in the order of `eval/matrix.toml`, and checks every figure against the expected
one. The data folder is named with `--data` or `RAG_COMPRESS_DATA`. All figures are percentages unless a unit is given,
and from test splits, on which nothing was tuned, unless another split is named.
"""


def main() -> None:
    """Writes `eval/RESULTS.md`, `eval/plots/` and the figures in the README."""
    parts = [_INTRODUCTION, *extractive_sections(FOLDER / "plots"), *reader_sections(), *retrieval_sections()]
    parts += [*summary_sections(), *grounding_sections(), *gate_sections(), *soft_sections(FOLDER / "plots")]
    parts += [*speed_sections(FOLDER / "plots"), *framework_sections(), *index_sections(), *batch_sections()]
    parts += [*import_sections()]
    (FOLDER / "RESULTS.md").write_text("\n".join(f"{part.rstrip()}\n" for part in parts), encoding="utf-8")
    write_figures(FOLDER.parent / "README.md")


if __name__ == "__main__":
    typer.run(main)
