"""Scorers of the field, to measure beside ours: `python -m eval.extractive --system eval.published:Exit --set squad`.

Each loads its authors' checkpoint by name, from the hub or from a folder, and gives a sentence the score by which its
system decides. A network, or a copy of the checkpoint, is needed; a GPU is used where there is one.

A checkpoint that brings its own Python code is only loaded when asked: name an object with `trust_remote_code=True`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForTokenClassification, AutoTokenizer

from rag_compress.models.protocols import Passage
from rag_compress.models.torch import SentenceTransformerEncoder
from rag_compress.scorers import BiEncoderScorer

Scores = list[list[NDArray[np.float32]]]
Passages = Sequence[Sequence[Passage]]

_KEEP_LOGITS = ("pruning_logits", "compression_logits", "logits")
"""What OpenProvence, Provence and a plain token classifier call the logits of their tokens."""
_AROUND = 3000
"""Characters of a document before and after a sentence that EXIT reads: prompts never lose their question."""


@dataclass(frozen=True)
class Exit:
    """The probability of "Yes" when a language model is asked whether a sentence of a document is useful.

    One pass for each sentence; the context is the sentence's own document, as in the paper (not all of them, as in its
    first code); the two-way softmax is over the tokens "Yes" and "No". Source: Hwang et al., "EXIT: Context-Aware
    Extractive Compression for Enhancing Retrieval-Augmented Generation", 2025 (prompt: Table 6; threshold 0.5).

    Attributes:
        base: The language model.
        adapter: The LoRA adapter that is merged into it; `None`: none.
        batch_size: How many sentences the model reads at once.
        dtype: Of its weights; `None`: bfloat16 on a GPU, float32 on a CPU.
    """

    base: str = "google/gemma-2b-it"
    adapter: str | None = "doubleyyh/exit-gemma-2b"
    batch_size: int = 8
    dtype: str | None = None

    def score(self, queries: Sequence[str], passages: Passages) -> Scores:
        """Returns the probabilities, in [0, 1].

        Raises:
            ValueError: "Yes" or "No" is not one token of the model.
        """
        prompts = [
            exit_prompt(query, passage, start, end)
            for query, group in zip(queries, passages, strict=True)
            for passage in group
            for start, end in passage.sentences
        ]
        return _grouped(passages, self._yes(prompts))

    def _yes(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        tokenizer, model = _load_language_model(self.base, self.adapter, self.dtype)
        answers = [tokenizer.encode(word, add_special_tokens=False) for word in ("Yes", "No")]
        if any(len(ids) != 1 for ids in answers):
            raise ValueError(f'"Yes" and "No" must be one token each for {self.base}, not {answers}')
        scores = np.zeros(len(prompts), np.float32)
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        for rows in _slices(order, self.batch_size):
            batch = tokenizer([prompts[i] for i in rows], return_tensors="pt", padding=True, padding_side="left")
            with torch.inference_mode():
                logits = model(**batch.to(model.device), logits_to_keep=1).logits[:, -1, [ids[0] for ids in answers]]
            scores[rows] = logits.float().softmax(-1)[:, 0].cpu().numpy()
        return scores


@dataclass(frozen=True)
class LLMLingua2:
    """The mean probability that a token of the sentence is kept; the question is not read.

    Texts are read in chunks of at most 512 tokens. Source: Pan et al., "LLMLingua-2: Data Distillation for Efficient
    and Faithful Task-Agnostic Prompt Compression", 2024. It keeps words; its sentence score is the mean over its words'
    tokens.

    Attributes:
        checkpoint: A token classifier whose label 1 is to keep.
        batch_size: How many chunks the model reads at once.
    """

    checkpoint: str = "microsoft/llmlingua-2-xlm-roberta-large-meetingbank"
    batch_size: int = 8

    def score(self, queries: Sequence[str], passages: Passages) -> Scores:  # noqa: ARG002 - the question is not read
        """Returns the probabilities, in [0, 1]."""
        loaded = _load_token_classifier(self.checkpoint, trust_remote_code=False)
        flat = [passage for group in passages for passage in group]
        return _grouped(passages, _mean_keep(loaded, [(None, p, 0) for p in flat], self.batch_size))


@dataclass(frozen=True)
class LLMLingua2Small(LLMLingua2):
    """The smaller model of LLMLingua-2."""

    checkpoint: str = "microsoft/llmlingua-2-bert-base-multilingual-cased-meetingbank"


@dataclass(frozen=True)
class Provence:
    """The mean probability that a token of the sentence is kept, by a cross-encoder that reads question and passage.

    Source: Chirkova et al., "Provence: efficient and robust context pruning for retrieval-augmented generation", 2025
    (threshold 0.1 or 0.5). The title is read as the passage's first sentence.

    Attributes:
        checkpoint: Any token classifier whose label 1 is to keep; the authors' own brings its code.
        trust_remote_code: Whether the checkpoint's own Python code may run here.
        batch_size: How many windows the model reads at once.
    """

    checkpoint: str = "naver/provence-reranker-debertav3-v1"
    trust_remote_code: bool = False
    batch_size: int = 8

    def score(self, queries: Sequence[str], passages: Passages) -> Scores:
        """Returns the probabilities, in [0, 1].

        Raises:
            ValueError: The checkpoint brings its own code, and `trust_remote_code` is off.
        """
        loaded = _load_token_classifier(self.checkpoint, trust_remote_code=self.trust_remote_code)
        pairs = [
            (query, passage._replace(text=head + passage.text), len(head))
            for query, group in zip(queries, passages, strict=True)
            for passage in group
            for head in [f"{passage.title}\n" if passage.title else ""]
        ]
        return _grouped(passages, _mean_keep(loaded, pairs, self.batch_size))


@dataclass(frozen=True)
class OpenProvence(Provence):
    """Provence's permissive sibling on ModernBERT, its smallest model. Source: github.com/hotchpotch/open_provence."""

    checkpoint: str = "hotchpotch/open-provence-reranker-xsmall-v1"


def recomp(checkpoint: str = "fangyuan/nq_extractive_compressor") -> BiEncoderScorer:
    """Returns RECOMP's extractive compressor: the dot product of mean-pooled vectors that are not normalised.

    Source: Xu, Shi, Choi, "RECOMP: Improving Retrieval-Augmented LMs with Compression and Selective Augmentation",
    2024.
    """
    return BiEncoderScorer(SentenceTransformerEncoder(checkpoint, normalize=False))


def exit_prompt(query: str, passage: Passage, start: int, end: int) -> str:
    """Returns what EXIT asks of the sentence `[start, end)`; a long document is read around it."""
    document = passage.text[max(0, start - _AROUND) : end + _AROUND]
    context = f"{passage.title}\n{document}" if passage.title else document
    return (
        f"<start_of_turn>user\nQuery:\n{query}\nFull context:\n{context}\nSentence:\n{passage.text[start:end]}\n"
        'Is this sentence useful in answering the query? Answer only "Yes" or "No".<end_of_turn>\n'
        "<start_of_turn>model\n"
    )


def merge_lora(model: Any, folder: Path) -> None:
    """Adds a LoRA adapter to a model's weights, in place: W + alpha / r * B A for each adapted layer.

    Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2022; the files are PEFT's.
    """
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    weights = load_file(folder / "adapter_model.safetensors")
    scale = config["lora_alpha"] / config["r"]
    for name, down in weights.items():
        if ".lora_A" not in name:
            continue
        layer = model.get_submodule(name.removeprefix("base_model.model.").partition(".lora_A")[0])
        update = weights[name.replace(".lora_A", ".lora_B")].float() @ down.float()
        layer.weight.data += (scale * update).to(layer.weight)


class _Loaded(NamedTuple):
    tokenizer: Any
    model: Any


@lru_cache(maxsize=1)
def _load_language_model(base: str, adapter: str | None, dtype: str | None) -> _Loaded:
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    fitting = "bfloat16" if torch.cuda.is_available() else "float32"
    model = AutoModelForCausalLM.from_pretrained(base, dtype=getattr(torch, dtype or fitting))
    if adapter is not None:
        merge_lora(model, _folder_of(adapter))
    return _Loaded(tokenizer, _ready(model))


@lru_cache(maxsize=1)
def _load_token_classifier(checkpoint: str, *, trust_remote_code: bool) -> _Loaded:
    # Checkpoints with code of their own register it for AutoModel.
    kind = AutoModel if trust_remote_code else AutoModelForTokenClassification
    model = kind.from_pretrained(checkpoint, trust_remote_code=trust_remote_code, dtype=torch.float32)
    return _Loaded(AutoTokenizer.from_pretrained(checkpoint), _ready(model))


def _ready(model: Any) -> Any:
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def _folder_of(name: str) -> Path:
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(name))


def _mean_keep(
    loaded: _Loaded, inputs: Sequence[tuple[str | None, Passage, int]], batch_size: int
) -> NDArray[np.float32]:
    """Returns for all sentences, in order, the mean probability of label 1 over their tokens; 0 without tokens.

    The inputs are the query (or none), the passage as it is read, and by how much its sentences are shifted in there.
    """
    windows = [(i, *window) for i, (query, p, _) in enumerate(inputs) for window in _cut(loaded, query, p.text)]
    found: list[list[tuple[int, int, float]]] = [[] for _ in inputs]
    for batch in _slices(sorted(windows, key=lambda window: len(window[1]["input_ids"])), batch_size):
        padded = loaded.tokenizer.pad([features for _, features, _ in batch], return_tensors="pt")
        with torch.inference_mode():
            outputs = loaded.model(**padded.to(loaded.model.device))
        logits = next(outputs[name] for name in _KEEP_LOGITS if name in outputs)
        keep = logits.float().softmax(-1)[..., 1].cpu().numpy()
        for (i, _, offsets), row in zip(batch, keep, strict=True):
            found[i] += [(*o, float(p)) for o, p in zip(offsets, row, strict=False) if o is not None]
    scores = [
        _mean([p for first, last, p in tokens if first < end + shift and start + shift < last])
        for (_, passage, shift), tokens in zip(inputs, found, strict=True)
        for start, end in passage.sentences
    ]
    return np.array(scores, np.float32)


def _cut(loaded: _Loaded, query: str | None, text: str) -> Iterator[tuple[dict[str, Any], list[Any]]]:
    """Yields the windows over a text, each token in one: the model's inputs, and the offsets of the text's tokens."""
    own = 0 if query is None else 1
    encoding = loaded.tokenizer(
        *((text,) if query is None else (query, text)),
        truncation="longest_first" if query is None else "only_second",
        max_length=min(512, loaded.tokenizer.model_max_length),
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    for i, window in enumerate(encoding.encodings):
        features = {name: encoding[name][i] for name in loaded.tokenizer.model_input_names}
        yield features, [o if of == own else None for o, of in zip(window.offsets, window.sequence_ids, strict=True)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _slices(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def _grouped(passages: Passages, flat: NDArray[np.float32]) -> Scores:
    """Returns the scores of all sentences, in order, by query and passage."""
    values = iter(flat)
    return [[np.array([next(values) for _ in p.sentences], np.float32) for p in group] for group in passages]
