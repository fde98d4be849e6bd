"""Summarizers that run on transformers: sequence-to-sequence checkpoints, and instruction-tuned causal ones."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rag_compress.checks import check_count
from rag_compress.errors import InvalidInput, importing
from rag_compress.models.protocols import Summary
from rag_compress.models.summarizers.instructions import messages, read_reply, without_last_sentence
from rag_compress.models.summarizers.spelling import copied_text
from rag_compress.processes import load_once
from rag_compress.tokens import without_surrogates

RECOMP = "Question: {query}\n Document: {documents}\n Summary: "
"""The input that RECOMP's abstractive compressors were trained on."""
FLAN = "{documents}\n\nSummarize only what helps to answer the question: {query}"
PLAIN = "{documents}"
"""For models that were trained without questions, such as BART on news."""
SETTINGS = "summarizer.json"


@dataclass(frozen=True)
class Seq2SeqSummarizer:
    """Summarises with a sequence-to-sequence checkpoint: T5, Flan-T5, BART, RECOMP's, or one trained here.

    The model is loaded on the first use, once for each process. A text that is longer than its window is an error in
    place of a summary, and never cut; an unfinished last sentence is left out.

    Attributes:
        model: The name of a model, or its folder.
        template: What the model reads, with `{documents}` and, unless it knows no questions, `{query}`.
        max_source_tokens: The longest input, in the model's own tokens.
        beams: How many summaries are pursued at once; 1: greedy.
        device: A torch device; `None`: the GPU if there is one.
        batch_size: How many texts are read at once.
    """

    model: str = "fangyuan/nq_abstractive_compressor"
    template: str = RECOMP
    max_source_tokens: int = 1024
    beams: int = 1
    device: str | None = None
    batch_size: int = 8

    def __post_init__(self) -> None:
        check_template(self.template)
        for name in ("max_source_tokens", "beams", "batch_size"):
            check_count(name, getattr(self, name), least=1)

    @classmethod
    def recomp(cls, model: str = "fangyuan/nq_abstractive_compressor", **options: Any) -> Seq2SeqSummarizer:
        """Returns RECOMP's; also `fangyuan/tqa_abstractive_compressor` and `fangyuan/hotpotqa_abstractive`."""
        return cls(model, RECOMP, **options)

    @classmethod
    def flan_t5(cls, model: str = "google/flan-t5-base", **options: Any) -> Seq2SeqSummarizer:
        """Returns an instruction-tuned T5."""
        return cls(model, FLAN, **{"max_source_tokens": 512, **options})

    @classmethod
    def bart(cls, model: str = "facebook/bart-large-cnn", **options: Any) -> Seq2SeqSummarizer:
        """Returns a BART summarizer, which knows no questions."""
        return cls(model, PLAIN, **{"beams": 4, **options})

    @classmethod
    def from_folder(cls, folder: str | os.PathLike[str], **options: Any) -> Seq2SeqSummarizer:
        """Returns the summarizer in a folder, as `rag-compress train summarizer` leaves it.

        Raises:
            InvalidInput: The folder holds no `summarizer.json`.
        """
        try:
            own = cls(os.fspath(folder), **json.loads((Path(folder) / SETTINGS).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:  # the last: what it says is of another version, or of none
            raise InvalidInput(f"{os.fspath(folder)} holds no summarizer: {error}") from error
        return replace(own, **options)

    def summarize(self, queries: Sequence[str], texts: Sequence[str], max_tokens: Sequence[int]) -> list[Summary]:
        """Returns the summaries, with an error in place of one whose text does not fit the model.

        Raises:
            MissingExtra: torch or transformers is not installed.
            InvalidInput: There is no such model, or no such device.
        """
        loaded = _load("AutoModelForSeq2SeqLM", self.model, self.device)
        sources = [fill(self.template, query, text) for query, text in zip(queries, texts, strict=True)]
        return loaded.write(sources, max_tokens, self.max_source_tokens, self.beams, self.batch_size)


@dataclass(frozen=True)
class CausalSummarizer:
    """Summarises with an instruction-tuned causal model, through the chat template of its tokenizer.

    Attributes:
        model: The name of a model, or its folder.
        max_source_tokens: The longest input, instructions included, in the model's own tokens.
        device: A torch device; `None`: the GPU if there is one.
        batch_size: How many texts are read at once.
    """

    model: str
    max_source_tokens: int = 4096
    device: str | None = None
    batch_size: int = 4

    def __post_init__(self) -> None:
        for name in ("max_source_tokens", "batch_size"):
            check_count(name, getattr(self, name), least=1)

    def summarize(self, queries: Sequence[str], texts: Sequence[str], max_tokens: Sequence[int]) -> list[Summary]:
        """Returns the summaries, with an error in place of one whose text does not fit the model.

        Raises:
            MissingExtra: torch or transformers is not installed.
            InvalidInput: There is no such model or device, or its tokenizer has no chat template.
        """
        loaded = _load("AutoModelForCausalLM", self.model, self.device)
        if not loaded.tokenizer.chat_template:
            raise InvalidInput(
                f"The tokenizer of {self.model!r} has no chat template: it was not made to be instructed"
            )
        prompts = [_prompt(loaded.tokenizer, *item) for item in zip(queries, texts, max_tokens, strict=True)]
        replies = loaded.write(prompts, max_tokens, self.max_source_tokens, 1, self.batch_size)
        return [reply if isinstance(reply, Exception) else read_reply(reply) for reply in replies]


def _prompt(tokenizer: Any, query: str, text: str, max_tokens: int) -> str:
    """Returns what the model reads; one that can think, as Qwen3, is told not to: it would use up the tokens."""
    chat = messages(query, text, max_tokens)
    options = {"tokenize": False, "add_generation_prompt": True, "enable_thinking": False}
    try:
        return str(tokenizer.apply_chat_template(chat, **options))
    except Exception:  # noqa: BLE001 - of jinja: templates such as Gemma's refuse a system message
        content = "\n\n".join(message["content"] for message in chat)
        return str(tokenizer.apply_chat_template([{"role": "user", "content": content}], **options))


def check_template(template: str) -> None:
    """Raises `InvalidInput` unless a template has a place for the documents."""
    if "{documents}" not in template:
        raise InvalidInput(f"template lacks {{documents}}: {template!r:.80}")


def fill(template: str, query: str, documents: str) -> str:
    """Returns the template with its two placeholders replaced, whatever braces the texts hold."""
    before, _, after = template.partition("{documents}")
    return before.replace("{query}", query) + documents + after.replace("{query}", query)


@dataclass(frozen=True)
class _Loaded:
    """A model with its tokenizer."""

    torch: Any
    model: Any
    tokenizer: Any

    def write(
        self, sources: Sequence[str], max_tokens: Sequence[int], longest: int, beams: int, batch_size: int
    ) -> list[Summary]:
        """Returns what the model writes for each source, longest sources first so that little is padded."""
        sources = [without_surrogates(source) for source in sources]
        special = self.model.config.is_encoder_decoder  # a chat template writes its special tokens itself
        lengths = [len(self.tokenizer(s, add_special_tokens=special, verbose=False)["input_ids"]) for s in sources]
        written: list[Summary] = [
            InvalidInput(f"The text has {n} of the model's tokens; it reads {longest}: use smaller chunks")
            for n in lengths
        ]
        fitting = sorted((i for i, n in enumerate(lengths) if n <= longest), key=lambda i: -lengths[i])
        for start in range(0, len(fitting), batch_size):
            chosen = fitting[start : start + batch_size]
            limits = [max_tokens[i] for i in chosen]
            for i, summary in zip(chosen, self._batch([sources[i] for i in chosen], limits, beams), strict=True):
                written[i] = summary
        return written

    def _batch(self, sources: Sequence[str], max_tokens: Sequence[int], beams: int) -> Iterator[Summary]:
        special = self.model.config.is_encoder_decoder
        batch = self.tokenizer(list(sources), return_tensors="pt", padding=True, add_special_tokens=special)
        batch = {name: batch[name].to(self.model.device) for name in ("input_ids", "attention_mask")}
        options = {"num_beams": beams, "do_sample": False, "max_new_tokens": max(1, *max_tokens), "min_length": 0}
        if self.model.config.model_type == "rag_compress_copying":
            longest = self.model.config.max_positions
            options |= {"use_cache": False, "max_new_tokens": min(longest, options["max_new_tokens"])}
        with self.torch.inference_mode():
            rows = self.model.generate(**batch, **options)
        skipped = 1 if special else batch["input_ids"].shape[1]
        for source, row, limit in zip(sources, rows, max_tokens, strict=True):
            yield self._text(source, row[skipped:].tolist(), limit)

    def _text(self, source: str, ids: list[int], limit: int) -> Summary:
        """Returns the text of what was generated, without an unfinished last sentence."""
        stops = self.model.generation_config.eos_token_id
        stops = stops if isinstance(stops, list) else [stops]
        end = next((i for i, token in enumerate(ids) if token in stops), None)
        finished = end is not None and end <= limit
        ids = ids[: limit if end is None else min(end, limit)]
        text = self._decoded(source, ids).strip()
        return text if finished else without_last_sentence(text)

    def _decoded(self, source: str, ids: list[int]) -> str:
        if self.model.config.model_type != "rag_compress_copying":
            return str(self.tokenizer.decode(ids, skip_special_tokens=True))
        encoding = self.tokenizer(source, return_offsets_mapping=True, verbose=False)
        return copied_text(source, encoding["offset_mapping"], encoding["input_ids"], ids)


@load_once(maxsize=2)
def _load(kind: str, model: str, device: str | None) -> _Loaded:
    with importing("transformers", "torch", "Summarizing with a local model"):
        import torch
        import transformers

        import rag_compress.models.summarizers.copying  # noqa: F401 - lets transformers load what we train
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.float32 if device == "cpu" else "auto"
    try:
        network = getattr(transformers, kind).from_pretrained(model, dtype=dtype).to(device).eval()
        side = "right" if network.config.is_encoder_decoder else "left"
        tokenizer = tokenizer_as_saved(model, padding_side=side, truncation_side=side)
    except (OSError, ValueError, KeyError, RuntimeError, AssertionError) as error:  # the last two: there is no device
        raise InvalidInput(f"Cannot load the summarizer {model!r} on {device!r}: {error}") from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return _Loaded(torch, network, tokenizer)


def tokenizer_as_saved(name: str, **options: Any) -> Any:
    """Returns the transformers tokenizer of a model, by name or folder, with the rules that it was saved with.

    For some architectures, Qwen2 among them, transformers 5 puts one of its own in the place of a plain tokenizer.json,
    with other rules: the same text becomes other tokens than the model was trained on, without a word.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    saved = get_tokenizer_config(name).get("tokenizer_class")
    plain = saved in ("TokenizersBackend", "PreTrainedTokenizerFast")
    return (PreTrainedTokenizerFast if plain else AutoTokenizer).from_pretrained(name, **options)
