"""The figures in the README: written by the report, so that no number there is typed by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from eval.extractive import SHARES
from eval.markdown import table
from eval.report_extractive import evidence_curves, mean_curves
from eval.report_speed import speed_results
from eval.results import find_result
from eval.speed_systems import OURS

_BLOCK = re.compile(r"(<!-- figures[^>]*-->\n).*?(<!-- end of figures -->)", re.DOTALL)
_SYSTEMS = {
    "random": "a random choice",
    "lead": "the beginning",
    "bm25": "BM25 on plain words",
    "biencoder": "bi-encoder, all-MiniLM-L6-v2 (RECOMP's way)",
    "lexical": "`LexicalScorer`, the default without onnxruntime",
    "classifier": "`ClassifierScorer`, the default",
    "ensemble": "`EnsembleScorer`, the classifier and the bi-encoder",
    "oracle": "*all that the budget leaves room for*",
}
_RETRIEVERS = {
    "bm25": "BM25",
    "dense": "dense, all-MiniLM-L6-v2",
    "hybrid (RRF)": "hybrid, reciprocal rank fusion",
    "hybrid + feedback, after": "hybrid with feedback",
}


_PEERS = {
    "torch eager": "the same classifier in torch, fp32",
    "EmbeddingsFilter": "LangChain's `EmbeddingsFilter`, all-MiniLM-L6-v2 on whole passages",
    "SentenceEmbeddingOptimizer": "LlamaIndex's `SentenceEmbeddingOptimizer`, all-MiniLM-L6-v2 on sentences",
    "ModernBERT pruner": "a pruner of OpenProvence's smallest shape, 30M",
    "llmlingua mBERT": "the package `llmlingua`, LLMLingua-2 with mBERT",
    "llmlingua XLM-R": "the package `llmlingua`, LLMLingua-2 with XLM-R-large",
    "DeBERTa pruner": "a pruner of Provence's shape, DeBERTa-v3-large",
    "EXIT": "EXIT's loop, Gemma-2B's shape (one of its 18 layers, times 18)",
}


def write_figures(readme: Path) -> None:
    """Replaces what stands between the marks of the README by the figures at hand."""
    text = readme.read_text(encoding="utf-8")
    figures = "\n".join(_figures())
    readme.write_text(_BLOCK.sub(lambda match: f"{match[1]}\n{figures}\n{match[2]}", text), encoding="utf-8")


def _figures() -> Iterator[str]:
    curves = evidence_curves()
    mean = mean_curves(curves)
    yield f"Evidence sentences kept at a share of the words, mean over {len(curves)} test sets (%):\n"
    header = ["scorer", *(f"{100 * share:.0f}%" for share in SHARES)]
    yield table(header, [[name, *mean[system]] for system, name in _SYSTEMS.items() if system in mean])
    yield "![Evidence kept against words kept, mean over the sets](eval/plots/evidence-mean.png)\n"
    yield from _retrieval()
    yield from _peers()
    yield from _speed()


def _retrieval() -> Iterator[str]:
    found = {name: result for name in ("cranfield", "cisi") if (result := find_result(f"retrieval-{name}"))}
    if found:
        yield "Retrieval, nDCG@10 and recall@100 (%):\n"
        header = ["retriever", *(f"{name} {figure}" for name in found for figure in ("nDCG@10", "recall@100"))]
        yield table(
            header,
            [
                [name, *(r.scores[f"{key}: {figure}"] for r in found.values() for figure in ("nDCG@10", "R@100"))]
                for key, name in _RETRIEVERS.items()
            ],
        )


def _peers() -> Iterator[str]:
    machines = speed_results()
    if not machines:
        return
    yield "How many times as long as ours the peers take for the same passages, in turns in one run on a CPU:\n"
    rows = [[title, *(each.scores.get(f"{name}: times slower") for each in machines)] for name, title in _PEERS.items()]
    own = [each.scores.get(f"{OURS}: p50 ms, 20") for each in machines]
    rows.append(["*ours: milliseconds for 20 passages of 130 words*", *own])
    yield table(["peer", *(each.details["machine"] for each in machines)], rows)
    yield "Pruners, `llmlingua` and EXIT have random weights here, which are as fast: see RESULTS.md for each one.\n"


def _speed() -> Iterator[str]:
    if index := find_result("index-speed"):
        ours, theirs = (index.scores[f"{backend}: query ms"] for backend in ("bm25s", "rank-bm25"))
        times = f"{ours:.1f} ms, {theirs / ours:.0f} times less than with rank-bm25 in the same run"
        yield f"Over 100,000 passages, a BM25 query takes {times}.\n"
    if start := find_result("import-time"):
        seconds = {name: value for name, value in start.scores.items() if name.endswith(", s")}
        yield "Start-up: " + "; ".join(f"`{n.removesuffix(', s')}` {v:.2f} s" for n, v in seconds.items()) + ".\n"
