"""`rag-compress demo`: the whole way from documents to a prompt, on real text that every machine has."""

from __future__ import annotations

import sys
import time

from rag_compress.checks import check_question
from rag_compress.cli.standard_library import docstrings, source_files
from rag_compress.cli.view import progress, show_context, show_counts, stderr, stdout
from rag_compress.compressors.extractive import ExtractiveCompressor
from rag_compress.prompts import PromptTemplate
from rag_compress.retrievers.bm25 import BM25Retriever
from rag_compress.types import Document

QUESTIONS = (
    "how do I find the n largest elements of a dataset?",
    "what does shutil.copytree do with symbolic links?",
    "how do I recursively delete a directory tree?",
)


def run_demo(question: str | None, k: int, max_tokens: int | None) -> None:
    """Shows what is kept for each question, and the prompt of the last one on stdout."""
    check_question(question)
    retriever = BM25Retriever.from_documents(_documents(), k)
    compressor = ExtractiveCompressor.default(max_tokens=max_tokens)
    for query in QUESTIONS if question is None else (question,):
        started = time.perf_counter()
        context = (retriever >> compressor).run(query)
        elapsed = time.perf_counter() - started
        stdout.print(f"\n{query}", style="bold cyan", markup=False)
        show_context(context, most_dropped=1)
        show_counts(context, compressor.selection.template, compressor)
        stderr.print(f"retrieved and compressed in {elapsed * 1000:.0f} ms", style="dim")
    stdout.print("\nThe prompt:", style="bold cyan")
    sys.stdout.write(PromptTemplate().format(context).text + "\n")


def _documents() -> list[Document]:
    files = source_files()
    read = progress(files, "reading the standard library", len(files))
    documents = list({document.id: document for file in read for document in docstrings(file)}.values())
    stderr.print(f"{len(documents):,} docstrings of the Python standard library", style="dim")
    return documents
