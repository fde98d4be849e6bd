"""The algebra: a `Stage` maps contexts to contexts, and `a >> b` is a stage again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rag_compress.checks import check_count, listed
from rag_compress.errors import ModelError
from rag_compress.types import Context, Document, as_contexts, check_query


class Stage(ABC):
    """Anything that maps contexts to contexts: a retriever, a compressor, a pipeline of them.

    A subclass writes `__call__`; everything else is written once, here. Components are frozen dataclasses: their
    fields are their parameters, `dataclasses.replace` sets one, and `repr` is the recipe.
    """

    @abstractmethod
    def __call__(self, batch: Sequence[Context]) -> list[Context]:
        """Returns one context for each context, in order; a context's result does not depend on its batch-mates."""

    def __rshift__(self, other: Stage) -> Pipeline:
        """Returns the pipeline that runs this stage, then the other."""
        if not isinstance(other, Stage):
            return NotImplemented
        return Pipeline((*_steps(self), *_steps(other)))

    def run(self, query: str) -> Context:
        """Returns the context of one query; the first stage has to be a retriever."""
        return self([Context(query)])[0]

    def compress(self, query: str, documents: Iterable[Document | str]) -> Context:
        """Returns the context of one query over documents at hand (`Document`s, or plain strings)."""
        return self([Context.whole(query, documents)])[0]


@dataclass(frozen=True)
class Pipeline(Stage):
    """Stages that run one after the other; `a >> b >> c` makes one."""

    stages: tuple[Stage, ...]

    def __call__(self, batch: Sequence[Context]) -> list[Context]:
        """Returns the contexts after the last stage."""
        contexts = as_contexts(batch)
        for stage in self.stages:
            contexts = stage(contexts)
        return contexts

    def __repr__(self) -> str:
        return " >> ".join(map(repr, self.stages))


class Retriever(Stage):
    """A stage that fills in documents. A subclass writes `rank`; its field `k` is how many documents a query gets.

    Documents that a context already had are replaced by the retrieved ones.
    """

    k: int

    def __post_init__(self) -> None:
        check_count("k", self.k, least=1)

    @abstractmethod
    def rank(self, queries: Sequence[str], k: int) -> list[list[Document]]:
        """Returns at most k documents for each query, best first, with scores; no query is blank, k is at least 1."""

    def retrieve(self, queries: Sequence[str], k: int | None = None) -> list[list[Document]]:
        """Returns at most k documents for each query, best first, with scores; none for a blank query.

        Args:
            queries: What to look for.
            k: By default the retriever's own; more than there are documents gives all that match.
        """
        queries = listed("queries", "strings", queries)
        for query in queries:
            check_query(query)
        k = self.k if k is None else k
        check_count("k", k, least=1)
        k = int(k)  # numpy's integers are not what every library takes
        asked = [query for query in queries if query.strip()]
        ranked = self.rank(asked, k) if asked else []
        if len(ranked) != len(asked):
            raise ModelError(f"{self!r:.200} returned {len(ranked)} lists of documents for {len(asked)} queries")
        found = iter(ranked)
        return [next(found) if query.strip() else [] for query in queries]

    def __call__(self, batch: Sequence[Context]) -> list[Context]:
        """Returns each context with the documents that were retrieved for its query, kept whole."""
        batch = as_contexts(batch)
        found = self.retrieve([context.query for context in batch])
        return [Context.whole(context.query, documents) for context, documents in zip(batch, found, strict=True)]


def _steps(stage: Stage) -> tuple[Stage, ...]:
    return stage.stages if isinstance(stage, Pipeline) else (stage,)
