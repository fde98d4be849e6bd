"""Writes BERT-like classifiers as fused graphs: int8 for one window a run on a CPU, fp16 for batches on a GPU.

A general export leaves half of the time to masks, transposes and additions. Here each layer is

    q, k, v = Split(x · W + b)      attended = MultiHeadAttention(q, k, v)
    x = LayerNorm(x + attended · W + b)
    x = LayerNorm(x + Gelu(x · W + b) · W + b)

In the int8 graph each product quantizes its input while it runs (uint8, one scale for the tensor) and has int8 weights
with a scale for each column; embeddings are int8 with a scale for each row. A window that runs alone has no padding, so
there is no mask. In the graph for batches, the weights are those that the int8 graph stands for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rag_compress.errors import ModelError, importing
from rag_compress.models.onnx import check_model_file

with importing("onnx", "export", "Writing ONNX graphs"):
    import onnx

__all__ = ["batched_graph", "is_supported", "onnx", "write_fused"]

_LEVELS = 63
"""7 bits: with 8, processors without VNNI overflow while they add products up."""
_WORDS = "encoder.embeddings.word_embeddings"
_MICROSOFT = "com.microsoft"


class _Shape(NamedTuple):
    layers: int
    attention_heads: int
    epsilon: float


def is_supported(encoder: Any) -> bool:
    """Returns whether an encoder (of transformers) has the shape of BERT, so that `write_fused` can write it."""
    config = encoder.config
    return bool(
        config.model_type == "bert"
        and config.type_vocab_size > 1
        and config.hidden_act == "gelu"
        and getattr(config, "position_embedding_type", "absolute") in ("absolute", None)
    )


def write_fused(network: Any, path: Path) -> None:
    """Writes the int8 graph of a `ClassifierNetwork` around an encoder that `is_supported`.

    It takes `input_ids` and `token_type_ids`, int64 `(1, tokens)`, and returns `tokens` `(1, tokens, 2 * heads)` and
    `passage` `(1,)`, as `ClassifierNetwork.forward` does.
    """
    config = network.encoder.config
    shape = _Shape(config.num_hidden_layers, config.num_attention_heads, config.layer_norm_eps)
    state = {name: value.detach().cpu().numpy() for name, value in network.state_dict().items()}
    graph = _Graph(_packed(state, shape.layers))
    size = graph.add("Slice", graph.add("Shape", "input_ids"), graph.integers([1]), graph.integers([2]))
    table = graph.weight("encoder.embeddings.position_embeddings.weight")
    places = graph.add("Slice", table, graph.integers([0]), size)
    onnx.save(graph.finish(_encoded(graph, shape, places, ""), shape, [1, "tokens"], {}), path)


def batched_graph(small: Path, dtype: type[np.floating[Any]] = np.float16) -> bytes:
    """Returns the graph for batches, made from an int8 graph that `write_fused` wrote.

    It takes `input_ids`, `token_type_ids`, `positions`, int64 `(windows, tokens)`, and `lengths`, int32 `(windows,)`;
    what stands after a window's length is padding. No operator needs the CPU, so that a GPU can capture a run whole.

    Raises:
        InvalidInput: There is no such file.
        ModelError: The file is another graph, or none.
    """
    check_model_file(small)
    try:
        model = onnx.load(small)
    except Exception as error:  # protobuf's own
        raise ModelError(f"onnx cannot read {small}: {error}") from error
    facts = {entry.key: entry.value for entry in model.metadata_props}
    if "layers" not in facts:
        raise ModelError(
            f"{small} cannot be made into a graph for the GPU: its encoder is not like BERT; if it is, export it anew"
        )
    shape = _Shape(int(facts["layers"]), int(facts["attention_heads"]), float(facts["epsilon"]))
    graph = _Graph(_dequantized(model), dtype)
    places = graph.add("Gather", graph.weight("encoder.embeddings.position_embeddings.weight"), "positions")
    types = onnx.TensorProto
    inputs = {"positions": (types.INT64, ["windows", "tokens"]), "lengths": (types.INT32, ["windows"])}
    model = graph.finish(_encoded(graph, shape, places, "lengths"), shape, ["windows", "tokens"], inputs)
    return bytes(model.SerializeToString())


def _packed(state: Mapping[str, NDArray[Any]], layers: int) -> dict[str, NDArray[Any]]:
    """Returns the weights with each layer's query, key and value side by side."""
    packed = dict(state)
    for own in (f"encoder.encoder.layer.{i}.attention.self" for i in range(layers)):
        for part in ("weight", "bias"):
            rows = [packed.pop(f"{own}.{name}.{part}") for name in ("query", "key", "value")]
            packed[f"{own}.qkv.{part}"] = np.concatenate(rows)
    return packed


def _dequantized(model: Any) -> dict[str, NDArray[Any]]:
    """Returns the weights that an int8 graph stands for, by the names of the state dict."""
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    state = {name: values for name, values in tensors.items() if name.endswith((".weight", ".bias"))}
    for name, values in tensors.items():
        if name.endswith(".weight.T"):
            state[name.removesuffix(".T")] = values.T
        if name.endswith(".int8"):
            table = values.astype(np.float32) * tensors[f"{name}.scales"]
            state[name.removesuffix(".int8")] = table if name.startswith(_WORDS) else table.T
    return state


def _encoded(graph: _Graph, shape: _Shape, places: str, lengths: str) -> str:
    """Adds the encoder; returns the name of its last hidden states."""
    name = "encoder.embeddings"
    kinds = graph.add("Gather", graph.weight(f"{name}.token_type_embeddings.weight"), "token_type_ids")
    summed = graph.add("Add", graph.add("Add", graph.embedded("input_ids"), kinds), places)
    x = graph.normalized(summed, f"{name}.LayerNorm", shape.epsilon)
    for i in range(shape.layers):
        x = _layer(graph, x, f"encoder.encoder.layer.{i}", shape, lengths)
    return x


def _layer(graph: _Graph, x: str, name: str, shape: _Shape, lengths: str) -> str:
    packed = graph.product(x, f"{name}.attention.self.qkv")
    parts = graph.add("Split", packed, outputs=3, axis=-1, num_outputs=3)
    mask = ["", lengths] if lengths else []
    attended = graph.add("MultiHeadAttention", *parts, *mask, domain=_MICROSOFT, num_heads=shape.attention_heads)
    attended = graph.product(attended, f"{name}.attention.output.dense")
    x = graph.normalized(graph.add("Add", x, attended), f"{name}.attention.output.LayerNorm", shape.epsilon)
    inner = graph.product(graph.add("Gelu", graph.product(x, f"{name}.intermediate.dense")), f"{name}.output.dense")
    return graph.normalized(graph.add("Add", x, inner), f"{name}.output.LayerNorm", shape.epsilon)


class _Graph:
    """Nodes and tensors of a graph that is being written; weights are taken from a state dict by name.

    Attributes:
        state: The weights.
        dtype: The type of all weights; `None`: int8 for tables and products.
    """

    def __init__(self, state: Mapping[str, NDArray[Any]], dtype: type[np.floating[Any]] | None = None) -> None:
        self.state = state
        self.dtype = dtype
        self.nodes: list[Any] = []
        self.tensors: dict[str, Any] = {}

    def add(self, kind: str, *inputs: Any, out: str = "", outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
        """Adds a node; returns the name of its output, or those of several."""
        names = [out] if out else [f"{kind}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(onnx.helper.make_node(kind, list(inputs), names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def tensor(self, values: NDArray[Any], name: str = "") -> str:
        """Adds a constant; returns its name."""
        name = name or f"constant_{len(self.tensors)}"
        self.tensors[name] = onnx.numpy_helper.from_array(np.asarray(values, order="C"), name)
        return name

    def integers(self, values: list[int]) -> str:
        """Adds a constant of int64; returns its name."""
        return self.tensor(np.array(values, np.int64))

    def weight(self, name: str) -> str:
        """Adds a weight; returns its name."""
        return self.tensor(self.state[name].astype(self.dtype or np.float32), name)

    def embedded(self, ids: str) -> str:
        """Adds the embeddings of token ids; returns the output's name."""
        if self.dtype is not None:
            return str(self.add("Gather", self.weight(f"{_WORDS}.weight"), ids))
        rows, scales = self.quantized(self.state[f"{_WORDS}.weight"], 127, 1, f"{_WORDS}.weight")
        words = self.add("Cast", self.add("Gather", rows, ids), to=onnx.TensorProto.FLOAT)
        return str(self.add("Mul", words, self.add("Gather", scales, ids)))

    def normalized(self, x: str, name: str, epsilon: float) -> str:
        """Adds a layer normalization; returns the output's name."""
        pair = (self.weight(f"{name}.weight"), self.weight(f"{name}.bias"))
        return str(self.add("LayerNormalization", x, *pair, epsilon=epsilon))

    def product(self, x: str, name: str) -> str:
        """Adds a linear layer; returns the output's name."""
        if self.dtype is not None:
            return self.plain(x, name)
        weight, scales = self.quantized(self.state[f"{name}.weight"].T, _LEVELS, 0, f"{name}.weight")
        zeros = self.tensor(np.zeros(self.state[f"{name}.bias"].shape, np.int8))
        constants = (weight, scales, zeros, self.weight(f"{name}.bias"))
        return str(self.add("DynamicQuantizeMatMul", x, *constants, domain=_MICROSOFT))

    def plain(self, x: str, name: str) -> str:
        """Adds a linear layer that is not quantized; returns the output's name."""
        weight = self.tensor(self.state[f"{name}.weight"].astype(self.dtype or np.float32).T, f"{name}.weight.T")
        return str(self.add("Add", self.add("MatMul", x, weight), self.weight(f"{name}.bias")))

    def quantized(self, table: NDArray[Any], levels: int, axis: int, name: str) -> tuple[str, str]:
        """Adds a matrix as int8 with a scale for each row (axis 1) or column (axis 0); returns both names."""
        scales = (np.abs(table).max(axis=axis, keepdims=True).clip(1e-8) / levels).astype(np.float32)
        values = np.rint(table / scales).astype(np.int8)
        return self.tensor(values, f"{name}.int8"), self.tensor(scales if axis else scales[0], f"{name}.int8.scales")

    def finish(self, states: str, shape: _Shape, dims: list[Any], inputs: Mapping[str, tuple[int, list[Any]]]) -> Any:
        """Adds the two heads; returns the model.

        Args:
            states: The encoder's output.
            shape: Written into the model, for `batched_graph`.
            dims: The dimensions of the token ids.
            inputs: The other inputs, with their types and dimensions.
        """
        first = self.add("Gather", states, self.tensor(np.array(0, np.int64)), axis=1)
        tokens, passage = self._head(states, "token_head"), self._head(first, "passage_head")
        info, types = onnx.helper.make_tensor_value_info, onnx.TensorProto
        self.add("Cast", tokens, to=types.FLOAT, out="tokens")
        self.add("Cast", self.add("Squeeze", passage, self.integers([-1])), to=types.FLOAT, out="passage")
        taken = dict.fromkeys(("input_ids", "token_type_ids"), (types.INT64, dims)) | dict(inputs)
        body = onnx.helper.make_graph(
            self.nodes,
            "classifier",
            [info(name, *what) for name, what in taken.items()],
            [
                info("tokens", types.FLOAT, [*dims, self.state["token_head.2.bias"].size]),
                info("passage", types.FLOAT, dims[:1]),
            ],
            list(self.tensors.values()),
        )
        versions = [onnx.helper.make_opsetid("", 20), onnx.helper.make_opsetid(_MICROSOFT, 1)]
        model = onnx.helper.make_model(body, opset_imports=versions, ir_version=10)
        onnx.helper.set_model_props(model, {name: str(value) for name, value in shape._asdict().items()})
        return model

    def _head(self, x: str, name: str) -> str:
        return self.plain(self.add("Gelu", self.product(x, f"{name}.0")), f"{name}.2")
