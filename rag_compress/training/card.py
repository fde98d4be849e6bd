"""Writes the card of a trained model: data with licences, recipe, figures, limits."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rag_compress.training.examples import Source

_LIMITS = """\
* It says which sentences bear on a question, not whether they are true.
* A fact that needs two passages together is found only when each passage shows by itself that it matters.
* Languages and kinds of text that are not in the data above rest on the words they share with the question.
"""

_SUMMARIZER_LIMITS = """\
* It was trained to write like its examples; on other kinds of text, and in other languages, it has not been measured.
* What it writes may be wrong: use it behind `AbstractiveCompressor`, which checks every sentence against its sources.
"""

_PROJECTOR_LIMITS = """\
* It fits this one encoder and this one LLM, and no other.
* A soft token says what a document is about; exact numbers, names and code are mostly lost in it: give such documents
  as text (`gate=Exactness()`).
* With several documents at once, expect less than from the text; measure before you use it.
"""


def write_card(folder: Path, sources: Sequence[Source], recipe: Mapping[str, Any], figures: Mapping[str, Any]) -> Path:
    """Writes `README.md` into a model's folder and returns its path.

    Args:
        folder: The model's folder.
        sources: The files trained on; licences are read from their lines' `licence`.
        recipe: The options of the run.
        figures: What was measured, by name.
    """
    rows = [_row(source) for source in sources]
    about = "Reads a question with a passage in one pass and says, for each sentence, how likely it helps to answer."
    table = ["| file | examples | weight | passages each | licence |", "|---|---|---|---|---|", *rows]
    return _write(folder, "Sentence classifier", about, table, recipe, figures, _LIMITS)


def write_summarizer_card(
    folder: Path, licences: Mapping[str, Mapping[str, int]], recipe: Mapping[str, Any], figures: Mapping[str, Any]
) -> Path:
    """Writes `README.md` into a summarizer's folder and returns its path.

    Args:
        folder: The model's folder.
        licences: For each file, how many lines have which licence.
        recipe: The options of the run.
        figures: What was measured, by name.
    """
    about = "Writes a short text from a longer one."
    return _write(folder, "Summarizer", about, _licence_table(licences), recipe, figures, _SUMMARIZER_LIMITS)


def write_projector_card(
    folder: Path, licences: Mapping[str, Mapping[str, int]], recipe: Mapping[str, Any], figures: Mapping[str, Any]
) -> Path:
    """Writes `README.md` into a projector's folder and returns its path.

    Args:
        folder: The projector's folder.
        licences: For each file, how many lines have which licence.
        recipe: The options of the run.
        figures: What was measured, by name.
    """
    about = "Turns the embedding of a document into soft tokens of one LLM, which was frozen."
    return _write(folder, "Projector", about, _licence_table(licences), recipe, figures, _PROJECTOR_LIMITS)


def _licence_table(licences: Mapping[str, Mapping[str, int]]) -> list[str]:
    rows = [f"| {Path(path).name} | {sum(own.values())} | {'; '.join(own)} |" for path, own in licences.items()]
    return ["| file | lines | licence |", "|---|---|---|", *rows]


def _write(
    folder: Path,
    kind: str,
    about: str,
    table: Sequence[str],
    recipe: Mapping[str, Any],
    figures: Mapping[str, Any],
    limits: str,
) -> Path:
    lines = [f"# {kind} of rag_compress", "", about, "", "## Data", "", *table, ""]
    lines += ["## Recipe", "", "```json", json.dumps(recipe, indent=2), "```", ""]
    lines += ["## Figures", "", "| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in figures.items()), ""]
    lines += ["## Limits", "", limits]
    path = folder / "README.md"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _row(source: Source) -> str:
    licences = Counter(json.loads(line).get("licence") or "not stated" for line in source.lines)
    names = "; ".join(name for name, _ in licences.most_common())
    return f"| {Path(source.path).name} | {len(source.lines)} | {source.weight:g} | {source.passages} | {names} |"
