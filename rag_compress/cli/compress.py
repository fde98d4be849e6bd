"""`rag-compress compress`: documents or an index, a question and limits make a prompt."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from rag_compress.checks import check_count, check_question
from rag_compress.cli.options import Index, Output, Scoring, Soft, Sources, Writing
from rag_compress.cli.reading import Skipped, read
from rag_compress.cli.view import show_context, show_counts, stderr, to_json, token_counts, visible, working
from rag_compress.cli.xrag import server_request, soft_compressor
from rag_compress.compressors.extractive import ExtractiveCompressor
from rag_compress.compressors.projector import XRAG, ProjectorCompressor
from rag_compress.errors import InvalidInput
from rag_compress.prompts import PromptTemplate
from rag_compress.stages import Stage
from rag_compress.tokens import estimate_tokens, token_counter
from rag_compress.types import Context, Segment


def run_compress(
    query: str,
    source: Index | Sources,
    k: int,
    limits: Mapping[str, Any],
    scoring: Scoring,
    tokenizer: str | None,
    output: Output,
    form: Soft | Writing | None = None,
) -> None:
    """Prints the prompt of a question over an index folder or documents."""
    check_count("k", k, least=1)
    check_question(query)
    counter = token_counter(tokenizer) if tokenizer else estimate_tokens
    template = replace(XRAG if isinstance(form, Soft) else PromptTemplate(), tokenizer=counter)
    if isinstance(form, Soft):
        compressor: Stage = soft_compressor(form.projector, limits, template, exact=form.exact)
    elif isinstance(form, Writing):
        compressor = _writer(form.summarizer, limits, template, scoring)
    else:
        compressor = _extractor(limits, template, scoring)
    context, skipped = _retrieved(query, source, k)
    with working("compressing"):
        (context,) = compressor([context])
    if output is Output.request and isinstance(compressor, ProjectorCompressor):
        sys.stdout.write(to_json(server_request(compressor.projector, template.format(context))) + "\n")
    else:
        _print(context, template, output)
    _warn_of_stand_ins(context)
    if stderr.is_terminal or output is Output.view:
        show_counts(context, template, compressor)
    skipped.exit()


def _writer(summarizer: str | None, limits: Mapping[str, Any], template: PromptTemplate, scoring: Scoring) -> Stage:
    """Returns an extract and a summary of it: the budget is the summary's, other limits choose what it is made from."""
    if not summarizer:
        raise InvalidInput(
            "--method abstractive needs --summarizer: a folder that `rag-compress train summarizer` wrote, or "
            "module:object, a LangChain chat model for instance"
        )
    from rag_compress.batch.methods import writer

    extract = _extractor({**limits, "max_tokens": None}, template, scoring)
    return extract >> writer(summarizer, {"max_tokens": limits["max_tokens"], "fallback": extract}, template)


def _extractor(limits: Mapping[str, Any], template: PromptTemplate, scoring: Scoring) -> ExtractiveCompressor:
    given = {name: value for name, value in limits.items() if value is not None}
    return ExtractiveCompressor.named(*scoring, **given, template=template)


def _retrieved(query: str, source: Index | Sources, k: int) -> tuple[Context, Skipped]:
    if isinstance(source, Index):
        from rag_compress.retrievers import load_retriever

        with working("retrieving"):
            return Context.whole(query, load_retriever(*source).retrieve([query], k)[0]), Skipped()
    documents, skipped = read(source)
    if len(documents) <= k:
        return Context.whole(query, documents), skipped
    from rag_compress.retrievers.bm25 import BM25Retriever

    with working("retrieving"):
        (found,) = BM25Retriever.from_documents(documents, k).retrieve([query])
    stderr.print(f"BM25 took {len(found)} of {len(documents):,} documents (-k {k})", style="dim")
    return Context.whole(query, found), skipped


def _warn_of_stand_ins(context: Context) -> None:
    """Says on stderr that the extract stands in for a summary, and why."""
    notes = context.notes.get("abstractive", {})
    if stood_in := notes.get("stood_in"):
        reasons = "; ".join(notes.get("errors", stood_in))
        count = sum(stood_in.values())
        stderr.print(
            f"no summary of {count} of {notes['chunks']} chunks, the extract stands in: {visible(reasons)}",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )


def _print(context: Context, template: PromptTemplate, output: Output) -> None:
    if output is Output.view:
        show_context(context)
    elif output is Output.json:
        sys.stdout.write(to_json(_record(context, template)) + "\n")
    else:
        sys.stdout.write(template.format(context).text + "\n")


def _record(context: Context, template: PromptTemplate) -> dict[str, Any]:
    before, after = token_counts(context, template)
    prompt = template.format(context)
    soft = {"placeholder": prompt.placeholder, "soft_tokens": [array.tolist() for array in prompt.soft_tokens]}
    return {
        "query": context.query,
        "prompt": prompt.text,
        **(soft if prompt.soft_tokens else {}),
        "original_tokens": before,
        "compressed_tokens": after,
        "compression_rate": after / before if before else 0.0,
        "segments": [_segment(segment) for segment in context.segments],
        "dropped": [_segment(segment) for segment in context.dropped],
        "documents": [
            {"id": d.id, "title": d.title, "score": d.score, "metadata": dict(d.metadata)} for d in context.documents
        ],
        "notes": dict(context.notes),
    }


def _segment(segment: Segment) -> dict[str, Any]:
    return {"text": segment.text, "score": segment.score, "spans": [asdict(span) for span in segment.spans]} | (
        {} if segment.verbatim else {"verbatim": False}
    )
