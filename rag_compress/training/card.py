"""Writes the card of a trained model: data with licences, recipe, figures, limits."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rag_compress.training.checkpoint import plain
from rag_compress.training.examples import Source


class Kind(NamedTuple):
    """A kind of model.

    Attributes:
        name: The card's title.
        about: What the model does.
        limits: What it does not.
    """

    name: str
    about: str
    limits: str


CLASSIFIER = Kind(
    "Sentence classifier",
    "Reads a question with a passage in one pass and says, for each sentence, how likely it helps to answer.",
    """\
* It says which sentences bear on a question, not whether they are true.
* A fact that needs two passages together is found only when each passage shows by itself that it matters.
* Languages and kinds of text that are not in the data above rest on the words they share with the question.
""",
)
SUMMARIZER = Kind(
    "Summarizer",
    "Writes a short text from a longer one.",
    """\
* It was trained to write like its examples; on other kinds of text, and in other languages, it has not been measured.
* What it writes may be wrong: use it behind `AbstractiveCompressor`, which checks every sentence against its sources.
""",
)
PROJECTOR = Kind(
    "Projector",
    "Turns the embedding of a document into soft tokens of one LLM, which was frozen.",
    """\
* It fits this one encoder and this one LLM, and no other.
* A soft token says what a document is about; exact numbers, names and code are mostly lost in it: give such documents
  as text (`gate=Exactness()`).
* With several documents at once, expect less than from the text; measure before you use it.
""",
)


def write_card(
    kind: Kind, folder: Path, data: Sequence[str], recipe: Mapping[str, Any], figures: Mapping[str, Any]
) -> Path:
    """Writes `README.md` into a model's folder and returns its path.

    Args:
        kind: Of the model.
        folder: The model's folder.
        data: The lines of a table of what it was trained on (`source_table`, `licence_table`).
        recipe: The options of the run.
        figures: What was measured, by name.
    """
    lines = [f"# {kind.name} of rag_compress", "", kind.about, "", "## Data", "", *data, ""]
    lines += ["## Recipe", "", "```json", json.dumps(plain(recipe), indent=2), "```", ""]
    lines += ["## Figures", "", "| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in figures.items()), ""]
    lines += ["## Limits", "", kind.limits]
    path = folder / "README.md"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def source_table(sources: Sequence[Source]) -> list[str]:
    """Returns a table of files with weights, whose lines name their licences in the field `licence`."""
    return ["| file | examples | weight | passages each | licence |", "|---|---|---|---|---|", *map(_row, sources)]


def licence_table(licences: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Returns a table of files, given how many lines of each have which licence."""
    rows = [f"| {Path(path).name} | {sum(own.values())} | {'; '.join(own)} |" for path, own in licences.items()]
    return ["| file | lines | licence |", "|---|---|---|", *rows]


def _row(source: Source) -> str:
    licences = Counter(str(json.loads(line).get("licence") or "not stated") for line in source.lines)
    names = "; ".join(name for name, _ in licences.most_common())
    return f"| {Path(source.path).name} | {len(source.lines)} | {source.weight:g} | {source.passages} | {names} |"
