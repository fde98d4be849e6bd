"""The values that options choose from."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Retrieval(StrEnum):
    """A kind of index."""

    bm25 = "bm25"
    dense = "dense"
    hybrid = "hybrid"
    feedback = "feedback"


class Scorer(StrEnum):
    """What scores sentences."""

    lexical = "lexical"
    biencoder = "biencoder"


class Output(StrEnum):
    """What `compress` prints: the prompt, JSON with spans, or a view of kept and dropped text."""

    prompt = "prompt"
    json = "json"
    view = "view"


class Encoder(NamedTuple):
    """A scorer and the model that it may need."""

    scorer: Scorer
    model: str
