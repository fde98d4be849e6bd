"""How fast this machine multiplies matrices, how near our graph comes to that, and how its time grows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from eval.speed_systems import Run
from rag_compress.compressors import ExtractiveCompressor
from rag_compress.models.classifier.engines import load_engine
from rag_compress.models.classifier.windows import WindowCutter, load_tokenizer
from rag_compress.models.protocols import Passage
from rag_compress.scorers import ClassifierScorer
from rag_compress.text import cut

_BUNDLED = Path(__file__).parents[1] / "rag_compress" / "models" / "bundled"
_HIDDEN, _INNER, _LAYERS = 384, 1536, 6
_ROWS = (128, 256, 512)
_SHAPES = [(_HIDDEN, _HIDDEN)] * 4 + [(_HIDDEN, _INNER), (_INNER, _HIDDEN)]
"""The weights of one layer: query, key, value, output, and the two of the feed-forward network."""


def flops(tokens: int) -> float:
    """Returns the floating-point operations of one pass of MiniLM-L6 over so many tokens, heads and norms left out.

        layers * (2 * tokens * (4 h h + 2 h f) + 4 * tokens^2 * h)

    Each multiplication and addition counts: two for each weight and token, and scores and sums of attention.
    """
    weights = sum(rows * columns for rows, columns in _SHAPES)
    return float(_LAYERS * (2 * tokens * weights + 4 * tokens**2 * _HIDDEN))


def matrix_rate(kind: str, threads: int, seconds: float = 1.0) -> float:
    """Returns the highest rate, in operations a second, of a layer's matrix products, on so many threads side by side.

    `kind` is `fp32` or, for unsigned activations and signed weights, `int8` (MatMulInteger), both in onnxruntime; or
    `torch fp32`, what peers in torch multiply with.
    """
    rates = []
    for rows in _ROWS:
        run = _torch_products(rows) if kind == "torch fp32" else _products(kind, rows)
        count = sum(2 * rows * a * b for a, b in _SHAPES)
        rates.append(count * _runs_a_second(run, threads, seconds / len(_ROWS)))
    return max(rates)


def graph_seconds(query: str, passages: Sequence[str], threads: int, repeats: int = 5) -> tuple[float, float, int]:
    """Returns the seconds that our graph alone takes for the passages, its operations, and their tokens.

    Windows run as in our scorer, on so many threads; the seconds are the median of the repeats.
    """
    cutter = WindowCutter(load_tokenizer(_BUNDLED / "tokenizer.json"))
    readings = cutter.read(query, [Passage("", text, cut(text)) for text in passages])
    windows = [window for reading in readings for window in reading.windows]
    engine = load_engine(_BUNDLED, "cpu", threads)
    times = [_seconds(partial(engine.run, windows)) for _ in range(repeats + 1)]
    sizes = [len(window.ids) for window in windows]
    return median(times[1:]), sum(map(flops, sizes)), sum(sizes)


def scaling(texts: Sequence[str], query: str, threads: int, repeats: int = 3) -> dict[str, dict[int, float]]:
    """Returns milliseconds of our default by the number of passages, by words, and by sentences of one passage."""
    words = " ".join(texts).split()
    passages = {count: list(texts[:count]) for count in (5, 10, 20, 40, 80) if count <= len(texts)}
    lengths = {count: [" ".join(words[:count])] for count in (130, 260, 520, 1040, 2080) if count <= len(words)}
    fixed = [" ".join(words[:256])]
    run = _ours(threads)
    return {
        "passages": {count: _milliseconds(run, query, group, repeats) for count, group in passages.items()},
        "words": {count: _milliseconds(run, query, group, repeats) for count, group in lengths.items()},
        "sentences": {
            count: _milliseconds(_ours(threads, pieces=count), query, fixed, repeats) for count in (2, 4, 8, 16, 32)
        },
    }


def exponent(times: dict[int, float]) -> float:
    """Returns the slope of time against size, both as logarithms: 1 when it is linear, 0 when it does not matter."""
    sizes = np.log([float(size) for size in times])
    return float(np.polyfit(sizes, np.log(list(times.values())), 1)[0])


def cut_into(text: str, pieces: int) -> list[tuple[int, int]]:
    """Returns the offsets of so many pieces of a text of about one length, cut at spaces."""
    spaces = [i for i, character in enumerate(text) if character == " "]
    ends = [spaces[len(spaces) * i // pieces] for i in range(1, pieces)]
    return list(zip([0, *(end + 1 for end in ends)], [*ends, len(text)], strict=True))


def _ours(threads: int, pieces: int | None = None) -> Run:
    scorer = ClassifierScorer(workers=threads, device="cpu")
    if pieces is None:
        return ExtractiveCompressor(scorer).compress
    return ExtractiveCompressor(scorer, splitter=lambda text: tuple(cut_into(text, pieces))).compress


def _milliseconds(run: Run, query: str, passages: Sequence[str], repeats: int) -> float:
    times = [_seconds(partial(run, f"{query} {i}", passages)) for i in range(repeats + 1)]
    return 1000 * median(times[1:])


def _torch_products(rows: int) -> Callable[[], object]:
    """Returns what multiplies activations `(rows, width)` by each weight of `_SHAPES` in torch, on one thread."""
    import torch

    torch.set_num_threads(1)
    given = {width: torch.from_numpy(_activations("fp32", rows, width)) for width in (_HIDDEN, _INNER)}
    weights = [torch.randn(shape) for shape in _SHAPES]
    return lambda: [given[len(weight)] @ weight for weight in weights]


def _products(kind: str, rows: int) -> Callable[[], object]:
    """Returns what does so in onnxruntime, on one thread."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    integer = kind == "int8"
    rng = np.random.default_rng(0)
    given, made = (TensorProto.UINT8, TensorProto.INT32) if integer else (TensorProto.FLOAT, TensorProto.FLOAT)
    weights = [
        rng.integers(-127, 128, shape, dtype=np.int8) if integer else rng.standard_normal(shape, dtype=np.float32)
        for shape in _SHAPES
    ]
    operator = "MatMulInteger" if integer else "MatMul"
    nodes = [helper.make_node(operator, [f"x{shape[0]}", f"w{i}"], [f"y{i}"]) for i, shape in enumerate(_SHAPES)]
    graph = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info(f"x{width}", given, [rows, width]) for width in (_HIDDEN, _INNER)],
        [helper.make_tensor_value_info(f"y{i}", made, [rows, shape[1]]) for i, shape in enumerate(_SHAPES)],
        [numpy_helper.from_array(weight, f"w{i}") for i, weight in enumerate(weights)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feeds = {f"x{width}": _activations(kind, rows, width) for width in (_HIDDEN, _INNER)}
    return partial(session.run, None, feeds)


def _activations(kind: str, rows: int, width: int) -> Any:
    rng = np.random.default_rng(1)
    if kind == "int8":
        return rng.integers(0, 256, (rows, width), dtype=np.uint8)
    return rng.standard_normal((rows, width), dtype=np.float32)


def _runs_a_second(run: Callable[[], object], threads: int, seconds: float) -> float:
    """Returns how often a second so many threads together get it run."""

    def repeat(_: int) -> int:
        done, end = 0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            run()
            done += 1
        return done

    run()
    with ThreadPoolExecutor(threads) as pool:
        start = time.perf_counter()
        total = sum(pool.map(repeat, range(threads)))
        return total / (time.perf_counter() - start)


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
