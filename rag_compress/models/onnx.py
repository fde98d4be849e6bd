"""Opens ONNX graphs with onnxruntime (extra `cpu`, or `gpu`)."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from functools import lru_cache
from pathlib import Path
from typing import Any

from rag_compress.errors import InvalidInput, ModelError, importing
from rag_compress.processes import load_once


@load_once(maxsize=8)
def open_session(path: str | Path) -> Any:
    """Returns the `onnxruntime.InferenceSession` of a graph on the CPU, opened once for each process.

    A run uses one thread; the session takes runs from many callers at once.

    Raises:
        MissingExtra: onnxruntime is not installed.
        InvalidInput: There is no such file.
        ModelError: The file is not a graph that onnxruntime can run.
    """
    check_model_file(path)
    return new_session(str(path))


def check_model_file(path: str | Path) -> None:
    """Raises `InvalidInput` where there is no such file."""
    if not Path(path).is_file():
        raise InvalidInput(f"There is no model file {path}")


def has_provider(provider: str) -> bool:
    """Returns whether the installed onnxruntime has a provider; whether it works shows when a graph is opened.

    Raises:
        MissingExtra: onnxruntime is not installed.
    """
    return provider in runtime(provider).get_available_providers()


def new_session(
    model: str | bytes,
    threads: int = 1,
    provider: str = "CPUExecutionProvider",
    settings: Mapping[str, str] | None = None,
) -> Any:
    """Returns a new session of a graph, from its file or its bytes.

    Args:
        model: The file's path, or its content.
        threads: How many threads one run uses.
        provider: Where it runs.
        settings: The provider's options.

    Raises:
        MissingExtra: onnxruntime is not installed.
        InvalidInput: The provider does not work here.
        ModelError: It is not a graph that onnxruntime can run.
    """
    onnxruntime = runtime(provider)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # On a CPU the fused SkipLayerNormalization takes eight times as long as the two operators that it stands for.
    slow = ["SkipLayerNormFusion"] if provider == "CPUExecutionProvider" else []
    providers = [(provider, dict(settings or {}))]
    try:
        # Without its own fallback, which prints to standard output.
        session = onnxruntime.InferenceSession(
            model, options, providers=providers, disabled_optimizers=slow, enable_fallback=0
        )
    except Exception as error:
        name = model if isinstance(model, str) else "the graph"
        raise ModelError(f"onnxruntime cannot run {name}: {error}") from error
    # onnxruntime falls back to the CPU without an error, many times slower.
    if session.get_providers()[0] != provider:
        raise InvalidInput(
            f"{provider} does not work here, onnxruntime took {session.get_providers()[0]}: `rag-compress doctor` says "
            "what is installed; device='cpu' needs no GPU"
        )
    return session


def runtime(provider: str = "CPUExecutionProvider") -> Any:
    """Returns the module `onnxruntime`.

    Raises:
        MissingExtra: It is not installed; the extra named is the one that has the provider.
    """
    extra = "cpu" if provider == "CPUExecutionProvider" else "gpu"
    with importing("onnxruntime", extra, "The sentence classifier"):
        import onnxruntime
    if provider == "CUDAExecutionProvider":
        _load_cuda(onnxruntime)
    return onnxruntime


@lru_cache(maxsize=1)
def _load_cuda(onnxruntime: Any) -> None:
    """Loads CUDA and cuDNN as pip installs them (torch does, too): onnxruntime does not look there unasked."""
    # From 1.21 on; the CPU's package has it, too, and some versions of it print a warning at every call.
    if getattr(onnxruntime, "cuda_version", "") and hasattr(onnxruntime, "preload_dlls"):
        with redirect_stdout(sys.stderr):  # it prints what it misses
            onnxruntime.preload_dlls()
