"""The classifier's network in torch: any encoder, with a head on its tokens and a head on its first token.

Only training and export import this file; scoring runs the exported graph (`scorers/classifier.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rag_compress.errors import InvalidInput, importing
from rag_compress.models.classifier.windows import Window, load_tokenizer

with importing("torch", "torch", "Training a model"):
    import torch
    from torch import Tensor, nn
    from transformers import AutoConfig, AutoModel, AutoTokenizer

__all__ = ["HEADS", "Batch", "ClassifierNetwork", "encoder_tokenizer", "pool_tokens", "torch"]

HEADS = 4


class Batch(NamedTuple):
    """Windows of about one length, padded to the longest.

    Attributes:
        input_ids: int64 `(windows, tokens)`.
        attention_mask: int64 `(windows, tokens)`, 0 on padding.
        token_type_ids: int64 `(windows, tokens)`.
    """

    input_ids: Tensor
    attention_mask: Tensor
    token_type_ids: Tensor

    @classmethod
    def of(cls, windows: Sequence[Window], device: str = "cpu") -> Batch:
        """Returns the windows as one padded batch."""
        ids = np.zeros((3, len(windows), max(len(window.ids) for window in windows)), dtype=np.int64)
        for i, window in enumerate(windows):
            ids[0, i, : len(window.ids)] = window.ids
            ids[1, i, : len(window.ids)] = 1
            ids[2, i, : len(window.ids)] = window.types
        return cls(*torch.from_numpy(ids).to(device))


class ClassifierNetwork(nn.Module):  # type: ignore[misc]  # torch is not type-checked
    """An encoder over query and passage; each token gets values and weights, the first token the passage's logit.

    A sentence's logit is the sum over heads of the softmax-weighted mean of its tokens' values (`pool_tokens`, and
    `windows.pool` in numpy): weights of 0, where training starts, make that the plain mean of Provence (Chirkova et
    al., "Provence: efficient and robust context pruning for retrieval-augmented generation", 2025), and training can
    move it to the tokens that decide.
    """

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        hidden = encoder.config.hidden_size
        self.encoder = encoder
        self.has_types = (getattr(encoder.config, "type_vocab_size", 0) or 0) > 1
        self.token_head = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, 2 * HEADS))
        self.passage_head = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, 1))
        nn.init.zeros_(self.token_head[-1].weight[HEADS:])
        nn.init.zeros_(self.token_head[-1].bias)

    @classmethod
    def from_encoder(cls, name: str) -> ClassifierNetwork:
        """Returns the network around a pretrained encoder, by name or folder, with new heads.

        Raises:
            InvalidInput: There is no such encoder, or it cannot be fetched.
        """
        # One pass over the data cannot be learned by heart: dropout would only slow it down.
        off = dict.fromkeys(
            ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout"), 0.0
        )
        try:
            config = AutoConfig.from_pretrained(name)
            encoder = AutoModel.from_pretrained(name, config=_with(config, off), dtype=torch.float32)
        except (OSError, ValueError) as error:
            raise InvalidInput(f"Cannot load the encoder {name!r}: {error}") from error
        if hasattr(encoder, "decoder"):  # T5, BART
            raise InvalidInput(f"{name!r} is no encoder: {type(encoder).__name__} has a decoder, too")
        return cls(encoder)

    @classmethod
    def from_config(cls, folder: str) -> ClassifierNetwork:
        """Returns the network around an encoder of a folder's `config.json`, with random weights."""
        return cls(AutoModel.from_config(AutoConfig.from_pretrained(folder)))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the token outputs `(windows, tokens, 2 * HEADS)` and the passage logits `(windows,)`."""
        types = {"token_type_ids": token_type_ids} if self.has_types else {}
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **types).last_hidden_state
        return self.token_head(states), self.passage_head(states[:, 0]).squeeze(-1)


def encoder_tokenizer(name: str) -> Any:
    """Returns the `tokenizers.Tokenizer` of an encoder, by name or folder, set neither to pad nor to truncate.

    Raises:
        InvalidInput: There is none, or it cannot be fetched.
    """
    if (Path(name) / "tokenizer.json").is_file():
        return load_tokenizer(Path(name) / "tokenizer.json")
    try:
        tokenizer = AutoTokenizer.from_pretrained(name).backend_tokenizer
    except (OSError, ValueError, KeyError, AttributeError) as error:  # the last: it is written in Python
        raise InvalidInput(f"Cannot load a fast tokenizer of the encoder {name!r}: {error}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def pool_tokens(outputs: Tensor, sentence_of: Tensor, sentences: int) -> Tensor:
    """Returns the logits `(sentences,)` from token outputs `(tokens, 2 * HEADS)` and each token's sentence."""
    values, weights = outputs.float().split(HEADS, dim=1)
    most = torch.full((sentences, HEADS), -torch.inf, device=outputs.device)
    most = most.index_reduce(0, sentence_of, weights.detach(), "amax")
    weight = (weights - most[sentence_of]).exp()
    total = torch.zeros(sentences, HEADS, device=outputs.device).index_add(0, sentence_of, weight)
    summed = torch.zeros(sentences, HEADS, device=outputs.device).index_add(0, sentence_of, weight * values)
    return (summed / total).sum(dim=1)


def _with(config: Any, values: Mapping[str, float]) -> Any:
    for name, value in values.items():
        if hasattr(config, name):
            setattr(config, name, value)
    return config
