"""Measures a summarizer on a summary set: `python -m eval.abstractive --system lead --set gsc`.

Any system but the three baselines is the folder of a summarizer, as `rag-compress train summarizer` leaves it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Annotated

import typer
from rich.console import Console
from rouge_score.rouge_scorer import RougeScorer

from eval.datasets import data_folder
from eval.grounding import unsupported_share
from eval.results import RESULTS, Out, Result, check_command, limited
from eval.summaries import SETS, SummaryRow, read_summaries
from rag_compress.compressors import AbstractiveCompressor, Chunking, ExtractiveCompressor
from rag_compress.models.summarizers.generation import Seq2SeqSummarizer
from rag_compress.prompts import PromptTemplate
from rag_compress.types import Context

LIMIT = 500
_BARE = PromptTemplate(source="{text}", tokenizer=lambda text: len(text.split()))
_TUNED = 200
"""Rows of the dev split that say how long summaries of this set are."""

System = Callable[[Sequence[SummaryRow], float], list[str]]
"""Returns a summary for each row; the ratio is that of the set's summaries on its dev split, in words."""


def lead(rows: Sequence[SummaryRow], ratio: float) -> list[str]:
    """Returns as many of the first words as summaries of the set have."""
    return [" ".join((words := row.source.split())[: max(1, round(ratio * len(words)))]) for row in rows]


def extractive(rows: Sequence[SummaryRow], ratio: float) -> list[str]:
    """Returns the sentences most like the whole text, or its question, within that many words, at least the best one.

    Source: centroid summaries (Radev et al., "Centroid-based summarization of multiple documents", 2004), by BM25.
    """
    compressor = ExtractiveCompressor.lexical(threshold=None, max_ratio=ratio, template=_BARE)
    best = ExtractiveCompressor.lexical(threshold=float("inf"), keep_best=1, template=_BARE)
    contexts = [Context.whole(row.query or row.source, [row.source]) for row in rows]
    return [
        _BARE.render_context(kept if kept.segments else one)
        for kept, one in zip(compressor(contexts), best(contexts), strict=True)
    ]


def deletion(rows: Sequence[SummaryRow], ratio: float) -> list[str]:
    """Returns the first sentences without brackets, subordinate clauses and times, down to the same number of words."""
    return [_deleted(row.source, max(1, round(ratio * len(row.source.split())))) for row in rows]


_BRACKETS = re.compile(r"\s*\([^()]*\)|\s*\[[^\[\]]*\]| -- .*? -- ")
_OPENING = re.compile(r"\A[^,]{1,60},\s+(?=(?:the|a|an|he|she|it|they|we|[A-Z])\b)")
_OPENERS = "which|who|whose|where|when|while|after|before|because|although|as|amid|following|if"
_CLAUSE = re.compile(rf",?\s+(?:{_OPENERS})\s.*", re.IGNORECASE)
_COMMA = re.compile(r",\s.*")


def _deleted(text: str, most: int) -> str:
    for pattern in (_BRACKETS, _OPENING, _CLAUSE, _COMMA):
        if len(text.split()) <= most:
            break
        shorter = pattern.sub("", text).strip()
        text = shorter if len(shorter.split()) >= 3 else text
    return " ".join(text.split()[: 2 * most]).rstrip(" .,;:") + "."


BASELINES: dict[str, System] = {"lead": lead, "extractive": extractive, "deletion": deletion}


def rouge(texts: Sequence[str], rows: Sequence[SummaryRow]) -> dict[str, list[float]]:
    """Returns the F1 of ROUGE-1, -2 and -L of each text, with stemming, against the reference nearest to it.

    Source: Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004, as the package rouge-score computes it.
    """
    kinds = ["rouge1", "rouge2", "rougeL"]
    scorer = RougeScorer(kinds, use_stemmer=True)
    found = [scorer.score_multi(list(row.references), text) for row, text in zip(rows, texts, strict=True)]
    return {f"ROUGE-{kind[-1]}": [100 * score[kind].fmeasure for score in found] for kind in kinds}


def figures(texts: Sequence[str], rows: Sequence[SummaryRow]) -> dict[str, float]:
    """Returns the means of ROUGE, the words that are left, and those that the sources do not hold."""
    means = {kind: fmean(values) for kind, values in rouge(texts, rows).items()}
    unsupported = unsupported_share(texts, [row.source for row in rows])
    return {**means, "words": words_figure(texts, rows), "unsupported words": unsupported}


def noted(contexts: Sequence[Context]) -> dict[str, float]:
    """Returns how many sentences were checked, replaced and dropped, and how often (%) the extract stands in."""
    notes = [context.notes["abstractive"] for context in contexts]
    counts = {f"{key} sentences": float(sum(n[key] for n in notes)) for key in ("checked", "replaced", "dropped")}
    return {**counts, "extract stands in": 100 * fmean(bool(note["stood_in"]) for note in notes)}


def words_figure(texts: Sequence[str], rows: Sequence[SummaryRow]) -> float:
    """Returns the mean share, in percent, of the words that are left."""
    pairs = zip(rows, texts, strict=True)
    return 100 * fmean(len(text.split()) / max(1, len(row.source.split())) for row, text in pairs)


def summarized(folder: str, rows: Sequence[SummaryRow]) -> tuple[list[str], list[str], list[Context]]:
    """Returns what the model writes, and what the compressor leaves of it, as texts and as contexts."""
    summarizer = Seq2SeqSummarizer.from_folder(folder, batch_size=16)
    limits = [max(16, len(row.source.split())) for row in rows]
    raw = summarizer.summarize([row.query for row in rows], [row.source for row in rows], limits)
    compressor = AbstractiveCompressor(
        _Known(dict(zip((row.source for row in rows), raw, strict=True))),
        chunking=Chunking(10**6),
        fallback=ExtractiveCompressor.lexical(threshold=None),
        template=_BARE,
    )
    contexts = compressor([Context.whole(row.query, [row.source]) for row in rows])
    return [t if isinstance(t, str) else "" for t in raw], [_BARE.render_context(c) for c in contexts], contexts


class _Known:
    """Hands out summaries that were written before, so that nothing is written twice."""

    def __init__(self, known: dict[str, str | Exception]) -> None:
        self.known = {" ".join(text.split()): summary for text, summary in known.items()}

    def summarize(
        self, queries: Sequence[str], texts: Sequence[str], max_tokens: Sequence[int]
    ) -> list[str | Exception]:
        """Returns them."""
        del queries, max_tokens
        return [self.known[" ".join(text.split())] for text in texts]


def main(
    system: Annotated[str, typer.Option(help=f"One of {', '.join(BASELINES)}, or the folder of a summarizer.")],
    name: Annotated[str, typer.Option("--set", help=f"One of {', '.join(SETS)}.")],
    split: Annotated[str, typer.Option(help="test or dev.")] = "test",
    limit: Annotated[int, typer.Option(help="The most texts.")] = LIMIT,
    data: Annotated[Path | None, typer.Option(help="The data folder (default: $RAG_COMPRESS_DATA).")] = None,
    out: Out = RESULTS,
) -> None:
    """Measures one system on one set and writes `abstractive-<system>-<set>-<split>.json`."""
    command = f"python -m eval.abstractive --system {system} --set {name} --split {split}{limited(limit, LIMIT)}"
    stem = f"abstractive-{system if system in BASELINES else Path(system).name}-{name}-{split}"
    check_command(stem, command, out)
    folder = data_folder(data)
    rows = list(read_summaries(folder, name, split))[:limit]
    dev = list(read_summaries(folder, name, "dev"))[:_TUNED]
    ratio = words_figure([row.references[0] for row in dev], dev) / 100
    start = time.perf_counter()
    details: dict[str, object] = {"texts": len(rows), "ratio": round(ratio, 3)}
    if system in BASELINES:
        texts, more = BASELINES[system](rows, ratio), {}
    else:
        raw, texts, contexts = summarized(system, rows)
        more = {f"{key}, unchecked": value for key, value in figures(raw, rows).items()} | noted(contexts)
        details["examples"] = [[row.source, text] for row, text in list(zip(rows, raw, strict=True))[:8]]
    details["seconds"] = round(time.perf_counter() - start, 1)
    scores = figures(texts, rows) | more
    result = Result(
        command=command,
        scores=scores,
        details=details,
        samples={"ROUGE-L": rouge(texts, rows)["ROUGE-L"]},
    )
    file = result.write(stem, out)
    Console().print(f"{file.name}: " + ", ".join(f"{key} {value:.1f}" for key, value in scores.items()))


if __name__ == "__main__":
    typer.run(main)
