"""The records: what they refuse, and what they keep."""

from __future__ import annotations

import pickle
from contextlib import AbstractContextManager
from dataclasses import FrozenInstanceError
from importlib import import_module

import pytest

from rag_compress import Context, Document, Segment, Span, errors
from rag_compress.errors import InvalidInput


@pytest.mark.parametrize("field", ["id", "text", "title"])
def test_document_fields_are_strings(field: str) -> None:
    """A field that is not a string is an error that names the field, the type and the value."""
    values = {"id": "1", "text": "t", "title": ""} | {field: 7}
    with pytest.raises(InvalidInput, match=f"Document.{field} must be a string, not int: 7"):
        Document(**values)  # type: ignore[arg-type]


def test_records_are_frozen_hashable_and_picklable() -> None:
    """A record cannot be changed, and survives a pickle and a set."""
    document = Document("1", "text", metadata={"a": [1]})
    context = Context.whole("q", [document])
    with pytest.raises(FrozenInstanceError):
        document.text = "other"  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(context)) == context  # noqa: S301 - our own bytes
    assert len({document, Document("1", "text", metadata={"a": [1]})}) == 1


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (3, 2), (None, 3), (0, 1.5)])
def test_span_is_checked(start: int, end: int) -> None:
    """A span that starts before 0, ends before it starts or has no whole numbers is an error."""
    with pytest.raises(InvalidInput, match="0 <= start <= end"):
        Span("1", start, end)


def test_segment_is_checked() -> None:
    """A verbatim segment has one span; a score is never NaN; no span ends behind its document."""
    with pytest.raises(InvalidInput, match="exactly one span, not 0"):
        Segment("text", ())
    with pytest.raises(InvalidInput, match=r"Segment\.score must be a number"):
        Segment("text", (Span("1", 0, 4),), score=float("nan"))
    with pytest.raises(InvalidInput, match="has 4 characters"):
        Segment.of(Document("1", "text"), 0, 5)


def test_context_of_strings() -> None:
    """Plain strings become documents with their position as id; one string instead of a list is an error."""
    context = Context.whole("q", ["first", Document("x", "second", score=0.5)])
    assert [(d.id, d.text) for d in context.documents] == [("0", "first"), ("x", "second")]
    assert [(s.text, s.score) for s in context.segments] == [("first", None), ("second", 0.5)]
    with pytest.raises(InvalidInput, match="put it into a list"):
        Context.whole("q", "one string")


def test_a_context_of_lists() -> None:
    """Lists do for a context as well as tuples: it can be hashed, and a later stage adds to what was dropped."""
    document = Document("x", "one")
    context = Context("q", [document], [Segment.of(document)], [])  # type: ignore[arg-type]
    assert context == Context.whole("q", [document])
    assert hash(context) == hash(Context.whole("q", [document]))


def test_context_is_checked() -> None:
    """A query is a string, and ids are unique."""
    with pytest.raises(InvalidInput, match="query must be a string, not NoneType"):
        Context(None)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="share the id 'b'"):
        Context.whole("q", [Document("a", ""), Document("b", ""), Document("b", "")])


def test_span_leads_to_its_document() -> None:
    """A context gives the document of a span, or a KeyError."""
    context = Context.whole("q", [Document("a", "text")])
    assert context.document_of(Span("a", 0, 4)) is context.documents[0]
    with pytest.raises(KeyError):
        context.document_of(Span("b", 0, 1))


@pytest.mark.parametrize("documents", ["text", b"text", Document("a", "text"), {"a": "text"}, None, 7], ids=repr)
def test_documents_are_a_list(documents: object) -> None:
    """One document, one text, a mapping (whose keys would be taken) and nothing at all are no list of documents."""
    with pytest.raises(InvalidInput, match="must be a list of documents, not"):
        Context.whole("q", documents)  # type: ignore[arg-type]


def test_a_context_holds_documents() -> None:
    """Something else among the documents of a context is an error that shows it."""
    with pytest.raises(InvalidInput, match="must be a Document or a string, not 'a'"):
        Context("q", ["a"])  # type: ignore[arg-type]


def test_errors_survive_a_pickle() -> None:
    """An error that comes from another process is the same error, with its message."""
    kinds = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)]
    assert errors.MissingExtra in kinds
    for kind in kinds:
        error = (
            kind("onnxruntime", "cpu", "The classifier", "a library is missing")
            if kind is errors.MissingExtra
            else kind("a message")
        )
        back = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
        assert (type(back), str(back), vars(back)) == (kind, str(error), vars(error))


def test_a_package_that_is_broken() -> None:
    """What is installed and cannot be imported says why; what is absent needs no reason."""
    with pytest.raises(errors.MissingExtra, match=r"'torch' \(no libcudart\): pip"), importing("torch"):
        raise ImportError("no libcudart")
    with pytest.raises(errors.MissingExtra, match="'no-such': pip"), importing("no-such"):
        import_module("no_such")


def importing(package: str) -> AbstractContextManager[None]:
    """Returns the context in which a package is imported."""
    return errors.importing(package, "torch", "An encoder")
