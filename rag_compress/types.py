"""The records that pass through a pipeline: `Document`, `Span`, `Segment`, `Context`, `Prompt`.

All are frozen. A document is never edited, so a span stays valid from the first stage to the last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import TYPE_CHECKING, Any

from rag_compress.checks import check_number, listed
from rag_compress.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Document:
    """A text as the retriever returned it.

    Attributes:
        id: Unique within a context; spans refer to it.
        text: What may be quoted; never edited.
        title: Shown above the text in a prompt; not part of it.
        score: The retriever's score, higher is better; `None` when it was not retrieved by score.
        metadata: Anything; carried along untouched.
        embedding: float32 `(dim,)` from a dense index, or `None`.
    """

    id: str
    text: str
    title: str = ""
    score: float | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)
    embedding: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("id", "text", "title"):
            value = getattr(self, name)
            if not isinstance(value, str):
                raise InvalidInput(f"Document.{name} must be a string, not {type(value).__name__}: {value!r:.80}")
        if self.score is not None:
            check_number("Document.score", self.score)


@dataclass(frozen=True, slots=True)
class Span:
    """The characters `[start, end)` of one document."""

    doc_id: str
    start: int
    end: int

    def __post_init__(self) -> None:
        whole = isinstance(self.start, int | Integral) and isinstance(self.end, int | Integral)  # `int` is quick
        if not whole or not 0 <= self.start <= self.end:
            raise InvalidInput(f"A span needs 0 <= start <= end, not [{self.start}, {self.end}) of {self.doc_id!r:.80}")


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of what the LLM reads, and where it came from.

    Attributes:
        text: The piece itself.
        spans: Its sources: one exact span when `verbatim`, otherwise the spans it was written from.
        score: How much it helps to answer, higher is better; `None` when nothing has scored it.
        verbatim: Whether `text` is exactly the text of its one span.
        embedding: float32 `(tokens, hidden)` soft tokens, whose `text` is empty; `None` for text.
    """

    text: str
    spans: tuple[Span, ...]
    score: float | None = None
    verbatim: bool = True
    embedding: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.verbatim and len(self.spans) != 1:
            raise InvalidInput(f"A verbatim segment has exactly one span, not {len(self.spans)}: {self.text!r:.80}")
        if self.score is not None:
            check_number("Segment.score", self.score)

    @classmethod
    def of(cls, document: Document, start: int = 0, end: int | None = None, score: float | None = None) -> Segment:
        """Returns the verbatim segment `[start, end)` of a document, by default all of it."""
        end = len(document.text) if end is None else end
        if end > len(document.text):
            own, size = document.id, len(document.text)
            raise InvalidInput(f"Document {own!r:.80} has {size} characters; no span ends at {end}")
        return cls(document.text[start:end], (Span(document.id, start, end),), score)


@dataclass(frozen=True, slots=True)
class Context:
    """A query with what was retrieved for it, what is kept of that, and what was dropped.

    Attributes:
        query: What the prompt has to answer.
        documents: In the order in which they were retrieved; ids are unique.
        segments: What the LLM will read, in prompt order.
        dropped: What an earlier stage removed, with its scores, so that a choice can be made again without a model.
        notes: What stages have to say of what they did, by their kind; plain values that JSON can carry.
    """

    query: str
    documents: tuple[Document, ...] = ()
    segments: tuple[Segment, ...] = ()
    dropped: tuple[Segment, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        check_query(self.query)
        for name in ("documents", "segments", "dropped"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for document in self.documents:
            _check_document(document)
        if (repeated := first_repeated(self.documents)) is not None:
            raise InvalidInput(f"Two documents of a context share the id {repeated!r:.80}")

    @classmethod
    def whole(cls, query: str, documents: Iterable[Document | str]) -> Context:
        """Returns the context that keeps all documents whole; a plain string's id becomes its position."""
        docs = as_documents(documents)
        return cls(query, docs, tuple(Segment.of(d, score=d.score) for d in docs))

    def __repr__(self) -> str:
        counts = f"{len(self.documents)} documents, {len(self.segments)} segments, {len(self.dropped)} dropped"
        return f"<Context {self.query!r:.80}: {counts}>"

    @property
    def is_empty(self) -> bool:
        """Whether nothing is kept: the LLM is better asked without context."""
        return not self.segments

    @property
    def is_soft(self) -> bool:
        """Whether a kept segment is soft tokens: only the LLM that they were made for can read it."""
        return any(segment.embedding is not None for segment in self.segments)

    def by_id(self) -> dict[str, Document]:
        """Returns the documents by their ids."""
        return {document.id: document for document in self.documents}

    def document_of(self, span: Span) -> Document:
        """Returns the document of a span.

        Raises:
            KeyError: No document of this context has the span's id.
        """
        return self.by_id()[span.doc_id]


PLACEHOLDER = "<xRAG>"
"""What stands for soft tokens in a prompt, unless a document or the question holds these very characters."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is sent to an LLM.

    Attributes:
        text: The prompt.
        soft_tokens: float32 `(tokens, hidden)` arrays for the placeholders in `text`, in order; empty for any LLM
            that takes text.
        placeholder: What stands in `text` for each array, and nowhere else.
    """

    text: str
    soft_tokens: tuple[NDArray[np.float32], ...] = field(default=(), compare=False, repr=False)
    placeholder: str = PLACEHOLDER


def as_documents(documents: Iterable[Document | str]) -> tuple[Document, ...]:
    """Returns documents; a plain string becomes one, with its position as id.

    Raises:
        InvalidInput: One is neither a `Document` nor a string, or all are no list.
    """
    given = [
        Document(str(i), d) if isinstance(d, str) else d
        for i, d in enumerate(listed("documents", "documents", documents))
    ]
    for document in given:
        _check_document(document)
    return tuple(given)


def as_contexts(batch: Iterable[Context]) -> list[Context]:
    """Returns what a stage is called with as a list; raises `InvalidInput` unless it is contexts."""
    contexts = listed("A batch", "contexts", batch)
    for context in contexts:
        if not isinstance(context, Context):
            ways = "call compress(query, documents), or make one with Context.whole"
            raise InvalidInput(f"A batch must be a list of contexts, and holds {context!r:.80}: {ways}")
    return contexts


def check_query(query: object) -> None:
    """Raises `InvalidInput` unless a query is a string."""
    if not isinstance(query, str):
        raise InvalidInput(f"A query must be a string, not {type(query).__name__}: {query!r:.80}")


def _check_document(document: object) -> None:
    if not isinstance(document, Document):
        raise InvalidInput(f"A document must be a Document or a string, not {document!r:.80}")


def first_repeated(documents: Sequence[Document]) -> str | None:
    """Returns the first id that comes twice, `None` if none does."""
    seen: set[str] = set()
    for document in documents:
        if document.id in seen:
            return document.id
        seen.add(document.id)
    return None
