"""What the adapters share: options, pieces, and what an adapter's import costs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import DOCUMENTS, FAILING, LOIRE, QUERY, RHINE
from strategies import contexts

from rag_compress import (
    BM25Retriever,
    Context,
    Document,
    ExtractiveCompressor,
    LexicalScorer,
    Segment,
    Selection,
    Stage,
)
from rag_compress.errors import InvalidInput, RagCompressError
from rag_compress.pipelines.framework import NO_FRAME, Compression, PieceTemplate, numbered, pieces_of, with_k
from rag_compress.tokens import estimate_tokens
from rag_compress.types import Span

ADAPTERS = {
    "langchain": ("langchain_core", "langchain"),
    "langchain_agent": ("langchain", "langchain-agent"),
    "llamaindex": ("llama_index", "llama-index"),
    "haystack": ("haystack", "haystack"),
}


def run(code: str) -> str:
    """Returns what a fresh interpreter prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(("module", "package", "extra"), [(m, *names) for m, names in ADAPTERS.items()])
def test_an_absent_framework_is_named_with_its_extra(module, package, extra):
    """Importing an adapter without its framework says which extra to install."""
    code = f"""
import sys
sys.modules["{package}"] = None
try:
    import rag_compress.pipelines.{module}
except ImportError as error:
    print(type(error).__name__, error)
"""
    assert run(code).startswith("MissingExtra ")
    assert f'pip install "rag-compress[{extra}]"' in run(code)


@pytest.mark.parametrize(
    ("module", "made"),
    [
        ("langchain", "DocumentCompressor"),
        ("langchain_agent", "CompressionMiddleware"),
        ("llamaindex", "NodeCompressor"),
    ],
)
def test_nothing_is_loaded_before_the_first_use(module, made):
    """Importing an adapter and making a compressor loads no torch, no tokenizer, no onnxruntime and no model."""
    code = f"""
import sys
from rag_compress.pipelines.{module} import {made}
{made}()
from rag_compress.models.onnx import open_session
heavy = {{"torch", "transformers", "sentence_transformers", "onnxruntime", "tokenizers"}}
print(*heavy & set(sys.modules), open_session.cache_info().misses)
"""
    assert run(code).split() == ["0"]


@pytest.mark.parametrize("per", ["source", "sentence"])
@given(context=contexts(), max_tokens=st.integers(0, 120))
def test_the_budget_holds_for_the_joined_pieces(per, context, max_tokens):
    """Whatever the texts, pieces joined by blank lines have at most `max_tokens` tokens."""
    compression = Compression("lexical", threshold=0.0, max_tokens=max_tokens, per=per)
    [outcome] = compression.run([numbered(context.query, [(d.text, d.title, NO_FRAME) for d in context.documents])])
    joined = "\n\n".join(piece.text for piece in outcome.pieces)
    assert estimate_tokens(joined) == outcome.event["compressed_tokens"] <= max_tokens


@given(context=contexts())
def test_pieces_are_the_spans_that_they_name(context):
    """A sentence's piece is exactly the characters of its span, and sources come in their order."""
    after = ExtractiveCompressor(LexicalScorer(), Selection(threshold=0.1))([context])[0]
    for piece in pieces_of(after, "sentence"):
        [[start, end]] = piece.record["spans"]
        assert piece.text == context.documents[piece.source].text[start:end]
    sources = [piece.source for piece in pieces_of(after, "source")]
    assert sources == sorted(set(sources))


def test_what_a_summarizer_writes_goes_to_its_first_source():
    """A segment written from two documents is a piece of the first, with the span that it has there."""
    segment = Segment("Two rivers.", (Span("b", 0, 3), Span("a", 1, 2)), verbatim=False)
    documents = Context.whole("q", ["x"]).documents
    context = Context("q", [type(documents[0])("a", "abc"), type(documents[0])("b", "def")], [segment])
    assert [(p.source, p.text, p.record["spans"]) for p in pieces_of(context, "source")] == [
        (1, "Two rivers.", [[0, 3]])
    ]


def test_a_header_counts_once_for_each_piece():
    """The metadata that a framework puts above a text are part of the budget."""
    context = numbered(QUERY, [(LOIRE, "", ("title: Loire\n\n", "\n--")), (RHINE, "", NO_FRAME)])
    assert PieceTemplate().render_context(context) == f"title: Loire\n\n{LOIRE}\n--\n\n{RHINE}"


@pytest.mark.parametrize(
    "options",
    [
        {"stage": "magic"},
        {"stage": None},
        {"per": "word"},
        {"on_error": "ignore"},
        {"threshold": float("nan")},
        {"max_tokens": -1},
        {"keep_best": 1.5},
        {"stage": Selection(), "max_tokens": 5},
    ],
    ids="+".join,
)
def test_bad_options_are_refused_at_once(options):
    """An option that makes no sense is an error when the compressor is made, not when it is used."""
    with pytest.raises(InvalidInput):
        Compression(**options)


def test_one_failure_leaves_its_batch_mates_compressed():
    """With `on_error="original"`, only the context that fails stays whole, and the event names the error."""
    batch = [numbered(query, [(LOIRE, "", NO_FRAME)]) for query in (QUERY, "fail", QUERY)]
    with pytest.raises(RuntimeError, match="out of memory"):
        Compression(FAILING).run(batch)
    first, failed, last = Compression(FAILING, on_error="original").run(batch)
    assert first == last
    assert first.pieces[0].text == "The Loire is a river in France."
    assert failed.pieces is None
    assert failed.event["error"] == "RuntimeError('out of memory')"
    assert failed.event["compressed_tokens"] == failed.event["original_tokens"] > first.event["compressed_tokens"]


@dataclass(frozen=True)
class Returning(Stage):
    """Returns the same contexts, whatever it is given."""

    contexts: tuple[Context, ...]

    def __call__(self, batch):
        """Returns them."""
        return list(self.contexts)


@pytest.mark.parametrize(
    "returned",
    [
        (),
        (Context.whole(QUERY, [Document("elsewhere", LOIRE)]),),
        (Context(QUERY, (Document("0", LOIRE),), (Segment("no source", (), verbatim=False),)),),
        (Context(QUERY, (), (Segment.of(Document("0", LOIRE)),)),),
    ],
    ids=["too few", "unknown document", "no span", "no document"],
)
def test_what_a_stage_returns_is_checked(returned):
    """A wrong result is a typed error, or leaves the documents as they were, like any other failure."""
    batch = [numbered(QUERY, [(LOIRE, "", NO_FRAME)])]
    with pytest.raises(RagCompressError):
        Compression(Returning(returned)).run(batch)
    (outcome,) = Compression(Returning(returned), on_error="original").run(batch)
    assert (outcome.pieces, outcome.context) == (None, batch[0])
    assert "error" in outcome.event


def test_with_k_sets_how_many_documents_a_pipeline_retrieves():
    """The first stage of a pipeline gets k; without a retriever there is nothing to set."""
    retriever = BM25Retriever.from_documents(DOCUMENTS)
    pipeline = retriever >> Selection()
    assert len(with_k(pipeline, 2).run("river").documents) == 2
    assert with_k(pipeline, None) is pipeline
    for k in (2, None):
        with pytest.raises(InvalidInput, match="must be a retriever"):
            with_k(Selection(), k)


def test_pieces_go_back_to_their_own_sources():
    """A stage that reorders documents leaves each piece with its source; one that brings others in is refused."""

    @dataclass(frozen=True)
    class Reversed(Stage):
        def __call__(self, batch):
            return [Context.whole(context.query, reversed(context.documents)) for context in batch]

    @dataclass(frozen=True)
    class Foreign(Stage):
        def __call__(self, batch):
            return [Context.whole(context.query, [Document("elsewhere", LOIRE)]) for context in batch]

    context = numbered(QUERY, [(LOIRE, "", NO_FRAME), (RHINE, "", NO_FRAME)])
    (outcome,) = Compression(Reversed()).run([context])
    assert [(piece.source, piece.text) for piece in outcome.pieces] == [(1, RHINE), (0, LOIRE)]
    with pytest.raises(InvalidInput, match="a document that it was not given: 'elsewhere'"):
        Compression(Foreign()).run([context])
