"""Windows run the same alone, side by side and in padded batches; what has no GPU says so."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import sys
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_classifier import windows, write_graph

from rag_compress.errors import InvalidInput, ModelError
from rag_compress.models import onnx
from rag_compress.models.classifier import engines
from rag_compress.models.classifier.engines import (
    CPU,
    CUDA,
    BatchEngine,
    FallbackEngine,
    Output,
    WindowEngine,
    load_engine,
)
from rag_compress.models.classifier.fused import batched_graph
from rag_compress.models.classifier.windows import Window
from rag_compress.models.onnx import has_provider, new_session

pytest.importorskip("torch")
pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny int8 graph."""
    return write_graph(tmp_path_factory.mktemp("graph"))


def _same(one: Sequence[Output], other: Sequence[Output]) -> bool:
    return all(np.array_equal(a[0], b[0]) and a[1] == b[1] for a, b in zip(one, other, strict=True))


def test_side_by_side_as_alone(path: Path) -> None:
    """Neither workers nor batch-mates nor callers in other threads change a bit, and the order is kept."""
    many = windows(12)
    engine = WindowEngine(path, workers=3)
    alone = [WindowEngine(path, workers=1).run([window])[0] for window in many]
    assert _same(alone, engine.run(many))
    with ThreadPoolExecutor(4) as callers:
        for outputs in callers.map(engine.run, [many] * 8):
            assert _same(alone, outputs)
    assert engine.run([]) == []
    assert engine.provider == CPU


def test_batches_say_what_windows_say(path: Path) -> None:
    """The graph for batches, padding and all, differs from the int8 graph only as quantized activations do."""
    many = windows(40)
    engine = BatchEngine(path, CPU)
    batched, alone = engine.run(many), WindowEngine(path).run(many)
    for (tokens, passage), (others, other) in zip(batched, alone, strict=True):
        assert tokens.shape == others.shape
        assert np.abs(tokens - others).mean() < 0.1 * np.abs(others).mean()
        assert abs(passage - other) < 0.1 * max(abs(passage) for _, passage in alone)
    assert engine.run([]) == []


def test_padding_and_batch_mates_change_nothing_but_digits(path: Path) -> None:
    """A window in a batch of any shape is the window alone, as far as fp16 goes."""
    engine = BatchEngine(path, CPU)
    many = windows(40)
    for (tokens, passage), window in zip(engine.run(many), many, strict=True):
        ((own, logit),) = engine.run([window])
        assert np.abs(tokens - own).max() < 2e-2
        assert abs(passage - logit) < 2e-2


def test_half_precision_keeps_the_decisions(path: Path) -> None:
    """The fp16 graph is within 1e-2 of the same graph in fp32."""
    feeds = engines._padded(windows(8), (8, 64))
    half, full = (new_session(batched_graph(path, dtype)).run(None, feeds) for dtype in (np.float16, np.float32))
    for row, window in enumerate(windows(8)):
        assert np.abs(half[0][row] - full[0][row])[: len(window.ids)].max() < 1e-2 * np.abs(full[0]).max()
    assert np.abs(half[1] - full[1]).max() < 1e-2 * np.abs(full[1]).max()


def test_without_a_gpu(path: Path) -> None:
    """`auto` takes the CPU; `cuda` is an error that says what is there."""
    if has_provider(CUDA):
        pytest.skip("there is a GPU build of onnxruntime")
    assert load_engine(path.parent, "auto").provider == CPU
    with pytest.raises((InvalidInput, ModelError), match="CUDA"):
        load_engine(path.parent, "cuda")


def test_a_gpu_that_does_not_work(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """`auto` says in a warning why it takes the CPU."""
    monkeypatch.setattr(engines, "has_provider", lambda provider: True)
    load_engine.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert load_engine(path.parent, "auto").provider == CPU
    assert "GPU cannot be used" in caplog.text
    load_engine.cache_clear()


def test_a_gpu_that_cannot_run_the_graph(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that onnxruntime has no kernels for opens the graph, but is not named as what runs it."""

    def no_kernel(*_: object) -> None:
        raise RuntimeError("CUDA error cudaErrorNoKernelImageForDevice:no kernel image is available")

    monkeypatch.setattr(engines._Buffers, "run", no_kernel)
    monkeypatch.setattr(engines, "has_provider", lambda provider: True)
    monkeypatch.setattr(engines, "BatchEngine", lambda graph, provider: BatchEngine(graph, CPU))
    load_engine.cache_clear()
    assert isinstance(load_engine(path.parent, "auto"), WindowEngine)
    with pytest.raises(ModelError, match="no kernel image"):
        load_engine(path.parent, "cuda")
    load_engine.cache_clear()


class _OutOfMemory:
    provider = CUDA

    def run(self, windows: Sequence[Window]) -> list[Output]:
        raise ModelError("out of memory")


def test_a_gpu_that_fails_later(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What the GPU cannot do, the CPU does, and stays in charge."""
    engine = FallbackEngine(_OutOfMemory(), WindowEngine(path))
    assert engine.provider == CUDA
    with caplog.at_level(logging.WARNING):
        assert _same(engine.run(windows()), WindowEngine(path).run(windows()))
    assert "out of memory" in caplog.text
    assert engine.provider == CPU


def test_a_gpu_that_failed_is_not_freed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its session would throw in a destructor, and end the process that has just been saved."""
    monkeypatch.setattr(engines._LOG, "disabled", True)  # a record would keep the engine, too
    failing = _OutOfMemory()
    kept = weakref.ref(failing)
    engine = FallbackEngine(failing, WindowEngine(path))
    del failing
    engine.run(windows())
    gc.collect()
    assert kept() is not None


def test_two_threads_on_a_gpu_that_fails(path: Path) -> None:
    """The second thread to fail finds that the first has changed the engine, and runs on the CPU all the same."""
    both = threading.Barrier(2)

    class Failing(_OutOfMemory):
        def run(self, windows: Sequence[Window]) -> list[Output]:
            both.wait(10)
            return super().run(windows)

    engine = FallbackEngine(Failing(), WindowEngine(path))
    with ThreadPoolExecutor(2) as threads:
        one, other = threads.map(engine.run, [windows(), windows()])
    assert _same(one, other)


def test_everything_that_fails_on_a_gpu_is_typed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that cannot be had for a shape's buffers is a `ModelError` too, so that the CPU takes over."""
    first, second = BatchEngine(path, CPU), WindowEngine(path)

    def no_memory(*_: object) -> None:
        raise RuntimeError("Failed to allocate memory for requested buffer")

    monkeypatch.setattr(engines._Buffers, "__init__", no_memory)
    with pytest.raises(ModelError, match="Failed to allocate memory"):
        first.run(windows())
    assert _same(FallbackEngine(first, second).run(windows()), second.run(windows()))


def test_values_too_large_for_half_precision(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What overflows is an error, so that the CPU takes over, and not a passage that seems to help nobody."""
    first, second, run = BatchEngine(path, CPU), WindowEngine(path), engines._Buffers.run

    def overflowing(buffers: engines._Buffers, batch: Sequence[Window]) -> tuple[np.ndarray, np.ndarray]:
        tokens, passages = run(buffers, batch)
        return np.full_like(tokens, np.nan), passages

    monkeypatch.setattr(engines._Buffers, "run", overflowing)
    with pytest.raises(ModelError, match="fp16"):
        first.run(windows())
    assert _same(FallbackEngine(first, second).run(windows()), second.run(windows()))


def test_batches_run_on_one_thread(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever engine is asked, and from wherever: CUDA graphs belong to the thread that captured them."""
    seen: set[int] = set()
    run, opened = engines._Buffers.run, new_session

    def watched(buffers: engines._Buffers, batch: Sequence[Window]) -> tuple[np.ndarray, np.ndarray]:
        seen.add(threading.get_ident())
        return run(buffers, batch)

    def watched_opening(*given: Any, **options: Any) -> Any:
        seen.add(threading.get_ident())
        return opened(*given, **options)

    monkeypatch.setattr(engines._Buffers, "run", watched)
    monkeypatch.setattr(engines, "new_session", watched_opening)
    both = [BatchEngine(path, CPU), BatchEngine(path, CPU)]
    with ThreadPoolExecutor(4) as callers:
        outputs = list(callers.map(lambda i: both[i % 2].run(windows(12)), range(8)))
    assert len(seen) == 1
    assert all(_same(outputs[0], each) for each in outputs)


def test_layers_are_normalized_in_single_precision(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU too: squares summed up in fp16 lose digits, and those of large values are infinite."""
    seen: dict[str, str] = {}

    def opened(graph: bytes, provider: str, settings: dict[str, str]) -> Any:
        seen.update(settings)
        raise ModelError(f"no {provider} here")

    monkeypatch.setattr(engines, "new_session", opened)
    with pytest.raises(ModelError, match="no CUDA"):
        BatchEngine(path)
    assert seen == {"enable_cuda_graph": "1", "enable_skip_layer_norm_strict_mode": "1"}


def test_cuda_libraries_are_looked_for_where_pip_puts_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before a session is opened on a GPU, once; what onnxruntime prints of it does not end up among the data."""
    called = []

    def preload() -> None:
        called.append(1)
        sys.stdout.write("Failed to load libcudnn.so.9")

    monkeypatch.setattr("onnxruntime.preload_dlls", preload, raising=False)
    monkeypatch.setattr("onnxruntime.cuda_version", "", raising=False)
    onnx._load_cuda.cache_clear()
    onnx.runtime(CUDA)
    assert not called, "the CPU's package has nothing to load, and says so"
    monkeypatch.setattr("onnxruntime.cuda_version", "12.8")
    onnx._load_cuda.cache_clear()
    onnx.runtime()
    assert not called
    onnx.runtime(CUDA)
    onnx.runtime(CUDA)
    assert called == [1]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "libcudnn" in captured.err
    onnx._load_cuda.cache_clear()


def test_a_provider_that_fails_prints_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where CUDA cannot start, onnxruntime would print that to standard output, among the data, and take the CPU."""

    def failing(session: Any, providers: Sequence[Any], *_: object) -> None:
        raise RuntimeError("CUDA failure 100: no CUDA-capable device is detected")

    monkeypatch.setattr("onnxruntime.InferenceSession._create_inference_session", failing)
    with pytest.raises(ModelError, match="CUDA failure 100"):
        new_session(str(path), provider=CUDA)
    assert capsys.readouterr().out == ""


def test_a_window_that_is_too_long(path: Path) -> None:
    """What onnxruntime says is a typed error."""
    long = Window([1] * 5000, [0] * 5000, 1, 0, 4998)
    with pytest.raises(ModelError, match="window of 5000 tokens"):
        WindowEngine(path).run([long])


def test_another_graph_is_not_batched(tmp_path: Path) -> None:
    """Only graphs with the shape written in them can be made into the one for batches."""
    import onnx

    graph = onnx.helper.make_graph([], "empty", [], [])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="export it anew"):
        batched_graph(tmp_path / "model.onnx")


def test_no_graph_to_batch(tmp_path: Path) -> None:
    """A file that is missing or broken is named, on a GPU as on a CPU."""
    (tmp_path / "broken.onnx").write_bytes(b"# no graph")
    for engine in (BatchEngine, WindowEngine):
        with pytest.raises(InvalidInput, match=r"no model file .*missing\.onnx"):
            engine(tmp_path / "missing.onnx")
        with pytest.raises(ModelError, match=r"broken\.onnx"):
            engine(tmp_path / "broken.onnx")


def _in_child(path: Path, queue: multiprocessing.Queue[int]) -> None:
    queue.put(len(WindowEngine(path, workers=2).run(windows(4))))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_after_a_fork(path: Path) -> None:
    """A forked process runs windows on threads of its own; those of its parent are not there."""
    WindowEngine(path, workers=2).run(windows(4))
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(path, queue))
    child.start()
    try:
        assert queue.get(timeout=60) == 4
    finally:
        child.kill()
