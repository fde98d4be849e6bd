"""What the tests of the adapters share: texts, a scorer that counts its calls, and one that fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import rag_compress
from rag_compress import AbstractiveCompressor, Document, ExtractiveCompressor, Selection
from rag_compress.models.protocols import Passage
from rag_compress.testing import OverlapScorer, ScriptedSummarizer

QUERY = "Which river is in France?"
LOIRE = "The Loire is a river in France. It is 1,006 km long. Many castles stand near it. Cheese is made there too."
RHINE = "The Rhine rises in the Swiss Alps. It ends in the North Sea. Trains run beside it. Wine grows on its banks."
BANANA = "Bananas are berries. They are yellow. Most are eaten raw."
TEXTS = (LOIRE, RHINE, BANANA)
DOCUMENTS = [
    Document("loire", LOIRE, "Loire", metadata={"page": 1, "tags": ["river"]}),
    Document("rhine", RHINE, "Rhine", metadata={"page": 2, "tags": ["river"]}),
    Document("danube", "The Danube is a river. It crosses ten countries.", "Danube"),
    Document("seine", "The Seine is a river in France. Paris lies on it.", "Seine"),
]


@dataclass(frozen=True)
class CountingScorer:
    """Scores by overlap; notes how many queries each call had, and in which thread, and may take its time."""

    calls: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    seconds: float = 0.0

    def score(self, queries: Sequence[str], passages: Sequence[Sequence[Passage]]):
        """Returns the shares of the query's words."""
        self.calls.append(len(queries))
        self.threads.append(threading.get_ident())
        time.sleep(self.seconds)
        return OverlapScorer().score(queries, passages)


@dataclass(frozen=True)
class FailingScorer:
    """Fails for the query `fail`, and for a batch with it."""

    def score(self, queries: Sequence[str], passages: Sequence[Sequence[Passage]]):
        """Returns the shares of the query's words."""
        if "fail" in queries:
            raise RuntimeError("out of memory")
        return OverlapScorer().score(queries, passages)


def counting(seconds: float = 0.0) -> tuple[ExtractiveCompressor, CountingScorer]:
    """Returns a compressor that keeps sentences which share a word with the query, and its scorer."""
    scorer = CountingScorer(seconds=seconds)
    return ExtractiveCompressor(scorer, Selection(threshold=0.3)), scorer


FAILING = ExtractiveCompressor(FailingScorer(), Selection(threshold=0.3))
TOKENIZER = Path(rag_compress.__file__).parent / "models/bundled/tokenizer.json"
SUMMARY = "The Loire, a river in France, is 1006 kilometres long."
WRITTEN = AbstractiveCompressor(ScriptedSummarizer(SUMMARY), fallback=ExtractiveCompressor.lexical())
