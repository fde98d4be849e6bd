"""Writes the card of a trained classifier: data with licences, recipe, figures, limits."""

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


def write_card(folder: Path, sources: Sequence[Source], recipe: Mapping[str, Any], figures: Mapping[str, Any]) -> Path:
    """Writes `README.md` into a model's folder and returns its path.

    Args:
        folder: The model's folder.
        sources: The files trained on; licences are read from their lines' `licence`.
        recipe: The options of the run.
        figures: What was measured, by name.
    """
    rows = [_row(source) for source in sources]
    lines = [
        "# Sentence classifier of rag_compress",
        "",
        "Reads a question with a passage in one pass and says, for each sentence, how likely it helps to answer.",
        "",
        "## Data",
        "",
        "| file | examples | weight | passages each | licence |",
        "|---|---|---|---|---|",
        *rows,
        "",
        "## Recipe",
        "",
        "```json",
        json.dumps(recipe, indent=2),
        "```",
        "",
        "## Figures",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in figures.items()),
        "",
        "## Limits",
        "",
        _LIMITS,
    ]
    path = folder / "README.md"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _row(source: Source) -> str:
    licences = Counter(json.loads(line).get("licence") or "not stated" for line in source.lines)
    names = "; ".join(name for name, _ in licences.most_common())
    return f"| {Path(source.path).name} | {len(source.lines)} | {source.weight:g} | {source.passages} | {names} |"
