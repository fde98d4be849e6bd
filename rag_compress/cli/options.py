"""The values that options choose from."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple


class Retrieval(StrEnum):
    """A kind of index."""

    bm25 = "bm25"
    dense = "dense"
    hybrid = "hybrid"
    feedback = "feedback"


class StorageKind(StrEnum):
    """How an index keeps vectors."""

    float32 = "float32"
    float16 = "float16"
    int8 = "int8"
    pq = "pq"


class Compressing(StrEnum):
    """How `compress` makes documents shorter: sentences of them, a summary, or soft tokens in their place."""

    extractive = "extractive"
    abstractive = "abstractive"
    xrag = "xrag"


class Output(StrEnum):
    """What `compress` prints.

    The prompt; JSON with spans; a view of kept and dropped text; or, with soft tokens, the request to a vLLM server.
    """

    prompt = "prompt"
    json = "json"
    view = "view"
    request = "request"


MINILM = "sentence-transformers/all-MiniLM-L6-v2"
"""The encoder where none is named."""


class Sources(NamedTuple):
    """What to read, and how."""

    names: Sequence[str]
    encoding: str
    skip_errors: bool


class Index(NamedTuple):
    """Where to retrieve from, and with which encoder (`None`: the one that the index knows)."""

    folder: Path
    encoder: str | None


class Soft(NamedTuple):
    """Soft tokens: from which projector, and whether documents whose exact words are needed stay text."""

    projector: Path | None
    exact: bool


class Writing(NamedTuple):
    """A summary: by which summarizer, a folder or `module:object`."""

    summarizer: str | None


class Scoring(NamedTuple):
    """How sentences are cut and scored: by what, with which model (`None`: its own), in which language."""

    scorer: str
    model: str | None
    language: str | None
