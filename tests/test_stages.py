"""The algebra of stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from rag_compress import BM25Retriever, Context, Document, ExtractiveCompressor, Pipeline, Selection, Stage
from rag_compress.errors import InvalidInput, ModelError


@dataclass(frozen=True)
class Append(Stage):
    """Adds a letter to the query."""

    letter: str

    def __call__(self, batch: Sequence[Context]) -> list[Context]:
        """Returns the contexts with longer queries."""
        return [replace(context, query=context.query + self.letter) for context in batch]


def test_composition_is_associative() -> None:
    """(a >> b) >> c and a >> (b >> c) are the same flat pipeline, and run in order."""
    a, b, c = Append("a"), Append("b"), Append("c")
    assert (a >> b) >> c == a >> (b >> c) == Pipeline((a, b, c))
    assert (a >> b >> c).run("").query == "abc"


def test_repr_is_the_recipe() -> None:
    """A pipeline prints as it was written."""
    assert repr(Append("a") >> Append("b")) == "Append(letter='a') >> Append(letter='b')"


def test_only_stages_compose() -> None:
    """Composing with something else is a TypeError."""
    with pytest.raises(TypeError):
        Append("a") >> print


def test_retrieve_then_compress() -> None:
    """A retriever fills in documents, a compressor keeps their best sentences, documents stay whole."""
    documents = [Document("fr", "The Loire is a river in France. It is long."), Document("no", "Bread and butter.")]
    context = (BM25Retriever.from_documents(documents) >> ExtractiveCompressor.default()).run("river in France")
    assert [segment.text for segment in context.segments] == ["The Loire is a river in France."]
    assert [document.text for document in context.documents] == [documents[0].text]
    assert [segment.text for segment in context.dropped] == ["It is long."]


def test_query_must_be_a_string() -> None:
    """Running on something else than a string is a typed error."""
    with pytest.raises(InvalidInput, match="query must be a string"):
        Selection().compress(3, ["text"])  # type: ignore[arg-type]


def test_what_a_retriever_is_asked_and_returns_is_checked() -> None:
    """Queries are strings, and there is one ranking for each; else the error says who was wrong."""
    retriever = BM25Retriever.from_documents(["river"])
    with pytest.raises(InvalidInput, match="A query must be a string, not NoneType"):
        retriever.retrieve([None])  # type: ignore[list-item]

    class Silent(BM25Retriever):
        def rank(self, queries: Sequence[str], k: int) -> list[list[Document]]:
            return []

    with pytest.raises(ModelError, match="returned 0 lists of documents for 1 queries"):
        Silent.from_documents(["river"]).retrieve(["river", " "])
