"""Exported graphs say what the network says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_classifier import windows, write_encoder
from transformers import ElectraConfig, ElectraModel

from rag_compress.errors import ModelError
from rag_compress.models.classifier.fused import is_supported
from rag_compress.models.classifier.network import Batch, ClassifierNetwork, torch
from rag_compress.models.export import export_classifier
from rag_compress.models.onnx import open_session

WINDOWS = windows()


def _network(tmp_path: Path, kind: str) -> ClassifierNetwork:
    torch.manual_seed(1)
    if kind == "bert":
        return ClassifierNetwork.from_encoder(str(write_encoder(tmp_path / "encoder"))).eval()
    config = ElectraConfig(
        vocab_size=60, embedding_size=16, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32,
    )  # fmt: skip
    return ClassifierNetwork(ElectraModel(config)).eval()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bert", "electra"])
def test_both_graphs_agree_with_torch(tmp_path: Path, kind: str) -> None:
    """The fp32 graph in padded batches, the int8 graph window by window; BERT's is fused and needs no mask."""
    network = _network(tmp_path, kind)
    assert is_supported(network.encoder) == (kind == "bert")
    # Weights that matter: fresh ones are so small that any graph would agree.
    for parameter in network.parameters():
        parameter.data.mul_(3.0)
    differences = export_classifier(network, WINDOWS, tmp_path)
    assert differences["fp32"] < 1e-4
    assert differences["int8"] < 0.1
    session = open_session(tmp_path / "model.int8.onnx")
    names = {value.name for value in session.get_inputs()}
    assert ("attention_mask" in names) == (kind != "bert")
    with torch.inference_mode():
        tokens, passages = network(*Batch.of(WINDOWS[2:3]))
    assert np.abs(tokens.numpy()).max() > 1
    feeds = {name: array.numpy() for name, array in Batch.of(WINDOWS[2:3])._asdict().items() if name in names}
    own, passage = session.run(None, feeds)
    assert own.shape == tokens.shape
    assert passage.shape == passages.shape


def test_a_graph_that_differs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong graph is an error, not a file that somebody ships."""
    network = _network(tmp_path, "bert")
    monkeypatch.setattr("rag_compress.models.export.FP32_TOLERANCE", -1.0)
    with pytest.raises(ModelError, match="fp32 graph differs"):
        export_classifier(network, WINDOWS[:2], tmp_path)
