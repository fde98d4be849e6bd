"""A classifier of two thousand weights, with its tokenizer: trains in seconds and needs no download."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789:.,?|"


def write_encoder(folder: Path) -> Path:
    """Writes a random BERT of one layer over single characters and a few words; returns the folder."""
    import torch
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "river", "france", "which", "loire", "the", "is", "in"]
    vocabulary = {token: i for i, token in enumerate([*words, *LETTERS, *(f"##{letter}" for letter in LETTERS)])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=words[1]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    folder.mkdir(parents=True, exist_ok=True)
    BertModel(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def example(query: str, *texts: str, evidence: Sequence[Sequence[int] | None], **fields: Any) -> dict[str, Any]:
    """Returns a training example whose passages are texts with sentences that end in a full stop."""
    contexts = []
    for text, labels in zip(texts, evidence, strict=True):
        ends = [i + 1 for i, character in enumerate(text) if character == "."]
        starts = [0, *(end + 1 for end in ends[:-1])]
        sentences = [list(span) for span in zip(starts, ends, strict=True)]
        contexts.append(
            {"id": str(len(contexts)), "title": "t", "text": text, "sentences": sentences, "evidence": labels}
            | {"gold": bool(labels)}
            | fields
        )
    return {"query": query, "contexts": contexts}


def write_examples(path: Path, examples: Sequence[Mapping[str, Any]]) -> str:
    """Writes examples as JSON Lines, compressed when the name ends in `.gz`; returns the path."""
    data = "".join(json.dumps(line) + "\n" for line in examples).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


RIVERS = [
    example(
        f"which river {i}?",
        "the loire is in france. a b c.",
        f"d e f. river {i}.",
        evidence=[[0], []],
    )
    for i in range(8)
]


def windows(count: int = 5) -> list[Any]:
    """Returns windows of unlike lengths for a vocabulary of forty tokens."""
    from rag_compress.models.classifier.windows import Window

    return [
        Window(
            [2, *(5 + (i * j) % 40 for j in range(4 + 3 * i)), 3, 7, 9, 3], [0] * (6 + 3 * i) + [1] * 3, 6 + 3 * i, 0, 2
        )
        for i in range(1, count + 1)
    ]


def write_graph(folder: Path) -> Path:
    """Writes the int8 graph of a tiny network with weights large enough to matter; returns the file."""
    from rag_compress.models.classifier.fused import write_fused
    from rag_compress.models.classifier.network import ClassifierNetwork

    network = ClassifierNetwork.from_encoder(str(write_encoder(folder / "encoder"))).eval()
    for parameter in network.parameters():
        parameter.data.mul_(3.0)
    path = folder / "model.int8.onnx"
    write_fused(network, path)
    return path
