"""Runs windows through a classifier's graph: one by one on a CPU, in padded batches on a GPU."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from rag_compress.errors import InvalidInput, MissingExtra, ModelError
from rag_compress.models.classifier.windows import Window
from rag_compress.models.onnx import has_provider, new_session, open_session, runtime
from rag_compress.processes import load_once, threads

_LOG = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "cuda"]
Output = tuple[NDArray[np.float32], float]
"""Token outputs `(tokens, 2 * heads)` and the passage's logit."""

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


class Engine(Protocol):
    """Something that runs windows."""

    @property
    def provider(self) -> str:
        """The execution provider that really runs the graph, as onnxruntime names it."""
        ...

    def run(self, windows: Sequence[Window]) -> list[Output]:
        """Returns each window's outputs, in order."""
        ...


@load_once(maxsize=8)
def load_engine(folder: Path, device: Device, workers: int | None = None) -> Engine:
    """Returns the engine for a folder with `model.int8.onnx`, one for each process.

    Args:
        folder: Where the model is.
        device: `cuda` fails where CUDA does not work; `auto` says so in a warning and takes the CPU.
        workers: How many windows run at once on a CPU; `None`: one for each processor.

    Raises:
        InvalidInput: `cuda` was asked for and does not work here.
        MissingExtra: onnxruntime is not installed.
        ModelError: As `InvalidInput`, but found by trying; or the model cannot be run.
    """
    path = folder / "model.int8.onnx"
    if device == "cuda":
        return BatchEngine(path, CUDA)
    cpu = WindowEngine(path, workers)
    if device == "cpu" or not has_provider(CUDA):
        return cpu
    try:
        return FallbackEngine(BatchEngine(path, CUDA), cpu)
    except (InvalidInput, MissingExtra, ModelError) as error:
        _LOG.warning("The GPU cannot be used; the CPU is: %s", error)
        return cpu


class FallbackEngine:
    """Runs windows on the first engine until it fails, and from then on on the second."""

    def __init__(self, first: Engine, second: Engine) -> None:
        self._engine, self._second = first, second
        self._first = first  # kept: freeing graphs that were captured on a GPU that failed ends the whole process

    @property
    def provider(self) -> str:
        """The execution provider that runs the graph now."""
        return self._engine.provider

    def run(self, windows: Sequence[Window]) -> list[Output]:
        """Returns each window's outputs, in order."""
        engine = self._engine  # another thread may change it meanwhile
        try:
            return engine.run(windows)
        except ModelError as error:
            if engine is self._second:
                raise
            _LOG.warning("The GPU failed; from here on the CPU is used: %s", error)
            self._engine = self._second
            return self._second.run(windows)


class WindowEngine:
    """Runs each window alone, several side by side.

    Int8 graphs scale activations by the largest value in a batch, so that batch-mates would change scores; and a window
    that runs alone needs no padding. All callers share one session and its threads, one for each processor.
    """

    provider = CPU

    def __init__(self, path: Path, workers: int | None = None) -> None:
        self._session = open_session(path)
        self._names = {value.name for value in self._session.get_inputs()}
        self._workers = workers or threads()

    def run(self, windows: Sequence[Window]) -> list[Output]:
        """Returns each window's outputs; the longest go first, so that all threads end at about the same time."""
        if min(self._workers, len(windows)) <= 1:
            return [self._run(window) for window in windows]
        order = sorted(range(len(windows)), key=lambda i: -len(windows[i].ids))
        results = dict(zip(order, _threads(self._workers).map(lambda i: self._run(windows[i]), order), strict=True))
        return [results[i] for i in range(len(windows))]

    def _run(self, window: Window) -> Output:
        feeds = {
            "input_ids": np.array([window.ids], dtype=np.int64),
            "attention_mask": np.ones((1, len(window.ids)), dtype=np.int64),
            "token_type_ids": np.array([window.types], dtype=np.int64),
        }
        try:
            found = self._session.run(None, {name: value for name, value in feeds.items() if name in self._names})
        except Exception as error:  # onnxruntime's errors have no common type of their own
            raise ModelError(f"The classifier failed on a window of {len(window.ids)} tokens: {error}") from error
        tokens, passage = found
        return tokens[0], float(passage[0])


@lru_cache(maxsize=4)
def _threads(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="rag_compress")


if hasattr(os, "register_at_fork"):  # threads do not live on in a forked process: waiting for them would never end
    os.register_at_fork(after_in_child=_threads.cache_clear)

LENGTHS = (64, 96, 128, 192, 256, 384, 512)
ROWS = (1, 8, 32)


class BatchEngine:
    """Runs windows in batches of a few fixed shapes, each with buffers of its own and, on a GPU, a captured CUDA graph.

    Windows are sorted by length; a batch is padded to the next of `LENGTHS` tokens and `ROWS` windows. A captured graph
    is started with one call in place of hundreds, which for a network this small is most of the time. The fp16 graph is
    made from the int8 one when the engine is.

    All engines run on one thread, whoever calls: onnxruntime keeps a captured graph for the thread that captured it
    (another would capture it again), and while one is captured nothing may be allocated from another thread.

    Attributes:
        provider: Where the graph runs.
    """

    def __init__(self, path: Path, provider: str = CUDA) -> None:
        self.provider = provider
        from rag_compress.models.classifier.fused import batched_graph  # needs onnx, which the CPU does without

        # Unless it is strict, SkipLayerNormalization adds squares up in fp16 (onnxruntime 1.24 does).
        settings = {"enable_cuda_graph": "1", "enable_skip_layer_norm_strict_mode": "1"} if provider == CUDA else {}
        opened = partial(new_session, batched_graph(path), provider=provider, settings=settings)
        self._session = _threads(1).submit(opened).result()
        self._buffers: dict[tuple[int, int], _Buffers] = {}
        self.run([Window([0], [0], 0, 0, 1)])  # a GPU that the graph was not built for is found by a run, not before

    def run(self, windows: Sequence[Window]) -> list[Output]:
        """Returns each window's outputs."""
        return _threads(1).submit(self._run_all, windows).result()

    def _run_all(self, windows: Sequence[Window]) -> list[Output]:
        order = sorted(range(len(windows)), key=lambda i: len(windows[i].ids))
        results: dict[int, Output] = {}
        for places in _batches(order, [len(window.ids) for window in windows]):
            outputs = self._run([windows[i] for i in places])
            results.update(zip(places, outputs, strict=True))
        return [results[i] for i in range(len(windows))]

    def _run(self, windows: Sequence[Window]) -> list[Output]:
        shape = _fitting(ROWS, len(windows)), _fitting(LENGTHS, max(len(window.ids) for window in windows))
        try:
            if shape not in self._buffers:
                self._buffers[shape] = _Buffers(self._session, shape, len(self._buffers), self.provider)
            tokens, passages = self._buffers[shape].run(windows)
        except Exception as error:  # onnxruntime's errors have no common type of their own
            raise ModelError(f"The classifier failed on a batch of {shape}: {error}") from error
        outputs = [(tokens[row, : len(window.ids)].copy(), float(passages[row])) for row, window in enumerate(windows)]
        if not all(np.isfinite(values).all() and np.isfinite(passage) for values, passage in outputs):
            raise ModelError("The classifier's values do not fit into fp16: run it with device='cpu'")
        return outputs


class _Buffers:
    """The tensors of one shape on the device, bound to the session once."""

    def __init__(self, session: Any, shape: tuple[int, int], number: int, provider: str) -> None:
        onnxruntime = runtime(provider)
        device = "cuda" if provider == CUDA else "cpu"
        self._session, self._shape = session, shape
        self._binding = session.io_binding()
        self._inputs = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(value, device, 0)
            for name, value in _padded([], shape).items()
        }
        for name, value in self._inputs.items():
            self._binding.bind_ortvalue_input(name, value)
        sizes = {"tokens": (*shape, session.get_outputs()[0].shape[-1]), "passage": shape[:1]}
        self._outputs = {
            name: onnxruntime.OrtValue.ortvalue_from_shape_and_type(size, np.float32, device, 0)
            for name, size in sizes.items()
        }
        for name, value in self._outputs.items():
            self._binding.bind_ortvalue_output(name, value)
        self._options = onnxruntime.RunOptions()
        if provider == CUDA:
            self._options.add_run_config_entry("gpu_graph_id", str(number + 1))

    def run(self, windows: Sequence[Window]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Returns the token outputs and the passage logits, padding included."""
        for name, value in _padded(windows, self._shape).items():
            self._inputs[name].update_inplace(value)
        self._session.run_with_iobinding(self._binding, self._options)
        return self._outputs["tokens"].numpy(), self._outputs["passage"].numpy()


def _padded(windows: Sequence[Window], shape: tuple[int, int]) -> dict[str, NDArray[Any]]:
    """Returns the inputs of the graph for batches; rows without a window are padding of length 1."""
    ids, types = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    lengths = np.ones(shape[0], np.int32)
    for row, window in enumerate(windows):
        ids[row, : len(window.ids)], types[row, : len(window.ids)] = window.ids, window.types
        lengths[row] = len(window.ids)
    positions = np.tile(np.arange(shape[1]), (shape[0], 1))
    return {"input_ids": ids, "token_type_ids": types, "positions": positions, "lengths": lengths}


def _batches(order: Sequence[int], lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yields runs of at most the most rows, none of which mixes windows of two of `LENGTHS`."""
    for _, group in groupby(order, key=lambda i: _fitting(LENGTHS, lengths[i])):
        alike = list(group)
        yield from (alike[start : start + ROWS[-1]] for start in range(0, len(alike), ROWS[-1]))


def _fitting(sizes: Sequence[int], size: int) -> int:
    return next((fitting for fitting in sizes if fitting >= size), size)
