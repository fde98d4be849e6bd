"""The projector: its files, its checks, the layouts of others, and ONNX."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rag_compress.errors import InvalidInput
from rag_compress.testing import HashEncoder

torch = pytest.importorskip("torch")
from rag_compress.models.encoding import PROBE  # noqa: E402
from rag_compress.models.soft_tokens.projector import MlpProjector, ProjectorConfig, ProjectorNetwork, llm_probe  # noqa: E402

CONFIG = ProjectorConfig(6, 8, tokens=2, scale=2.0, encoder="some/encoder", llm="some/llm", normalized=True)


def make(config: ProjectorConfig = CONFIG) -> MlpProjector:
    """Returns a projector with random weights."""
    torch.manual_seed(0)
    return MlpProjector(ProjectorNetwork(config.dim, config.hidden, config.tokens, config.scale).eval(), config)


def unit(rows: int, dim: int = 6) -> np.ndarray:
    """Returns random vectors of length 1."""
    vectors = np.random.default_rng(0).normal(size=(rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_the_formula() -> None:
    """Soft tokens are two linear layers with the exact GELU between them."""
    from math import erf

    projector, vectors = make(), unit(3)
    first, second = projector.network.first, projector.network.second
    inner = 2.0 * vectors @ first.weight.detach().numpy().T + first.bias.detach().numpy()
    gelu = inner * 0.5 * (1 + np.vectorize(erf)(inner / 2**0.5))
    expected = (gelu @ second.weight.detach().numpy().T + second.bias.detach().numpy()).reshape(3, 2, 8)
    np.testing.assert_allclose(projector.project(vectors), expected, atol=1e-5)


def test_save_and_load(tmp_path: Path) -> None:
    """Weights and config survive; the files are safetensors and JSON."""
    projector = make(replace(CONFIG, encoder_probe=(0.5, 0.25), llm_probe=(1.0,)))
    projector.save(tmp_path / "p")
    loaded = MlpProjector.from_folder(tmp_path / "p")
    assert loaded.config == projector.config
    np.testing.assert_array_equal(loaded.project(unit(4)), projector.project(unit(4)))
    assert sorted(p.name for p in (tmp_path / "p").iterdir()) == ["projector.json", "projector.safetensors"]


@pytest.mark.parametrize("damage", ["missing", "json", "field", "weights", "sizes"])
def test_folders_that_hold_no_projector(tmp_path: Path, damage: str) -> None:
    """Whatever is wrong with a folder, the error names it."""
    folder = tmp_path / "p"
    make().save(folder)
    record = json.loads((folder / "projector.json").read_text())
    if damage == "missing":
        folder = tmp_path / "nothing"
    elif damage == "json":
        (folder / "projector.json").write_text("{")
    elif damage == "field":
        (folder / "projector.json").write_text(json.dumps({**record, "magic": 1}))
    elif damage == "weights":
        (folder / "projector.safetensors").write_bytes(b"nonsense")
    else:
        (folder / "projector.json").write_text(json.dumps({**record, "hidden": 9}))
    with pytest.raises(InvalidInput, match=r"nothing|/p "):
        MlpProjector.from_folder(folder)


def test_embeddings_of_another_encoder() -> None:
    """Another length, or another normalisation, is an error: it would give soft tokens that mean nothing."""
    projector = make()
    with pytest.raises(InvalidInput, match=r"embeddings \(n, 6\), not \(2, 5\)"):
        projector.project(unit(2, 5))
    with pytest.raises(InvalidInput, match="of length 1, not 3"):
        projector.project(np.concatenate([unit(2), 3 * unit(1)]))
    with pytest.raises(InvalidInput, match="were normalized"):
        make(replace(CONFIG, normalized=False)).project(unit(2))
    normalizing = replace(CONFIG, normalized=False, encoder_probe=tuple(unit(1)[0].tolist()))
    assert make(normalizing).project(unit(2)).shape == (2, 2, 8), "an encoder that normalizes by itself"


def test_another_encoder_or_llm() -> None:
    """The probes tell encoders and LLMs of the same sizes apart."""
    encoder = HashEncoder(6)
    projector = make(replace(CONFIG, encoder_probe=tuple(encoder.encode([PROBE])[0].tolist())))
    projector.check_encoder(encoder)

    class Other:
        def encode(self, texts: list[str]) -> np.ndarray:
            return np.roll(encoder.encode(texts), 1, axis=1)

    with pytest.raises(InvalidInput, match="trained with the encoder 'some/encoder'"):
        projector.check_encoder(Other())
    torch.manual_seed(0)
    table, other = torch.nn.Embedding(10, 8), torch.nn.Embedding(10, 8)
    fitted = make(replace(CONFIG, llm_probe=tuple(llm_probe(table))))
    fitted.check_llm(table)
    fitted.check_llm(table.to(torch.bfloat16))
    with pytest.raises(InvalidInput, match="trained for the LLM 'some/llm'"):
        fitted.check_llm(other)
    with pytest.raises(InvalidInput, match="of length 7"):
        make().check_llm(torch.nn.Embedding(10, 7))


@pytest.mark.parametrize("layout", ["bin", "sharded bin", "safetensors", "sharded safetensors", "file"])
def test_the_layouts_of_the_published_checkpoints(tmp_path: Path, layout: str) -> None:
    """`Hannibal046/xrag-7b` holds the LLM too, in shards, with the projector's layers under names of their own."""
    from safetensors.torch import save_file

    torch.manual_seed(0)
    theirs = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.GELU(), torch.nn.Linear(8, 8))
    own = {f"projector.projector.{k}": v.detach().to(torch.bfloat16) for k, v in theirs.state_dict().items()}
    llm = {"model.embed_tokens.weight": torch.zeros(4, 8), "lm_head.weight": torch.zeros(4, 8)}
    kind, suffix = ("model", "safetensors") if "safetensors" in layout else ("pytorch_model", "bin")
    write = save_file if suffix == "safetensors" else torch.save
    if layout.startswith("sharded"):
        parts = {
            f"{kind}-00001-of-00002.{suffix}": llm | {k: v for k, v in own.items() if ".0." in k},
            f"{kind}-00002-of-00002.{suffix}": {k: v for k, v in own.items() if ".2." in k},
        }
        places = {key: name for name, part in parts.items() for key in part}
        (tmp_path / f"{kind}.{suffix}.index.json").write_text(json.dumps({"weight_map": places}))
    else:
        parts = {f"{kind}.{suffix}": llm | own}
    for name, part in parts.items():
        write(part, tmp_path / name)
    where = tmp_path / "pytorch_model.bin" if layout == "file" else tmp_path
    config = ProjectorConfig(6, 8, llm="mistralai/Mistral-7B-Instruct-v0.2", pooling="lasttoken")
    if suffix == "bin":
        with pytest.raises(InvalidInput, match="pass allow_pickle=True"):
            MlpProjector.from_xrag(where, config)
    projector = MlpProjector.from_xrag(where, config, allow_pickle=suffix == "bin")
    vectors = 3 * unit(5)
    with torch.inference_mode():
        expected = theirs.to(torch.bfloat16).float()(torch.from_numpy(vectors)).numpy()
    np.testing.assert_allclose(projector.project(vectors)[:, 0], expected, atol=1e-5)


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    """Permission to read a pickle is no permission to run what is in it."""
    import pickle

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return print, ("ran",)

    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps({"projector.projector.0.weight": Evil()}))
    with pytest.raises(InvalidInput, match="cannot be read as a checkpoint"):
        MlpProjector.from_xrag(tmp_path, CONFIG, allow_pickle=True)


def test_checkpoints_without_a_projector(tmp_path: Path) -> None:
    """A folder without weights, and one with an LLM alone."""
    from safetensors.torch import save_file

    with pytest.raises(InvalidInput, match="holds no checkpoint"):
        MlpProjector.from_xrag(tmp_path, CONFIG)
    save_file({"lm_head.weight": torch.zeros(4, 8)}, tmp_path / "model.safetensors")
    with pytest.raises(InvalidInput, match="no projector of this size"):
        MlpProjector.from_xrag(tmp_path, CONFIG)


def test_onnx(tmp_path: Path) -> None:
    """The graph gives what torch gives, for any number of embeddings."""
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    from rag_compress.models.export import export_projector

    projector = make()
    export_projector(projector, tmp_path / "projector.onnx")
    session = runtime.InferenceSession(str(tmp_path / "projector.onnx"), providers=["CPUExecutionProvider"])
    for rows in (1, 5):
        (found,) = session.run(None, {"embeddings": unit(rows)})
        np.testing.assert_allclose(found, projector.project(unit(rows)), atol=1e-5)
