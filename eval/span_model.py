"""A small extractive reader: an encoder that marks where an answer starts and ends, or that there is none.

It is the downstream model of the evaluation: what a compressor leaves is worth what a reader can still answer from it.
The start and end logits, with the null answer at the first token, are those of Devlin et al., "BERT: Pre-training of
Deep Bidirectional Transformers for Language Understanding", 2019 (SQuAD 2.0).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from rag_compress.models.classifier.network import Batch, encoder_tokenizer
from rag_compress.models.classifier.windows import Window

MAX_TOKENS = 384
_OVERLAP = 96
_LONGEST_QUERY = 256
"""Characters of a query that are read: a window has room for the text whatever is asked."""
_LONGEST_ANSWER = 30
_BATCH_TOKENS = 8192


class TextWindow(NamedTuple):
    """A window over query and text.

    Attributes:
        window: Its tokens.
        offsets: For each token, its characters in the text; `None` for the query's and special tokens.
    """

    window: Window
    offsets: list[tuple[int, int] | None]

    def place(self, start: int, end: int) -> tuple[int, int] | None:
        """Returns the first and the last token of the characters `[start, end)`, or `None` when some are elsewhere."""
        inside = [i for i, o in enumerate(self.offsets) if o is not None and o[0] < end and start < o[1]]
        if not inside:
            return None
        first, last = self.offsets[inside[0]], self.offsets[inside[-1]]
        whole = first is not None and last is not None and first[0] <= start and end <= last[1]
        return (inside[0], inside[-1]) if whole else None


class Answer(NamedTuple):
    """What a reader finds in a text.

    Attributes:
        text: The answer.
        score: By how much its logits beat those of the null answer in the same window.
    """

    text: str
    score: float


NO_ANSWER = Answer("", -np.inf)


class SpanNetwork(nn.Module):  # type: ignore[misc]  # torch is not type-checked
    """An encoder with two logits for each token: the answer starts here, the answer ends here."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.config.hidden_size, 2)

    @classmethod
    def from_encoder(cls, folder: str) -> SpanNetwork:
        """Returns the network around a pretrained encoder without dropout, with a new head."""
        config = AutoConfig.from_pretrained(folder, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        return cls(AutoModel.from_pretrained(folder, config=config, dtype=torch.float32))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Returns the logits `(windows, 2, tokens)`, very low on padding."""
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        logits = self.head(states.last_hidden_state).transpose(1, 2)
        return logits.masked_fill(attention_mask[:, None] == 0, -1e4)


@dataclass(frozen=True)
class Reader:
    """Answers a query from texts, each read on its own in overlapping windows: nothing is cut.

    Attributes:
        network: Marks the answer in a window.
        tokenizer: A `tokenizers.Tokenizer`, as `cutting_tokenizer` returns it.
    """

    network: SpanNetwork
    tokenizer: Any

    @classmethod
    def new(cls, encoder: str) -> Reader:
        """Returns a reader around a pretrained encoder that has learned nothing yet."""
        return cls(SpanNetwork.from_encoder(encoder), cutting_tokenizer(encoder))

    def save(self, file: Path) -> None:
        """Writes the weights."""
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(self.network.state_dict(), file)

    def load(self, file: Path) -> Reader:
        """Takes up the weights in a file and returns the reader."""
        self.network.load_state_dict(torch.load(file, weights_only=True))
        return self

    def read(self, queries: Sequence[str], texts: Sequence[Sequence[str]]) -> list[Answer]:
        """Returns the best answer to each query in its texts; `NO_ANSWER` when they hold no token.

        The windows of all queries are read in batches of about one length.
        """
        cut = [
            (i, text, window)
            for i, (query, group) in enumerate(zip(queries, texts, strict=True))
            for text in group
            for window in windows_of(self.tokenizer, query, text)
        ]
        best = [NO_ANSWER] * len(queries)
        for batch in _batches(sorted(cut, key=lambda item: len(item[2].window.ids))):
            logits = self._logits([item[2].window for item in batch])
            for (i, text, window), own in zip(batch, logits, strict=True):
                best[i] = max(best[i], _answer(text, window, own), key=lambda answer: answer.score)
        return best

    def _logits(self, windows: Sequence[Window]) -> NDArray[np.float32]:
        self.network.eval()
        with torch.inference_mode():
            logits: NDArray[np.float32] = self.network(*Batch.of(windows)).numpy()
        return logits


def cutting_tokenizer(encoder: str) -> Any:
    """Returns the encoder's tokenizer, set to cut the second of two texts into overlapping windows."""
    tokenizer = encoder_tokenizer(encoder)
    tokenizer.enable_truncation(MAX_TOKENS, stride=_OVERLAP, strategy="only_second")
    return tokenizer


def windows_of(tokenizer: Any, query: str, text: str) -> list[TextWindow]:
    """Returns the windows over a text; none when it is blank."""
    if not text.strip():
        return []
    encoding = tokenizer.encode(query[:_LONGEST_QUERY], text)
    return [
        TextWindow(
            Window(part.ids, part.type_ids, 0, 0, len(part.ids)),
            [o if of == 1 else None for o, of in zip(part.offsets, part.sequence_ids, strict=True)],
        )
        for part in (encoding, *encoding.overflowing)
    ]


def _batches(items: Sequence[tuple[int, str, TextWindow]]) -> Iterator[list[tuple[int, str, TextWindow]]]:
    """Yields runs of windows, shorter ones first, of at most `_BATCH_TOKENS` tokens with padding."""
    batch: list[tuple[int, str, TextWindow]] = []
    for item in items:
        if batch and (len(batch) + 1) * len(item[2].window.ids) > _BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def _answer(text: str, window: TextWindow, logits: NDArray[np.float32]) -> Answer:
    """Returns the span of at most `_LONGEST_ANSWER` tokens with the highest sum of start and end logit."""
    places = [i for i, offsets in enumerate(window.offsets) if offsets is not None]
    if not places:
        return NO_ANSWER
    first, size = places[0], len(places)
    starts, ends = logits[:, first : first + size]
    distance = np.arange(size)[None] - np.arange(size)[:, None]
    sums = np.where((distance >= 0) & (distance < _LONGEST_ANSWER), starts[:, None] + ends[None], -np.inf)
    start, end = np.unravel_index(int(sums.argmax()), sums.shape)
    (begin, _), (_, stop) = window.offsets[first + int(start)] or (0, 0), window.offsets[first + int(end)] or (0, 0)
    return Answer(text[begin:stop], float(sums[start, end] - logits[0, 0] - logits[1, 0]))
