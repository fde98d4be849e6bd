"""The sections of the report on sentence scorers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean

from eval.datasets import EVIDENCE_SETS
from eval.extractive import SHARES, TESTED
from eval.markdown import interval_cell, p_cell, table
from eval.matrix import read_matrix
from eval.plots import plot_mean, plot_sets
from eval.results import RESULTS, Result, find_result, read_result
from eval.significance import randomisation_test
from eval.systems import ORACLE

BASELINE = "bm25"
"""What every other system is tested against."""

_ORDER = ("lead", "random", "bm25", "lexical", "biencoder", "classifier", "ensemble", "cascade", ORACLE)
_SHARES = [f"{100 * share:.0f}" for share in SHARES]
_TESTED = f"{100 * TESTED:.0f}"
_NEAR = 0.5

_THRESHOLD = """\
The same command with `--threshold`: what is kept, how often that is nothing, and the expected calibration error of
scores read as probabilities.
"""

Results = Mapping[str, Mapping[str, Result]]
"""By evidence set, then by system."""

_EXTRACTIVE = """\
## Which sentences are kept

`python -m eval.extractive --system SYSTEM --set SET --split test`

A budget is a share of all words of a question's passages. Sentences, as the data set cuts them, are taken by score,
best first; one is taken when it fits. **EV** is the share of the evidence sentences kept (mean over questions), **ANS**
the share of questions of which an answer is still in the kept text (of those whose full text holds one), **GC**, for
sets that label whole passages only, the share of the words of gold passages kept. Up to 500 questions with labelled
evidence are measured in each set: the first by the MD5 digest of their id. A random choice keeps about the budget.

Systems: `lead` keeps the beginning; `random` is seeded; `bm25` is BM25 (k1 1.2, b 0.75) on plain lower-cased words, the
named baseline; `lexical` is the library's `LexicalScorer`, the same formula on stemmed words without stop words, with
pairs of characters for scripts without spaces; `biencoder` is `BiEncoderScorer` with all-MiniLM-L6-v2; `classifier` is
`ClassifierScorer` with the weights in the package, which learned from the training splits of squad, hotpotqa, xquad,
tatqa, wtq, medquad, pubmedqa and qmsum, and whose rules for tables, for reports of trials and for long texts were
chosen on dev splits, of wtq, evinf, qmsum, policyqa and friendsqa; `ensemble` is `EnsembleScorer` with those two,
fitted on dev splits; `oracle` knows the labels and takes short evidence sentences first: the evidence that a budget
leaves room for. Any other scorer is measured with `--system module:object`.
"""


def extractive_sections(plots: Path) -> Iterator[str]:
    """Yields the sections on sentence scorers, and draws their plots."""
    results = _evidence_results()
    labelled = {name: systems for name, systems in results.items() if _has(systems, "EV")}
    curves = evidence_curves()
    mean = mean_curves(curves)
    plot_mean(mean, SHARES, plots / "evidence-mean.png", f"Evidence kept, mean over {len(curves)} sets")
    plot_sets(curves, SHARES, plots / "evidence-sets.png")
    yield _EXTRACTIVE
    yield "![Evidence kept against words kept, mean over sets](plots/evidence-mean.png)\n"
    yield f"### Mean evidence recall over {len(curves)} sets\n"
    areas = {s: fmean(labelled[name][s].scores["EV area"] for name in labelled) for s in mean}
    yield table(["system", *(f"{x}%" for x in _SHARES), "area"], [[s, *c, areas[s]] for s, c in mean.items()])
    yield f"### Evidence recall at {_TESTED}% of the words\n"
    yield f"With 95% bootstrap intervals; p by a paired randomisation test against `{BASELINE}`.\n"
    yield _significance_table(labelled, f"EV@{_TESTED}")
    yield "### Every budget\n"
    yield "![Evidence kept against words kept in each set](plots/evidence-sets.png)\n"
    yield table(["set", "figure", "system", *(f"{x}%" for x in _SHARES), "area"], _all_rows(results))
    yield from _languages()
    yield from _thresholds(results)
    yield from _passages(results)
    yield from _reproduction()


def _significance_table(results: Results, figure: str) -> str:
    systems = [s for s in _systems_of(results) if s not in (BASELINE, ORACLE)]
    rows = [
        [name, interval_cell(found[BASELINE], figure), *(_against(found, s, figure) for s in systems)]
        for name, found in results.items()
        if BASELINE in found
    ]
    return table(["set", BASELINE, *systems], rows)


def _all_rows(results: Results) -> Iterator[list[str | float | None]]:
    for name, systems in results.items():
        for figure in ("EV", "ANS", "GC"):
            for system, result in systems.items():
                if f"{figure}@{_TESTED}" in result.scores and (system != ORACLE or figure == "EV"):
                    yield [name, figure, system, *_curve(result, figure), result.scores[f"{figure} area"]]


def _languages() -> Iterator[str]:
    """Yields each language of xquad: the systems that were measured on all, tested against the baseline."""
    suffix = "-xquad-each-test"
    systems = [
        file.stem.removeprefix("extractive-").removesuffix(suffix)
        for file in RESULTS.glob(f"extractive-*{suffix}.json")
    ]
    found = {system: read_result(f"extractive-{system}{suffix}") for system in sorted(systems, key=_rank)}
    if BASELINE not in found:
        return
    figures = [figure for figure in found[BASELINE].samples if figure.startswith(f"EV@{_TESTED} ")]
    others = [system for system in found if system != BASELINE]
    yield f"### xquad by language, evidence recall at {_TESTED}% of the words\n"
    yield f"`{found[BASELINE].command.replace(BASELINE, 'SYSTEM')}`: as many questions of each language.\n"
    yield table(
        ["language", BASELINE, *others],
        [
            [figure.split()[1], interval_cell(found[BASELINE], figure), *(_against(found, s, figure) for s in others)]
            for figure in figures
        ],
    )


def _thresholds(results: Results) -> Iterator[str]:
    names = ("words kept", "EV at threshold", "empty, answerable", "empty, unanswerable", "calibration error")
    rows = [
        [name, system, result.command.rpartition(" ")[2], *(result.scores.get(key) for key in names)]
        for name, systems in results.items()
        for system, result in systems.items()
        if "words kept" in result.scores
    ]
    if rows:
        yield "### The default threshold and no budget\n"
        yield _THRESHOLD
        yield table(["set", "system", "threshold", *names], rows)


def _passages(results: Results) -> Iterator[str]:
    systems = [s for s in _systems_of(results) if s != ORACLE]
    rows = [
        [
            name,
            *(
                found[s].scores.get(f"passage {f}") if s in found else None
                for f in ("AUROC", "nDCG@10")
                for s in systems
            ),
        ]
        for name, found in results.items()
        if _has(found, "passage AUROC", at="")
    ]
    yield "### Passages ranked by their best sentence\n"
    yield "AUROC over all passages of all questions; nDCG@10 within a question's passages, mean over questions.\n"
    yield table(["set", *(f"{f} {s}" for f in ("AUROC", "nDCG@10") for s in systems)], rows)


def _reproduction() -> Iterator[str]:
    rows: list[tuple[str, str, str, float, float]] = [
        (row.system, row.data, name, published, result.scores[name])
        for row in read_matrix()
        if row.published and (result := find_result(row.result))
        for name, published in row.published.items()
    ]
    if not rows:
        return
    off = [row for row in rows if abs(row[3] - row[4]) > _NEAR]
    yield "### The data's own baselines, reproduced\n"
    met = f"Of the {len(rows)} figures that come with the data for `lead` and `bm25`, {len(rows) - len(off)} are met"
    yield f"{met} within {_NEAR} points. The others:\n"
    yield table(["system", "data", "figure", "published", "measured"], off)


def _evidence_results() -> dict[str, dict[str, Result]]:
    """Returns the test results of every set, the systems that we know first."""
    found: dict[str, dict[str, Result]] = {}
    for name in EVIDENCE_SETS:
        suffix = f"-{name}-test"
        systems = {
            f.stem.removeprefix("extractive-").removesuffix(suffix) for f in RESULTS.glob(f"extractive-*{suffix}.json")
        }
        found[name] = {system: read_result(f"extractive-{system}{suffix}") for system in sorted(systems, key=_rank)}
    return {name: systems for name, systems in found.items() if systems}


def _rank(system: str) -> tuple[int, str]:
    """Returns what sorts the systems that we know first, in our order, and the others by name."""
    return (_ORDER.index(system) if system in _ORDER else len(_ORDER), system)


def _systems_of(results: Results) -> list[str]:
    return list(dict.fromkeys(system for systems in results.values() for system in systems))


def _has(systems: Mapping[str, Result], figure: str, at: str = f"@{_TESTED}") -> bool:
    return any(f"{figure}{at}" in result.scores for result in systems.values())


def _curve(result: Result, figure: str) -> list[float]:
    return [result.scores[f"{figure}@{share}"] for share in _SHARES]


def evidence_curves() -> dict[str, dict[str, list[float]]]:
    """Returns the evidence recall at each share of the words, for each set with labelled evidence, for each system."""
    results = {name: systems for name, systems in _evidence_results().items() if _has(systems, "EV")}
    return {name: {s: _curve(r, "EV") for s, r in systems.items()} for name, systems in results.items()}


def mean_curves(curves: Mapping[str, Mapping[str, list[float]]]) -> dict[str, list[float]]:
    """Returns the mean over sets for each system that was measured on all of them."""
    known = dict.fromkeys(system for by_system in curves.values() for system in by_system)
    systems = [s for s in known if all(s in by_system for by_system in curves.values())]
    return {s: [fmean(values) for values in zip(*(c[s] for c in curves.values()), strict=True)] for s in systems}


def _against(found: Mapping[str, Result], system: str, figure: str) -> str | None:
    if system not in found:
        return None
    own, other = found[system].samples[figure], found[BASELINE].samples[figure]
    said = p_cell(randomisation_test(own, other)) if len(own) == len(other) else f"{len(own)} questions"
    return f"{found[system].scores[figure]:.1f} ({said})"
