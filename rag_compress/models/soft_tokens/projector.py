"""The projector of xRAG: two linear layers from an encoder's vectors to input embeddings of one LLM (extra `torch`).

    soft tokens = W2 gelu(W1 (s e) + b1) + b2,   W1 (hidden, dim),   W2 (tokens * hidden, hidden)

The published one has a scale s of 1 and one token. Source: Cheng et al., "xRAG: Extreme Context Compression for
Retrieval-augmented Generation with One Token" (arXiv 2405.13792, 2024).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag_compress.errors import InvalidInput, importing
from rag_compress.models.encoding import PROBE, same_direction
from rag_compress.models.protocols import Encoder
from rag_compress.models.torch import SentenceTransformerEncoder

with importing("torch", "torch", "Making soft tokens"):
    import torch
    from safetensors.torch import load_file, save_file
    from torch import Tensor, nn

CONFIG, WEIGHTS = "projector.json", "projector.safetensors"
_UNIT = 1e-2
_LAYERS = {"projector.projector.0": "first", "projector.projector.2": "second"}
"""Names in the checkpoints of `Hannibal046/xrag-7b` and `xrag-moe`, which hold the whole LLM beside them."""


class ProjectorNetwork(nn.Module):  # type: ignore[misc]  # torch is not type-checked
    """The two layers."""

    def __init__(self, dim: int, hidden: int, tokens: int = 1, scale: float = 1.0) -> None:
        super().__init__()
        self.first = nn.Linear(dim, hidden)
        self.second = nn.Linear(hidden, tokens * hidden)
        self.tokens, self.scale = tokens, scale

    def forward(self, embeddings: Tensor) -> Tensor:
        """Returns `(n, tokens, hidden)` for `(n, dim)`."""
        projected = self.second(nn.functional.gelu(self.first(self.scale * embeddings)))
        return projected.unflatten(-1, (self.tokens, -1))


@dataclass(frozen=True)
class ProjectorConfig:
    """What a projector was trained for, checked when it is used.

    Attributes:
        dim: The length of the embeddings.
        hidden: The length of the LLM's input embeddings.
        tokens: The soft tokens of one embedding.
        scale: What embeddings are multiplied by, so that those of length 1 have entries of about 1, too.
        encoder: The name or folder of the encoder.
        pooling: How it makes one vector of many: `mean`, `cls`, `lasttoken`, ...; empty if that is not known.
        normalized: Whether its vectors have length 1.
        prefix: What the encoder reads before each text.
        llm: The name or folder of the LLM.
        encoder_probe: The vector of a probe text; none: nothing to compare with.
        llm_probe: One row of the LLM's input embeddings; none: nothing to compare with.
        chat: Whether the LLM reads prompts through its chat template.
    """

    dim: int
    hidden: int
    tokens: int = 1
    scale: float = 1.0
    encoder: str = ""
    pooling: str = ""
    normalized: bool = False
    prefix: str = ""
    llm: str = ""
    encoder_probe: tuple[float, ...] = field(default=(), repr=False)
    llm_probe: tuple[float, ...] = field(default=(), repr=False)
    chat: bool = True


@dataclass(frozen=True, eq=False)
class MlpProjector:
    """A trained projector."""

    network: ProjectorNetwork = field(repr=False)
    config: ProjectorConfig

    @classmethod
    def from_folder(cls, folder: str | PathLike[str]) -> MlpProjector:
        """Returns the projector that `save` wrote.

        Raises:
            InvalidInput: The folder holds none.
        """
        folder = Path(folder)
        try:
            record: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            record |= {name: tuple(record[name]) for name in ("encoder_probe", "llm_probe")}
            config = ProjectorConfig(**record)
            state = load_file(folder / WEIGHTS)
        except Exception as error:  # safetensors has an error of its own that it does not export
            raise InvalidInput(f"{folder} cannot be read as a projector: {error!r:.200}") from error
        return cls._of(state, config, str(folder))

    @classmethod
    def from_xrag(
        cls, path: str | PathLike[str], config: ProjectorConfig, *, allow_pickle: bool = False
    ) -> MlpProjector:
        """Returns the projector in a checkpoint of xRAG's authors.

        Args:
            path: A downloaded `Hannibal046/xrag-7b` or `Hannibal046/xrag-moe`: its folder, with one file or an index of
                many, or a file of it.
            config: What its model card says; published is `ProjectorConfig(4096, 4096, encoder=
                "Salesforce/SFR-Embedding-Mistral", pooling="lasttoken", llm="mistralai/Mistral-7B-Instruct-v0.2")`.
            allow_pickle: Whether to read `.bin` files, which torch unpickles, with `weights_only=True`; `.safetensors`
                files need no permission.

        Raises:
            InvalidInput: No file, or no layer of the projector in it; or the sizes are others than the config's.
        """
        state: dict[str, Any] = {}
        for file in _files_with(Path(path), _LAYERS):
            state |= _tensors(file, allow_pickle=allow_pickle)
        named = {
            f"{own}.{part}": state[f"{theirs}.{part}"].float()
            for theirs, own in _LAYERS.items()
            for part in ("weight", "bias")
            if f"{theirs}.{part}" in state
        }
        return cls._of(named, config, str(path))

    @classmethod
    def _of(cls, state: Mapping[str, Any], config: ProjectorConfig, where: str) -> MlpProjector:
        network = ProjectorNetwork(config.dim, config.hidden, config.tokens, config.scale)
        expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
        found = {name: tuple(value.shape) for name, value in state.items()}
        if found != expected:
            raise InvalidInput(f"{where} holds no projector of this size: {found} instead of {expected}")
        network.load_state_dict(state)
        return cls(network.eval(), config)

    def save(self, folder: str | PathLike[str]) -> None:
        """Writes the weights as safetensors, and the config as JSON beside them."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        state = {name: value.detach().float().cpu().contiguous() for name, value in self.network.state_dict().items()}
        save_file(state, folder / WEIGHTS)
        (folder / CONFIG).write_text(json.dumps(asdict(self.config), indent=1), encoding="utf-8")

    def project(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns float32 `(n, tokens, hidden)` for embeddings `(n, dim)`.

        Raises:
            InvalidInput: The embeddings are not of the length, or not normalized, as the projector was trained with.
        """
        self.check_embeddings(embeddings)
        rows = torch.from_numpy(np.ascontiguousarray(embeddings, dtype=np.float32))
        device = self.network.first.weight.device
        with torch.inference_mode():
            return np.asarray(self.network(rows.to(device)).cpu().numpy(), dtype=np.float32)

    def check_embeddings(self, embeddings: NDArray[np.float32]) -> None:
        """Raises `InvalidInput` unless embeddings can be this projector's encoder's, by their length and norms."""
        shape = np.shape(embeddings)
        if len(shape) != 2 or shape[1] != self.config.dim:
            raise InvalidInput(f"The projector reads embeddings (n, {self.config.dim}), not {shape}")
        norms = np.linalg.norm(embeddings, axis=1)
        if self.config.normalized and np.any(np.abs(norms - 1) > _UNIT):
            raise InvalidInput(
                f"The projector reads embeddings of length 1, not {float(norms[np.argmax(np.abs(norms - 1))]):.3g}"
            )
        unlike = abs(np.linalg.norm(self.config.encoder_probe) - 1) > 1e-4  # some encoders normalize by themselves
        if not self.config.normalized and unlike and len(norms) > 1 and np.all(np.abs(norms - 1) < 1e-4):
            raise InvalidInput("The projector reads embeddings as the encoder makes them, and these were normalized")

    def encoder(self) -> SentenceTransformerEncoder:
        """Returns the encoder that the config names, after checking that it is the one trained with."""
        config = self.config
        encoder = SentenceTransformerEncoder(config.encoder, normalize=config.normalized, prefix=config.prefix)
        self.check_encoder(encoder)
        return encoder

    def check_encoder(self, encoder: Encoder) -> None:
        """Raises `InvalidInput` unless an encoder gives the probe text the same vector as the one trained with."""
        if self.config.encoder_probe:
            seen = encoder.encode([PROBE])[0]
            if not _is_same(seen, self.config.encoder_probe):
                own = f"{self.config.encoder!r} (pooling {self.config.pooling!r}, normalized: {self.config.normalized})"
                raise InvalidInput(
                    f"The projector was trained with the encoder {own}; {encoder!r:.200} encodes otherwise"
                )

    def check_llm(self, input_embeddings: Any) -> None:
        """Raises `InvalidInput` unless an LLM's table of input embeddings is that of the one trained for."""
        table = input_embeddings.weight
        if table.shape[1] != self.config.hidden or (
            self.config.llm_probe and not _is_same(llm_probe(input_embeddings), self.config.llm_probe)
        ):
            raise InvalidInput(
                f"The projector was trained for the LLM {self.config.llm!r}, whose input embeddings have length "
                f"{self.config.hidden}; this is another one, of length {table.shape[1]}"
            )


def llm_probe(input_embeddings: Any) -> list[float]:
    """Returns the row in the middle of a table of input embeddings, by which the LLM is known again."""
    table = input_embeddings.weight
    row: list[float] = table[len(table) // 2].detach().float().cpu().tolist()
    return row


def _is_same(seen: Sequence[float] | NDArray[np.float32], expected: Sequence[float]) -> bool:
    """Returns whether two vectors are the same but for rounding: in direction, and nearly in length."""
    one, other = float(np.linalg.norm(seen)), float(np.linalg.norm(expected))
    return same_direction(seen, expected) and abs(one - other) <= _UNIT * other + 1e-9


def _files_with(path: Path, layers: Mapping[str, str]) -> list[Path]:
    """Returns the files of a checkpoint that hold layers with these names."""
    if path.is_file():
        return [path]
    for name in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        if (path / name).is_file():
            places = json.loads((path / name).read_text(encoding="utf-8"))["weight_map"]
            return sorted({path / file for key, file in places.items() if key.rpartition(".")[0] in layers})
    found = [path / name for name in ("model.safetensors", "pytorch_model.bin") if (path / name).is_file()]
    if not found:
        raise InvalidInput(f"{path} holds no checkpoint: neither safetensors nor pytorch_model.bin")
    return found[:1]


def _tensors(file: Path, *, allow_pickle: bool) -> dict[str, Any]:
    try:
        if file.suffix == ".safetensors":
            return dict(load_file(file))
        if not allow_pickle:
            raise InvalidInput(f"{file} is a pickle: if you trust where it comes from, pass allow_pickle=True")
        return dict(torch.load(file, map_location="cpu", weights_only=True, mmap=True))
    except (OSError, RuntimeError, UnpicklingError) as error:
        raise InvalidInput(f"{file} cannot be read as a checkpoint: {error!r:.200}") from error
