"""The systems whose speed is compared: each a name, how it is built, and what it then does to one query's passages.

Where weights cannot be had without the hub, a model of the same architecture gets random ones: it is as fast. Their
tokenizer is all-MiniLM-L6-v2's, cut to their style of pieces, and so their vocabularies (and memory) are smaller.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from eval.systems import minilm, minilm_folder
from rag_compress.compressors import ExtractiveCompressor
from rag_compress.models.protocols import SentenceScorer
from rag_compress.scorers import CascadeScorer, ClassifierScorer, LexicalScorer
from rag_compress.selection import Selection

Run = Callable[[str, Sequence[str]], object]
"""Compresses the passages of a query."""
OURS = "classifier"
_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []
"""Models of this process; they are deleted when it ends."""
GEMMA_LAYERS = 18
_LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}


@dataclass(frozen=True)
class SpeedSystem:
    """One system.

    Attributes:
        title: What it is, for the report.
        build: Loads it for so many threads and returns what it does.
        weights: `real`, or `random` where its own cannot be had.
        scale: By how much a time is multiplied: all layers over those that were built.
        quality: The system of the evaluation on evidence that scores sentences as it does, if that was measured.
    """

    title: str
    build: Callable[[int], Run]
    weights: str = "real"
    scale: float = 1.0
    quality: str | None = None


def _compressing(scorer: SentenceScorer, threshold: float) -> Run:
    compressor = ExtractiveCompressor(scorer, Selection(threshold=threshold))
    return compressor.compress


def classifier(threads: int) -> Run:
    """Returns our default compressor."""
    compressor = ExtractiveCompressor.classifier()
    return replace(compressor, scorer=ClassifierScorer(workers=threads, device="cpu")).compress


def cascade(threads: int) -> Run:
    """Returns our default behind BM25: the classifier reads the 20 best passages of a query."""
    reading = ClassifierScorer(workers=threads, device="cpu")
    return replace(ExtractiveCompressor.classifier(), scorer=CascadeScorer(LexicalScorer(), reading)).compress


def lexical(threads: int) -> Run:  # noqa: ARG001 - it uses one
    """Returns our compressor without a model."""
    return replace(ExtractiveCompressor.lexical(), scorer=LexicalScorer()).compress


def torch_eager(threads: int) -> Run:
    """Returns our classifier's network in torch, fp32, in batches of up to 32 windows of about one length."""
    from rag_compress.models.classifier.network import Batch, ClassifierNetwork, torch
    from rag_compress.models.classifier.windows import WindowCutter, load_tokenizer, pool
    from rag_compress.models.protocols import Passage
    from rag_compress.text import cut

    _torch_threads(threads)
    network = ClassifierNetwork.from_config(minilm_folder()).eval()
    cutter = WindowCutter(load_tokenizer(Path(minilm_folder()) / "tokenizer.json"))

    def run(query: str, passages: Sequence[str]) -> object:
        readings = cutter.read(query, [Passage("", text, cut(text)) for text in passages])
        pairs = [(reading, window) for reading in readings for window in reading.windows]
        pairs.sort(key=lambda pair: len(pair[1].ids))
        found = []
        for start in range(0, len(pairs), 32):
            batch = pairs[start : start + 32]
            with torch.inference_mode():
                outputs = network(*Batch.of([window for _, window in batch]))[0].numpy()
            for (reading, window), tokens in zip(batch, outputs, strict=True):
                found.append(pool(tokens[window.begin : window.begin + window.size], reading.ranges))
        return found

    return run


def embeddings_filter(threads: int) -> Run:
    """Returns LangChain's EmbeddingsFilter with all-MiniLM-L6-v2: whole passages, by cosine similarity."""
    from langchain_classic.retrievers.document_compressors import EmbeddingsFilter
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings

    _torch_threads(threads)
    encoder = minilm()

    class MiniLM(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return list(encoder.encode(texts).tolist())

        def embed_query(self, text: str) -> list[float]:
            return self.embed_documents([text])[0]

    keeping = EmbeddingsFilter(embeddings=MiniLM(), similarity_threshold=0.5, k=None)
    return lambda query, passages: keeping.compress_documents([Document(page_content=p) for p in passages], query)


def sentence_optimizer(threads: int) -> Run:
    """Returns LlamaIndex's SentenceEmbeddingOptimizer with all-MiniLM-L6-v2: half of each passage's sentences."""
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.postprocessor import SentenceEmbeddingOptimizer
    from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

    _torch_threads(threads)
    encoder = minilm()

    class MiniLM(BaseEmbedding):
        def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
            return list(encoder.encode(texts).tolist())

        def _get_text_embedding(self, text: str) -> list[float]:
            return self._get_text_embeddings([text])[0]

        def _get_query_embedding(self, query: str) -> list[float]:
            return self._get_text_embeddings([query])[0]

        async def _aget_query_embedding(self, query: str) -> list[float]:
            return self._get_query_embedding(query)

    optimizer = SentenceEmbeddingOptimizer(embed_model=MiniLM(), percentile_cutoff=0.5)

    def run(query: str, passages: Sequence[str]) -> object:
        nodes = [NodeWithScore(node=TextNode(text=passage)) for passage in passages]
        return optimizer.postprocess_nodes(nodes, query_bundle=QueryBundle(query))

    return run


def modernbert_pruner(threads: int) -> Run:
    """Returns a pruner of OpenProvence's smallest shape: ModernBERT of 10 layers and 256 dimensions."""
    from transformers import ModernBertConfig, ModernBertForTokenClassification

    shape = {"hidden_size": 256, "num_hidden_layers": 10, "num_attention_heads": 4, "intermediate_size": 1024}
    config = ModernBertConfig(**shape, num_labels=2, pad_token_id=0, cls_token_id=101, sep_token_id=102)
    return _pruner(threads, ModernBertForTokenClassification, config)


def deberta_pruner(threads: int) -> Run:
    """Returns a pruner of Provence's shape: DeBERTa-v3-large, one pass for each passage."""
    from transformers import DebertaV2Config, DebertaV2ForTokenClassification

    attention = {"relative_attention": True, "position_buckets": 256, "pos_att_type": ["p2c", "c2p"]}
    more = {"share_att_key": True, "norm_rel_ebd": "layer_norm", "position_biased_input": False, "type_vocab_size": 0}
    config = DebertaV2Config(**_LARGE, **attention, **more, num_labels=2)
    return _pruner(threads, DebertaV2ForTokenClassification, config)


def exit_loop(threads: int) -> Run:
    """Returns EXIT's loop, one pass for each sentence, with one of Gemma-2B's layers.

    In float32, which on a CPU is faster than bfloat16.
    """
    from transformers import GemmaConfig, GemmaForCausalLM

    from eval.published import Exit

    _torch_threads(threads)
    shape = {"hidden_size": 2048, "num_attention_heads": 8, "num_key_value_heads": 1, "head_dim": 256}
    config = GemmaConfig(**shape, intermediate_size=16384, num_hidden_layers=1, pad_token_id=0)
    folder = _random_model("gemma-2b-it", GemmaForCausalLM, config, more_tokens=["Yes", "No"])
    return _compressing(Exit(folder, adapter=None, dtype="float32"), 0.5)


def llmlingua_small(threads: int) -> Run:
    """Returns the package llmlingua, LLMLingua-2 with mBERT."""
    from transformers import BertConfig, BertForTokenClassification

    name = "llmlingua-2-bert-base-multilingual-cased-meetingbank"
    return _llmlingua(threads, _random_model(name, BertForTokenClassification, BertConfig(num_labels=2)))


def llmlingua_large(threads: int) -> Run:
    """Returns the package llmlingua, LLMLingua-2 with XLM-R-large."""
    from transformers import XLMRobertaConfig, XLMRobertaForTokenClassification

    config = XLMRobertaConfig(**_LARGE, num_labels=2, max_position_embeddings=514, type_vocab_size=1)
    name = "llmlingua-2-xlm-roberta-large-meetingbank"
    return _llmlingua(threads, _random_model(name, XLMRobertaForTokenClassification, config, sentencepiece=True))


SYSTEMS: Mapping[str, SpeedSystem] = {
    OURS: SpeedSystem("our default", classifier, quality="classifier"),
    "cascade": SpeedSystem("our default, the 20 best passages by BM25", cascade),
    "lexical": SpeedSystem("our default without onnxruntime", lexical, quality="lexical"),
    "torch eager": SpeedSystem("our classifier in torch, fp32", torch_eager, "random"),
    "EmbeddingsFilter": SpeedSystem("LangChain, all-MiniLM-L6-v2, whole passages", embeddings_filter),
    "SentenceEmbeddingOptimizer": SpeedSystem(
        "LlamaIndex, all-MiniLM-L6-v2, sentences", sentence_optimizer, quality="biencoder"
    ),
    "ModernBERT pruner": SpeedSystem("OpenProvence's smallest shape, 30M", modernbert_pruner, "random"),
    "llmlingua mBERT": SpeedSystem("the package llmlingua, LLMLingua-2 small", llmlingua_small, "random"),
    "llmlingua XLM-R": SpeedSystem("the package llmlingua, LLMLingua-2 large", llmlingua_large, "random"),
    "DeBERTa pruner": SpeedSystem("Provence's shape, DeBERTa-v3-large", deberta_pruner, "random"),
    "EXIT": SpeedSystem("Gemma-2B's shape, one of 18 layers, times 18", exit_loop, "random", scale=GEMMA_LAYERS),
}


def _torch_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)


def _pruner(threads: int, kind: Any, config: Any) -> Run:
    from eval.published import Provence

    _torch_threads(threads)
    return _compressing(Provence(_random_model("pruner", kind, config)), 0.1)


def _llmlingua(threads: int, folder: str) -> Run:
    from llmlingua import PromptCompressor

    _torch_threads(threads)
    with suppress(ImportError):  # it counts tokens with an encoding that is fetched; llama-index brings a copy
        import llama_index.core

        copy = Path(llama_index.core.__file__).parent / "_static" / "tiktoken_cache"
        os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(copy))
    compressor = PromptCompressor(folder, device_map="cpu", use_llmlingua2=True)
    return lambda query, passages: compressor.compress_prompt(list(passages), question=query, rate=0.33)


def _random_model(
    name: str,
    kind: Any,
    config: Any,
    *,
    sentencepiece: bool = False,
    more_tokens: Sequence[str] = (),
) -> str:
    """Writes a model with random weights and its tokenizer into a folder of this name; returns the folder."""
    _FOLDERS.append(tempfile.TemporaryDirectory())
    folder = Path(_FOLDERS[-1].name) / name
    tokenizer = _sentencepiece_tokenizer() if sentencepiece else _wordpiece_tokenizer()
    tokenizer.add_tokens(list(more_tokens))
    tokenizer.save_pretrained(folder)
    config.vocab_size = len(tokenizer)
    kind(config).save_pretrained(folder)
    return str(folder)


def _wordpiece_tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(minilm_folder())


def _sentencepiece_tokenizer() -> Any:
    """Returns a tokenizer with the same pieces that marks the beginning of words, as XLM-RoBERTa's does."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    known = [piece for piece in _wordpiece_tokenizer().get_vocab() if not piece.startswith("[")]
    pieces = {piece.removeprefix("##") if piece.startswith("##") else f"▁{piece}" for piece in known} | {"▁"}
    # Pieces of one cost: the fewest win, as in WordPiece the longest do.
    scored = [(piece, 0.0) for piece in special] + [(piece, -10.0) for piece in sorted(pieces)]
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=3))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    names = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token", "mask_token"), special, strict=True))
    names |= {"cls_token": "<s>", "sep_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def tokens_in(texts: Sequence[str]) -> int:
    """Returns how many tokens of all-MiniLM-L6-v2 some texts have."""
    from rag_compress.models.classifier.windows import load_tokenizer

    tokenizer = load_tokenizer(Path(minilm_folder()) / "tokenizer.json")
    return int(
        np.sum([len(encoding.ids) for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)])
    )
