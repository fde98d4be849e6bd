"""The sections of the report on time and memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from eval.extractive import SHARES, TESTED
from eval.markdown import table
from eval.plots import plot_speed
from eval.report_extractive import evidence_curves, mean_curves
from eval.results import Result, find_result, named_results
from eval.speed import COUNTS, SOME
from eval.speed_systems import OURS, SYSTEMS

_SPEED = """\
## Speed on a CPU

`python -m eval.speed` on {machine}, {threads} threads, passages of {words} words.

Each system compresses the passages of a query from text to text, in a process of its own, warm, on the same texts;
every peer takes turns with ours. Times are medians (p50) and 95th percentiles; rates are those with the most passages
that fit the time a system is given. **Times slower** is the ratio of medians in the same turns. With `random` weights
(the real ones cannot be had here) the architecture is the real one, and so is the speed; memory and cold start are
then only roughly so, without the large vocabularies.
"""

_ELSEWHERE = """\
**Times slower** on other machines, by the same command, and what each machine can do. Where torch multiplies at a lower
rate than onnxruntime, as with MKL on a processor of AMD, its peers are that much further behind.
"""

_FLOOR = """\
The floor is the highest rate of the model's matrix products in onnxruntime on this machine, in the same run: fp32
{fp32:.0f} GFLOP/s, int8 {int8:.0f} GOP/s, which is {floor:.0f} passages a second. The graph alone makes {graph:.0f}, or
{share:.0f}% of that; {outside:.0f}% of the time of a query of 40 passages is spent outside it.
"""


def speed_sections(plots: Path) -> Iterator[str]:
    """Yields the comparison with the peers, and draws its plot."""
    results = speed_results()
    if not results:
        return
    result, *others = results
    s, d = result.scores, result.details
    yield _SPEED.format(machine=d["machine"], threads=d["threads"], words=d["words a passage"])
    columns = [f"{p} ms, {count}" for count in COUNTS for p in ("p50", "p95")]
    figures = ["times slower", "passages/s", "tokens/s", *columns, "peak MiB", "cold start s"]
    rows = [
        [f"{name} ({title})", weights, *(s.get(f"{name}: {figure}") for figure in figures)]
        for name, (title, weights) in d["systems"].items()
    ]
    yield table(["system", "weights", *figures], rows)
    for reason in d["not measured"]:
        yield f"Not measured: {reason}\n"
    plot_speed(_rates(result), _qualities(), plots / "speed-quality.png")
    yield "![Passages a second against evidence kept](plots/speed-quality.png)\n"
    yield from _floor(result)
    if others:
        yield from _machines(results)


def speed_results() -> list[Result]:
    """Returns the results of the comparison, other machines' behind the first; none where it has not run."""
    first = find_result("speed")
    others = [each for name, each in named_results("speed").items() if name != SOME]
    return [first, *others] if first else []


def _machines(results: Sequence[Result]) -> Iterator[str]:
    """Yields the ratios, and what else tells machines apart, side by side."""
    yield _ELSEWHERE
    rows = [
        [name, *(each.scores.get(key) for each in results)]
        for name, key in [
            *((name, f"{name}: times slower") for name in results[0].details["systems"] if name != OURS),
            ("share of the int8 floor, %", "graph: share of the int8 floor"),
            ("outside the graph, %", "outside the graph"),
            ("ours: p50 ms, 20 passages", f"{OURS}: p50 ms, 20"),
            ("fp32 products in torch, GFLOP/s", "floor: torch fp32 GFLOP/s"),
            ("fp32 products in onnxruntime, GFLOP/s", "floor: fp32 GFLOP/s"),
        ]
    ]
    yield table(["", *(each.details["machine"] for each in results)], rows)


def _floor(result: Result) -> Iterator[str]:
    """Yields how near the graph comes to the machine's floor, and how time grows."""
    s = result.scores
    names = {"fp32": "floor: fp32 GFLOP/s", "int8": "floor: int8 GOP/s", "floor": "floor: passages/s"}
    names |= {"graph": "graph: passages/s", "share": "graph: share of the int8 floor", "outside": "outside the graph"}
    yield _FLOOR.format(**{key: s[name] for key, name in names.items()})
    yield "How time grows: the exponent is the slope of its logarithm, 1 when it is linear.\n"
    parts = dict.fromkeys(key.partition(":")[0] for key in s if key.endswith(": exponent"))
    rows = []
    for part in parts:
        times = {key.rpartition(" ")[2]: ms for key, ms in s.items() if key.startswith(f"{part}: ms at ")}
        rows.append(
            [part, ", ".join(f"{size}: {ms:.1f}" for size, ms in times.items()), f"{s[f'{part}: exponent']:.2f}"]
        )
    yield table(["number of", "milliseconds at each", "exponent"], rows)


def _rates(result: Result) -> dict[str, float]:
    return {n: s for n in result.details["systems"] if (s := result.scores.get(f"{n}: passages/s")) is not None}


def _qualities() -> dict[str, float]:
    """Returns the mean evidence recall of the systems whose scores were measured."""
    curves = mean_curves(evidence_curves())
    place = SHARES.index(TESTED)
    return {n: curves[s.quality][place] for n, s in SYSTEMS.items() if s.quality in curves}


def index_sections() -> Iterator[str]:
    """Yields the comparison of the backends of BM25."""
    if result := find_result("index-speed"):
        s = result.scores
        keys = ("index s", "query ms", "query ms, 95th percentile", "peak MiB", "peak MiB before indexing")
        yield "## 100,000 passages of 100 words: bm25s against rank-bm25\n"
        yield f"""\
`{result.command}` on {result.details["machine"]}; each backend in its own process, queries one by one. Finding the
words takes {result.details["words s"]} s of either's index time. Ratios are rank-bm25 over bm25s.
"""
        rows = [[k, s[f"bm25s: {k}"], s[f"rank-bm25: {k}"], s.get(f"ratio: {k}")] for k in keys]
        yield table(["figure", "bm25s", "rank-bm25", "ratio"], rows)


def import_sections() -> Iterator[str]:
    """Yields what starting costs."""
    if result := find_result("import-time"):
        yield "## Start-up\n"
        yield f"`{result.command}`: medians, each run in a process of its own.\n"
        yield table(["figure", "seconds"], [[k, f"{v:.3f}"] for k, v in result.scores.items()])
        yield f"Heavy modules that `import rag_compress` loads: {result.details['heavy modules loaded']}.\n"
