"""Encoders that run on torch, through sentence-transformers (extra `torch`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from rag_compress.errors import InvalidInput, importing
from rag_compress.models.protocols import Encoder
from rag_compress.processes import load_once
from rag_compress.tokens import without_surrogates


@dataclass(frozen=True)
class SentenceTransformerEncoder:
    """Encodes with a sentence-transformers model; one without such a set-up gets mean pooling.

    A text longer than the model's window is encoded in windows, and its vector is their mean, weighted by their
    lengths: nothing is cut. The model is loaded on the first use, once for each process.

    Attributes:
        model: The name of a model, or its folder.
        normalize: Whether vectors get length 1; RECOMP's are compared as they are.
        prefix: What the model wants before each text, such as "query: ".
        device: A torch device; `None`: the GPU if there is one.
        batch_size: How many texts the model reads at once.
    """

    model: str = "sentence-transformers/all-MiniLM-L6-v2"
    normalize: bool = True
    prefix: str = ""
    device: str | None = None
    batch_size: int = 32

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns float32 `(len(texts), dim)`.

        Raises:
            MissingExtra: sentence-transformers is not installed.
            InvalidInput: There is no such model or device, or its files are damaged.
        """
        if not texts:
            return self.encode([""])[:0]
        model = _load(self.model, self.device)
        windows = [self._windows(model, without_surrogates(text)) for text in texts]
        flat = [window for group in windows for window in group]
        vectors = model.encode(flat, batch_size=self.batch_size, show_progress_bar=False)
        starts = np.cumsum([0, *map(len, windows)])
        means = np.array([_mean(vectors[i : i + len(g)], g) for i, g in zip(starts, windows, strict=False)], np.float32)
        if not self.normalize:
            return means
        lengths = np.linalg.norm(means, axis=1, keepdims=True)
        return np.asarray(means / np.maximum(lengths, 1e-12), dtype=np.float32)

    @property
    def pooling(self) -> str:
        """How the model makes one vector of its tokens' (`mean`, `cls`, `lasttoken`, ...); empty if it does not say."""
        modes = [getattr(module, "pooling_mode", None) for module in _load(self.model, self.device)]
        return next((str(mode) for mode in modes if mode), "")

    def _windows(self, model: Any, text: str) -> list[str]:
        """Returns the text whole, with the prefix, or in windows that fit the model."""
        room = (model.max_seq_length or 512) - 2 - len(self.prefix)
        if len(text) <= room:  # no token is shorter than a character
            return [self.prefix + text]
        encoding = model.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        offsets = encoding["offset_mapping"]
        starts = range(0, max(1, len(offsets)), max(1, room))
        slices = [offsets[start : start + max(1, room)] for start in starts]
        return [self.prefix + (text[piece[0][0] : piece[-1][1]] if piece else "") for piece in slices]


@overload
def as_encoder(encoder: Encoder | str | PathLike[str]) -> Encoder: ...
@overload
def as_encoder(encoder: Encoder | str | PathLike[str] | None) -> Encoder | None: ...
def as_encoder(encoder: Encoder | str | PathLike[str] | None) -> Encoder | None:
    """Returns an encoder; a string or a path becomes the `SentenceTransformerEncoder` of that name or folder.

    Raises:
        InvalidInput: It is something else that cannot encode.
    """
    if isinstance(encoder, str | PathLike):
        return SentenceTransformerEncoder(fspath(encoder))
    if encoder is not None and not hasattr(encoder, "encode"):
        raise InvalidInput(f"An encoder needs a method `encode(texts)`, which {encoder!r:.200} has not")
    return encoder


def _mean(vectors: NDArray[np.float32], windows: Sequence[str]) -> NDArray[np.float32]:
    """Returns the mean of the windows' vectors, weighted by the windows' lengths."""
    return np.asarray(np.average(vectors, axis=0, weights=[max(1, len(window)) for window in windows]))


@load_once(maxsize=4)
def _load(model: str, device: str | None) -> Any:
    with importing("sentence-transformers", "torch", "SentenceTransformerEncoder"):
        from sentence_transformers import SentenceTransformer
    try:
        return SentenceTransformer(model, device=device)
    except Exception as error:  # what there is for damaged weights, absent devices and others
        on_device = f" on {device}" if device else ""
        raise InvalidInput(f"Cannot load the encoder {model!r}{on_device}: {error}") from error
