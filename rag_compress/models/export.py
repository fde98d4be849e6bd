"""Writes trained models as ONNX graphs, each checked against torch: the classifier in fp32 and int8, the projector."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rag_compress.errors import ModelError, importing
from rag_compress.models.classifier.fused import is_supported, onnx, write_fused
from rag_compress.models.classifier.network import Batch, ClassifierNetwork, torch
from rag_compress.models.classifier.windows import Window
from rag_compress.models.onnx import new_session
from rag_compress.models.soft_tokens.projector import MlpProjector

with importing("onnxscript", "export", "Exporting to ONNX"):
    import onnxscript  # noqa: F401 - torch exports with it; better missed before a long training than after it

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
FP32_TOLERANCE = 1e-3
INT8_TOLERANCE = 0.5
"""The most that a logit may differ on average: a logit of 0.5 moves a probability of one half by 0.12."""


def export_classifier(network: ClassifierNetwork, windows: Sequence[Window], folder: Path) -> dict[str, float]:
    """Writes `model.onnx` and `model.int8.onnx` into the folder; returns how far each is from torch.

    Args:
        network: The trained network.
        windows: Real windows of unlike lengths: the graphs are traced and checked on them.
        folder: Where to; it must exist.

    Raises:
        ModelError: A graph's outputs differ too much from torch's.
    """
    batch = Batch.of(windows)
    path, small = folder / "model.onnx", folder / "model.int8.onnx"
    _export(network.eval(), batch, path)
    if is_supported(network.encoder):
        write_fused(network, small)
    else:
        _quantize(path, small)
    alone = [_difference(network, Batch.of([window]), small) for window in windows]
    differences = {"fp32": _difference(network, batch, path), "int8": float(np.mean(alone))}
    for name, limit in (("fp32", FP32_TOLERANCE), ("int8", INT8_TOLERANCE)):
        if not differences[name] <= limit:
            raise ModelError(f"The {name} graph differs from torch by {differences[name]:.3g}, more than {limit}")
    return differences


def export_projector(projector: MlpProjector, path: Path) -> float:
    """Writes a projector as a graph from `embeddings` `(n, dim)` to `soft_tokens` `(n, tokens, hidden)`, in fp32.

    Returns how far it is from torch.

    Raises:
        ModelError: The graph's output differs too much from torch's.
    """
    rows = torch.randn(3, projector.config.dim)
    count = torch.export.Dim("n", min=1)
    network = projector.network.eval().cpu()
    _trace(network, (rows,), path, ["embeddings"], ["soft_tokens"], {"embeddings": {0: count}})
    with torch.inference_mode():
        expected = network(rows).numpy()
    found: Any = new_session(str(path)).run(None, {"embeddings": rows.numpy()})
    difference = float(np.abs(found[0] - expected).max())
    if not difference <= FP32_TOLERANCE:
        raise ModelError(f"The graph differs from torch by {difference:.3g}, more than {FP32_TOLERANCE}")
    return difference


def _export(network: ClassifierNetwork, batch: Batch, path: Path) -> None:
    windows, tokens = torch.export.Dim("windows", min=1), torch.export.Dim("tokens", min=2)
    shapes = {name: {0: windows, 1: tokens} for name in _INPUTS}
    _trace(network, tuple(batch), path, _INPUTS, ["tokens", "passage"], shapes)


def _trace(
    network: Any, inputs: tuple[Any, ...], path: Path, names: Sequence[str], outputs: Sequence[str], shapes: Any
) -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # The older exporter silently writes a wrong BERT when the mask it traces has no padding.
        torch.onnx.export(
            network,
            inputs,
            str(path),
            dynamo=True,
            external_data=False,
            verbose=False,
            input_names=list(names),
            output_names=list(outputs),
            dynamic_shapes=shapes,
        )
    _without_traces(path)


def _without_traces(path: Path) -> None:
    """Takes out where each node came from: stack traces, with the paths of the machine that exported the graph."""
    model = onnx.load(path)
    for part in (
        model,
        model.graph,
        *model.graph.node,
        *model.functions,
        *(n for f in model.functions for n in f.node),
    ):
        part.doc_string = ""
        del part.metadata_props[:]
    onnx.save(model, path)


def _quantize(path: Path, small: Path) -> None:
    """Writes the graph with int8 weights; activations are quantized while it runs."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = onnx.load(path)
    del graph.graph.value_info[:]  # the exporter's shapes contradict what the quantizer infers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # 7 bits: with 8, processors without VNNI overflow while they add products up.
        quantize_dynamic(graph, small, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)


def _difference(network: ClassifierNetwork, batch: Batch, path: Path) -> float:
    """Returns the mean absolute difference of a graph's logits from torch's, on tokens that are no padding."""
    with torch.inference_mode():
        expected = [array.numpy() for array in network(*batch)]
    outputs: Any = _run(path, batch)
    real = batch.attention_mask.numpy() == 1
    token = np.abs(outputs[0] - expected[0])[real].mean()
    return float(max(token, np.abs(outputs[1] - expected[1]).mean()))


def _run(path: Path, batch: Batch) -> Any:
    session = new_session(str(path))  # one that is kept may be of the file that stood there before
    names = {value.name for value in session.get_inputs()}
    feeds = {name: array.numpy() for name, array in batch._asdict().items() if name in names}
    return session.run(None, feeds)
