"""`rag-compress index` and `rag-compress search`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.text import Text

from rag_compress.checks import check_count, check_question
from rag_compress.cli.options import Retrieval, Sources
from rag_compress.cli.reading import read
from rag_compress.cli.view import progress, stderr, stdout, to_json, visible, working
from rag_compress.errors import InvalidInput, counted
from rag_compress.models.torch import as_encoder
from rag_compress.retrievers import (
    BM25Retriever,
    DenseRetriever,
    FeedbackRetriever,
    HybridRetriever,
    load_retriever,
)
from rag_compress.retrievers.index_folder import indexed_text, replaceable
from rag_compress.retrievers.storage import Storage
from rag_compress.text import split_document
from rag_compress.types import Document

_EXCERPT, _BATCH = 160, 256


def build_index(
    sources: Sources, out: Path, method: Retrieval, encoder: str, passage_words: int, storage: Storage
) -> None:
    """Reads documents, cuts them into passages, indexes and saves them."""
    check_count("passage_words", passage_words)
    if storage != "float32" and method is not Retrieval.dense:
        raise InvalidInput(f"--storage {storage} is for --method dense, not {method}")
    replaceable(out)  # a wrong folder is told before hours of encoding, not after
    documents, skipped = read(sources)
    passages = documents
    if passage_words:
        cut = progress(documents, "cutting", len(documents))
        passages = [passage for document in cut for passage in split_document(document, passage_words)]
    if method is not Retrieval.bm25:
        passages = _embedded(passages, encoder)
    with working(f"indexing {counted(len(passages), 'passage')}"):
        _indexed(passages, method, encoder, storage).save(out)
    done = f"indexed {counted(len(documents), 'document')} as {counted(len(passages), 'passage')} in {out}"
    stderr.print(done, markup=False, soft_wrap=True)
    skipped.exit()


def search_index(folder: Path, query: str, k: int, encoder: str | None, as_json: bool) -> None:
    """Prints the documents that an index finds, best first."""
    check_question(query)
    with working("searching"):
        (found,) = load_retriever(folder, encoder or None).retrieve([query], k)
    for document in found:
        if as_json:
            record = {name: getattr(document, name) for name in ("id", "score", "title", "text", "metadata")}
            sys.stdout.write(to_json(record) + "\n")
        else:
            stdout.print(_line(document))
    if not found:
        stderr.print("nothing found", style="yellow")


def _indexed(
    documents: Sequence[Document], method: Retrieval, encoder: str, storage: Storage
) -> BM25Retriever | DenseRetriever | HybridRetriever | FeedbackRetriever:
    if method is Retrieval.bm25:
        return BM25Retriever.from_documents(documents)
    if method is Retrieval.dense:
        return DenseRetriever.from_documents(documents, encoder, storage=storage)
    kind = HybridRetriever if method is Retrieval.hybrid else FeedbackRetriever
    return kind.from_documents(documents, encoder)


def _embedded(documents: Sequence[Document], encoder: str) -> list[Document]:
    """Returns the documents with their vectors, encoded in batches under a progress bar."""
    batches = [documents[start : start + _BATCH] for start in range(0, len(documents), _BATCH)]
    embedded: list[Document] = []
    for batch in progress(batches, "encoding", len(batches)):
        vectors = as_encoder(encoder).encode([indexed_text(document) for document in batch])
        embedded.extend(replace(d, embedding=vector) for d, vector in zip(batch, vectors, strict=True))
    return embedded


def _line(document: Document) -> Text:
    text = visible(document.text)
    excerpt = text if len(text) <= _EXCERPT else text[: _EXCERPT - 1] + "…"
    return Text.assemble((f"{document.score:7.3f} ", "dim"), (visible(document.id), "bold cyan"), f"  {excerpt}")
