"""Writes a BERT-like classifier as the int8 graph that onnxruntime runs fastest on a CPU: fused, for one window a run.

A general export leaves half of the time to masks, transposes and additions. A window that runs alone has no padding and
needs no mask, so each layer is six operators here:

    q, k, v = Split(x · W + b)      attended = MultiHeadAttention(q, k, v)
    x = LayerNorm(x + attended · W + b)
    x = LayerNorm(x + Gelu(x · W + b) · W + b)

Each product quantizes its input while it runs (uint8, one scale for the tensor) and has int8 weights with a scale for
each column; embeddings are int8 with a scale for each row.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag_compress.errors import MissingExtra

try:
    import onnx
except ImportError as error:
    raise MissingExtra("onnx", "export", "Exporting to ONNX") from error

__all__ = ["is_supported", "onnx", "write_fused"]

_LEVELS = 63
"""7 bits: with 8, processors without VNNI overflow while they add products up."""


def is_supported(encoder: Any) -> bool:
    """Returns whether an encoder (of transformers) has the shape of BERT, so that `write_fused` can write it."""
    config = encoder.config
    return bool(
        config.model_type == "bert"
        and config.hidden_act == "gelu"
        and getattr(config, "position_embedding_type", "absolute") in ("absolute", None)
    )


def write_fused(network: Any, path: Path) -> None:
    """Writes the graph of a `ClassifierNetwork` around an encoder that `is_supported`.

    It takes `input_ids` and `token_type_ids`, int64 `(1, tokens)`, and returns `tokens` `(1, tokens, 2 * heads)` and
    `passage` `(1,)`, as `ClassifierNetwork.forward` does.
    """
    graph = _Graph({name: value.detach().cpu().numpy() for name, value in network.state_dict().items()})
    states = _encoded(graph, network.encoder.config)
    first = graph.add("Slice", states, *map(graph.integers, ([0], [1], [1])))
    outputs = [_head(graph, states, "token_head", "tokens"), _head(graph, first, "passage_head", "passage_")]
    graph.add("Reshape", outputs[1], graph.integers([1]), out="passage")
    helper, types = onnx.helper, onnx.TensorProto
    inputs = [helper.make_tensor_value_info(n, types.INT64, [1, "tokens"]) for n in ("input_ids", "token_type_ids")]
    results = [
        helper.make_tensor_value_info("tokens", types.FLOAT, [1, "tokens", "values"]),
        helper.make_tensor_value_info("passage", types.FLOAT, [1]),
    ]
    body = helper.make_graph(graph.nodes, "classifier", inputs, results, graph.tensors)
    versions = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(body, opset_imports=versions, ir_version=10), path)


def _encoded(graph: _Graph, config: Any) -> str:
    """Adds the encoder; returns the name of its last hidden states."""
    x = _embedded(graph, config.layer_norm_eps)
    for i in range(config.num_hidden_layers):
        x = _layer(graph, x, f"encoder.encoder.layer.{i}", config)
    return x


def _embedded(graph: _Graph, epsilon: float) -> str:
    name = "encoder.embeddings"
    rows, scales = graph.rows(f"{name}.word_embeddings.weight")
    words = graph.add("Cast", graph.add("Gather", rows, "input_ids"), to=1)
    words = graph.add("Mul", words, graph.add("Gather", scales, "input_ids"))
    kinds = graph.add("Gather", graph.weight(f"{name}.token_type_embeddings.weight"), "token_type_ids")
    size = graph.add("Slice", graph.add("Shape", "input_ids"), graph.integers([1]), graph.integers([2]))
    places = graph.add("Slice", graph.weight(f"{name}.position_embeddings.weight"), graph.integers([0]), size)
    summed = graph.add("Add", graph.add("Add", words, kinds), places)
    return str(graph.add("LayerNormalization", summed, *graph.pair(f"{name}.LayerNorm"), epsilon=epsilon))


def _layer(graph: _Graph, x: str, name: str, config: Any) -> str:
    own = f"{name}.attention.self"
    packed = graph.product(x, [f"{own}.{part}" for part in ("query", "key", "value")])
    parts = graph.add("Split", packed, outputs=3, axis=-1, num_outputs=3)
    attended = graph.add("MultiHeadAttention", *parts, domain="com.microsoft", num_heads=config.num_attention_heads)
    attended = graph.product(attended, [f"{name}.attention.output.dense"])
    x = _added(graph, x, attended, f"{name}.attention.output.LayerNorm", config.layer_norm_eps)
    inner = graph.add("Gelu", graph.product(x, [f"{name}.intermediate.dense"]))
    inner = graph.product(inner, [f"{name}.output.dense"])
    return _added(graph, x, inner, f"{name}.output.LayerNorm", config.layer_norm_eps)


def _added(graph: _Graph, x: str, y: str, norm: str, epsilon: float) -> str:
    return str(graph.add("LayerNormalization", graph.add("Add", x, y), *graph.pair(norm), epsilon=epsilon))


def _head(graph: _Graph, x: str, name: str, out: str) -> str:
    inner = graph.add("Gelu", graph.product(x, [f"{name}.0"]))
    weight, bias = graph.pair(f"{name}.2", transposed=True)
    return str(graph.add("Add", graph.add("MatMul", inner, weight), bias, out=out))


class _Graph:
    """Nodes and tensors of a graph that is being written; weights are taken from a state dict by name."""

    def __init__(self, state: dict[str, NDArray[Any]]) -> None:
        self.state = state
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []

    def add(self, kind: str, *inputs: Any, out: str = "", outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
        """Adds a node; returns the name of its output, or those of several."""
        names = [out] if out else [f"{kind}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(onnx.helper.make_node(kind, list(inputs), names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def tensor(self, values: NDArray[Any]) -> str:
        """Adds a constant; returns its name."""
        name = f"constant_{len(self.tensors)}"
        self.tensors.append(onnx.numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def integers(self, values: list[int]) -> str:
        """Adds a constant of int64; returns its name."""
        return self.tensor(np.array(values, np.int64))

    def weight(self, name: str) -> str:
        """Adds a weight as it is; returns its name."""
        return self.tensor(self.state[name])

    def pair(self, name: str, *, transposed: bool = False) -> tuple[str, str]:
        """Adds a module's weight and bias; returns their names."""
        weight = self.state[f"{name}.weight"]
        return self.tensor(weight.T if transposed else weight), self.weight(f"{name}.bias")

    def rows(self, name: str) -> tuple[str, str]:
        """Adds a table as int8 rows and their scales `(rows, 1)`; returns the names of both."""
        table = self.state[name]
        scales = np.abs(table).max(axis=1, keepdims=True).clip(1e-8) / 127
        return self.tensor(np.rint(table / scales).astype(np.int8)), self.tensor(scales.astype(np.float32))

    def product(self, x: str, names: list[str]) -> str:
        """Adds the linear layers of these names, side by side, with int8 weights; returns the output's name."""
        weight = np.concatenate([self.state[f"{name}.weight"] for name in names]).T
        bias = np.concatenate([self.state[f"{name}.bias"] for name in names])
        scales = (np.abs(weight).max(axis=0).clip(1e-8) / _LEVELS).astype(np.float32)
        quantized = np.rint(weight / scales).astype(np.int8)
        zeros = self.tensor(np.zeros(len(scales), np.int8))
        constants = (self.tensor(quantized), self.tensor(scales), zeros, self.tensor(bias))
        return str(self.add("DynamicQuantizeMatMul", x, *constants, domain="com.microsoft"))
