"""Checkpoints of the named families, built small: the architecture, tokenizer and files of the real ones."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

TEXTS = [
    "Question: which river is in france? Document: the loire is a river in france. Summary: the loire.",
    "the rhine rises in the swiss alps and ends in the north sea. summarize what helps to answer the question.",
    "documents: write a summary of at most words. nothing. system user assistant",
]


def write_t5(folder: Path) -> str:
    """Writes a random T5 (RECOMP's and Flan-T5's family) with a Unigram tokenizer; returns the folder."""
    from transformers import T5Config, T5ForConditionalGeneration

    size = _tokenizer(folder, "unigram", bos="", eos="</s>", pad="<pad>")
    config = T5Config(
        vocab_size=size,
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=1,
        num_heads=2,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=1,
    )
    return _written(folder, T5ForConditionalGeneration, config)


def write_bart(folder: Path) -> str:
    """Writes a random BART with a byte-level BPE tokenizer; returns the folder."""
    from transformers import BartConfig, BartForConditionalGeneration

    size = _tokenizer(folder, "bpe", bos="<s>", eos="</s>", pad="<pad>")
    config = BartConfig(
        vocab_size=size,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=256,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
        decoder_start_token_id=1,
        forced_eos_token_id=None,
    )
    return _written(folder, BartForConditionalGeneration, config)


def write_llama(folder: Path, *, chat: bool = True) -> str:
    """Writes a random Llama with a byte-level BPE tokenizer and, if wanted, a chat template; returns the folder."""
    from transformers import LlamaConfig, LlamaForCausalLM

    size = _tokenizer(folder, "bpe", bos="", eos="</s>", pad="", template=_CHAT if chat else None)
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        eos_token_id=1,
        bos_token_id=1,
    )
    return _written(folder, LlamaForCausalLM, config)


def write_lines(path: Path, lines: Sequence[dict[str, Any]]) -> Path:
    """Writes JSON Lines and returns the path."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@contextmanager
def piped(file: Path) -> Iterator[str]:
    """Yields the path of a pipe that holds a small file's content, to be read once."""
    if not Path("/dev/fd").exists():
        pytest.skip("pipes have no paths here")
    reader, writer = os.pipe()
    os.write(writer, file.read_bytes())
    os.close(writer)
    try:
        yield f"/dev/fd/{reader}"
    finally:
        os.close(reader)


_CHAT = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def _written(folder: Path, network: Any, config: Any) -> str:
    """Writes a network with random weights, the same each time; returns the folder."""
    import torch

    torch.manual_seed(0)
    network(config).save_pretrained(folder)
    return str(folder)


def _tokenizer(folder: Path, kind: str, *, bos: str, eos: str, pad: str, template: str | None = None) -> int:
    """Writes a tokenizer and returns the size of its vocabulary: padding is 0, the end 1."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = [pad or "<unused>", eos, *([bos] if bos else []), "<unk>"]
    unknown = {"unk_token": "<unk>"}
    options: dict[str, Any] = {"special_tokens": special, "show_progress": False}
    if kind == "unigram":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=120, **unknown, **options)
    else:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **options)
    tokenizer.train_from_iterator(TEXTS, trainer)
    ends = [(token, special.index(token)) for token in (bos, eos) if token]
    if template is None:
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{bos} $A {eos}".strip(), special_tokens=ends)
    names = {"bos_token": bos, "eos_token": eos, "pad_token": pad} | unknown
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **{k: v for k, v in names.items() if v})
    fast.chat_template = template
    folder.mkdir(parents=True, exist_ok=True)
    fast.save_pretrained(folder)
    return tokenizer.get_vocab_size()
