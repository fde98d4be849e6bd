"""The section of the report on soft tokens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from eval.markdown import table
from eval.plots import plot_bars
from eval.results import Result, find_result

_SOFT = """\
## Soft tokens

`python -m eval.soft_tokens measure`

How well a small LLM (10 million weights, `python -m eval.small_llm`, trained here, then frozen) answers questions of
squad's test split about a passage of at most 56 words, and how well it says that passage: the mean negative
log-likelihood of a token (nats, lower is better), with nothing to read, with the soft tokens of another passage, with
the passage's own, and with its text. **Gap closed** is the share of the way from nothing to the text, in %. The
intervals (95%, bootstrap over questions) are of how far the right soft tokens are below nothing and below those of
another passage. Projector, LLM and encoder (all-MiniLM-L6-v2) have seen neither these passages nor their articles.
Such an LLM knows very little, and answers hardly any question exactly, even from the text; what a large one makes of a
soft token, these figures do not say. Where the right soft tokens are ahead, they are so by little: enough to show that
the path from the embedding to the LLM works, and no reason to use it with an LLM of this size. The recipe:

    python -m eval.small_llm --out eval/cache/llm-1 --minutes 48
    python -m eval.small_llm --start eval/cache/llm-1 --out eval/cache/llm --keywords 0.6 --rate 5e-4 --minutes 10
    python -m eval.soft_tokens data --out eval/cache/soft
    rag-compress train projector --llm eval/cache/llm --encoder ENCODER --tokens K --out eval/cache/soft/kK \\
        --data eval/cache/soft/train.jsonl.gz --dev eval/cache/soft/dev.jsonl.gz {options}
"""
_STORED = """\
The same for k = 1 with embeddings that were kept in less room. As little comes of the whole embedding here, little can
be lost:
"""
_CEILING = """\
How much these tokens could hold: the NLL of {passages} of the passages from soft tokens that were fitted to each of
them by itself (`python -m eval.soft_tokens ceiling`). No projector does that: it has only the embedding, and has to be
right for passages that it has never seen. So what is missing between this table and the one above was lost by the
projector, and what is missing to the text, by the LLM.
"""
_COST = """\
What reading one question costs (`python -m eval.soft_tokens cost`; batches of one, this machine). The encoder runs once
for each document, when it is indexed; a question pays for it only if the document was not.
"""
_PARTS = ("none", "text", "soft token", "encoder", "projector")


def soft_sections(plots: Path) -> Iterator[str]:
    """Yields what soft tokens tell, what stored embeddings cost, and what reading costs."""
    result = find_result("soft-tokens")
    if result:
        yield _SOFT.replace("{options}", str(result.details.get("recipe", "")))
        found = [k for k in (1, 2, 4, 8) if f"answer: k={k}" in result.scores]
        rows = [_row(result, task, k) for task in ("answer", "passage") for k in found]
        header = "task, k|nothing|another's|its own|text|gap closed|below nothing|below another's".split("|")
        yield table(header, rows)
        yield _matches(result)
        yield _STORED
        stored = ["k=1", "k=1, float16", "k=1, int8", "k=1, pq"]
        names = {"k=1": "float32"}
        kept = [[names.get(n, n[5:]), *(_three(result, f"{t}: {n}") for t in ("answer", "passage"))] for n in stored]
        yield table(["kept as", "NLL of the answer", "NLL of the passage"], kept)
        closed = {f"k={k}": result.scores[f"passage: k={k}, gap closed"] for k in found}
        answers = {f"k={k}": result.scores[f"answer: k={k}, gap closed"] for k in found}
        plot_bars({"answers": answers, "passages": closed}, "gap closed, %", plots / "soft-tokens.png")
        yield "![The share of the gap closed, by soft tokens](plots/soft-tokens.png)\n"
    if ceiling := find_result("soft-tokens-ceiling"):
        yield _CEILING.replace("{passages}", str(ceiling.details["passages"]))
        rows = [
            [f"k = {k}", _three(ceiling, f"k={k}, fitted"), ceiling.scores[f"k={k}, gap closed"]] for k in (1, 2, 4, 8)
        ]
        ends = [["nothing", _three(ceiling, "none"), None], ["text", _three(ceiling, "text"), None]]
        yield table(["from", "NLL of the passage", "gap closed, %"], [ends[0], *rows, ends[1]])
    if cost := find_result("soft-tokens-cost"):
        yield _COST
        yield table(["", "tokens read", "ms", "MFLOPs"], [_cost(cost, part) for part in _PARTS])


def _three(result: Result, name: str) -> str:
    return f"{result.scores[name]:.3f}"


def _row(result: Result, task: str, k: int) -> list[str | float | None]:
    own, other = f"{task}: k={k}", f"{task}: k={k}, another passage"
    cells = [_three(result, name) for name in (f"{task}: none", other, own, f"{task}: text")]
    leads = [
        f"{result.scores[f'{own} below {rival}, low']:.3f} to {result.scores[f'{own} below {rival}, high']:.3f}"
        for rival in ("none", "another passage")
    ]
    return [f"{task}, {k}", *cells, result.scores[f"{own}, gap closed"], *leads]


def _matches(result: Result) -> str:
    states = {"none": "nothing", "k=1, another passage": "another's token", "k=1": "its own token", "text": "the text"}
    said = [f"{name} {result.scores[f'exact match: {state}']:.1f}%" for state, name in states.items()]
    return f"Answers that match exactly: {', '.join(said)}, of {result.details['questions']} questions.\n"


def _cost(result: Result, part: str) -> list[str | float | None]:
    tokens = result.scores.get(f"tokens: {part}")
    time, work = result.scores[f"ms: {part}"], result.scores[f"MFLOPs: {part}"]
    return [part, tokens, f"{time:.2f}", f"{work:,.0f}"]
