"""Adds a teacher's opinion to training examples: the scores of any other scorer, learned as a ranking."""

from __future__ import annotations

import json

from rag_compress.models.protocols import SentenceScorer
from rag_compress.training.examples import Source, write_examples


def write_taught_examples(path: str, teacher: SentenceScorer, out: str) -> int:
    """Writes a file's examples with `teacher_logits` into a `.jsonl.gz` file; returns how many.

    Args:
        path: Examples as `training/examples.py` reads them.
        teacher: Scores sentences; differences between its scores count as differences of logits, so that scores in
            [0, 1] teach next to nothing: multiply them, or take their logits.
        out: The file.

    Raises:
        InvalidInput: The file cannot be read.
        DocumentError: A line is not an example.
    """
    source = Source(path)
    taught = []
    for number, line in enumerate(source.lines):
        example = source.example(number)
        scores = teacher.score([example.query], [[labelled.passage for labelled in example.passages]])[0]
        record = json.loads(line)
        contexts = zip(record["contexts"], scores, strict=True)
        record["contexts"] = [context | {"teacher_logits": own.tolist()} for context, own in contexts]
        taught.append(record)
    return write_examples(taught, out)
