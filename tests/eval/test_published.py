"""The scorers of the field, each with a random model of its architecture that is loaded as the real one would be."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tiny_classifier import write_encoder

from eval.systems import scorer_named
from rag_compress.models.protocols import Passage, SentenceScorer

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
from safetensors.torch import save_file  # noqa: E402

from eval.published import Exit, LLMLingua2, OpenProvence, Provence, exit_prompt, merge_lora, recomp  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]

TEXT = "the loire is in france. river? yes."
PASSAGES = [[Passage("loire", TEXT, [(0, 23), (24, 30), (31, 35)]), Passage("", "the rhine.", [(0, 10)])], []]
QUERIES = ["which river is in france?", "the?"]
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def write_tokenizer(folder, **more) -> int:
    """Writes a tokenizer over characters and a few words; returns the size of its vocabulary."""
    write_encoder(folder)
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **names | more)
    tokenizer.save_pretrained(folder)
    return len(tokenizer)


@pytest.fixture
def llmlingua(tmp_path) -> str:
    """A folder with an XLM-RoBERTa that classifies tokens."""
    size = write_tokenizer(tmp_path / "llmlingua", model_max_length=64)
    config = transformers.XLMRobertaConfig(vocab_size=size, num_labels=2, max_position_embeddings=80, **SMALL)
    transformers.XLMRobertaForTokenClassification(config).save_pretrained(tmp_path / "llmlingua")
    return str(tmp_path / "llmlingua")


@pytest.fixture
def provence(tmp_path) -> str:
    """A folder with a DeBERTa-v3 that classifies tokens."""
    size = write_tokenizer(tmp_path / "provence")
    config = transformers.DebertaV2Config(
        vocab_size=size, num_labels=2, relative_attention=True, pos_att_type=["p2c", "c2p"], type_vocab_size=0, **SMALL
    )
    transformers.DebertaV2ForTokenClassification(config).save_pretrained(tmp_path / "provence")
    return str(tmp_path / "provence")


@pytest.fixture
def gemma(tmp_path) -> str:
    """A folder with a Gemma of one layer that knows the tokens Yes and No."""
    folder = tmp_path / "gemma"
    write_tokenizer(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["Yes", "No"]})
    tokenizer.save_pretrained(folder)
    config = transformers.GemmaConfig(
        vocab_size=len(tokenizer), num_key_value_heads=1, head_dim=8, pad_token_id=0, **SMALL
    )
    transformers.GemmaForCausalLM(config).save_pretrained(folder)
    return str(folder)


def check_shapes(scores) -> None:
    """A probability for each sentence, not all the same."""
    assert [[len(array) for array in group] for group in scores] == [[3, 1], []]
    flat = np.concatenate([array for group in scores for array in group])
    assert ((flat > 0) & (flat < 1)).all()
    assert len(set(flat.tolist())) > 1


def test_llmlingua_is_the_mean_over_the_tokens_of_a_sentence(llmlingua):
    """A sentence's score is the mean keep probability of its tokens, and the question changes nothing."""
    scorer = LLMLingua2(llmlingua)
    scores = scorer.score(QUERIES, PASSAGES)
    check_shapes(scores)
    assert scorer.score(["loire?", "?"], PASSAGES)[0][0].tolist() == scores[0][0].tolist()
    model = transformers.AutoModelForTokenClassification.from_pretrained(llmlingua)
    batch = transformers.AutoTokenizer.from_pretrained(llmlingua)(
        TEXT, return_tensors="pt", return_offsets_mapping=True
    )
    offsets = batch.pop("offset_mapping")[0].tolist()
    keep = model(**batch).logits.softmax(-1)[0, :, 1].tolist()
    expected = np.mean([p for (start, end), p in zip(offsets, keep, strict=True) if start < end and 24 <= start < 30])
    assert scores[0][0][1] == pytest.approx(expected, abs=1e-5)


def test_long_texts_are_read_in_chunks(llmlingua):
    """A text of many chunks has a score for its last sentence too."""
    long = "a b c d. " * 40
    sentences = [(9 * i, 9 * i + 8) for i in range(40)]
    ((scores,),) = LLMLingua2(llmlingua).score(["?"], [[Passage("", long, sentences)]])
    assert (scores > 0).all()


def test_a_sentence_without_tokens_is_not_kept(llmlingua):
    """White space has no token: its score is 0."""
    ((scores,),) = LLMLingua2(llmlingua).score(["?"], [[Passage("", "a  b", [(0, 1), (1, 3)])]])
    assert scores[0] > 0
    assert scores[1] == 0


def test_provence_reads_the_question(provence):
    """Another question, or another title, gives other scores; batch-mates do not."""
    scores = Provence(provence).score(QUERIES, PASSAGES)
    check_shapes(scores)
    other = Provence(provence).score(["rhine?", "?"], PASSAGES)
    assert not np.allclose(other[0][0], scores[0][0], atol=1e-7)
    untitled = [[PASSAGES[0][0]._replace(title="x y z")]]
    assert not np.allclose(Provence(provence).score(QUERIES[:1], untitled)[0][0], scores[0][0], atol=1e-7)
    alone = Provence(provence, batch_size=1).score(QUERIES, PASSAGES)
    assert np.allclose(alone[0][0], scores[0][0], atol=1e-5)


@pytest.mark.parametrize("kind", [Provence, OpenProvence])
def test_code_of_a_checkpoint_does_not_run_unasked(kind, tmp_path):
    """A checkpoint that brings code is refused until it is trusted; then its code is what runs."""
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.OwnModel"}})
    )
    (tmp_path / "own.py").write_text("raise RuntimeError('the code ran')")
    assert not kind().trust_remote_code
    with pytest.raises(ValueError, match="trust_remote_code"):
        kind(str(tmp_path)).score(QUERIES, PASSAGES)
    with pytest.raises(RuntimeError, match="the code ran"):
        kind(str(tmp_path), trust_remote_code=True).score(QUERIES, PASSAGES)


def test_exit_is_the_probability_of_yes_against_no(gemma):
    """The score is the two-way softmax at the last token, whatever the batch."""
    scores = Exit(gemma, adapter=None, batch_size=3).score(QUERIES, PASSAGES)
    check_shapes(scores)
    tokenizer = transformers.AutoTokenizer.from_pretrained(gemma)
    model = transformers.AutoModelForCausalLM.from_pretrained(gemma)
    prompt = tokenizer(exit_prompt(QUERIES[0], PASSAGES[0][0], 24, 30), return_tensors="pt")
    yes, no = (tokenizer.convert_tokens_to_ids(word) for word in ("Yes", "No"))
    logits = model(**prompt).logits[0, -1, [yes, no]]
    assert scores[0][0][1] == pytest.approx(logits.softmax(0)[0].item(), abs=1e-5)


def test_exit_reads_the_sentence_in_its_own_document():
    """The prompt holds title, document and sentence; of a long document what stands around the sentence."""
    prompt = exit_prompt("q?", PASSAGES[0][0], 24, 30)
    assert f"Full context:\nloire\n{TEXT}\nSentence:\nriver?\nIs this" in prompt
    long = Passage("", "x" * 50_000 + "sentence" + "y" * 50_000, [(50_000, 50_008)])
    prompt = exit_prompt("q?", long, 50_000, 50_008)
    assert len(prompt) < 7000
    assert "xsentencey" in prompt
    assert prompt.endswith("<start_of_turn>model\n")


def test_an_adapter_changes_what_it_names(gemma, tmp_path):
    """The update B A, scaled by alpha over r, is added to the layer that the adapter's file names."""
    model = transformers.AutoModelForCausalLM.from_pretrained(gemma)
    layer = model.model.layers[0].self_attn.q_proj
    before = layer.weight.detach().clone()
    down, up = torch.ones(2, layer.in_features), torch.ones(layer.out_features, 2)
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"
    save_file({name.format("A"): down, name.format("B"): up}, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 2, "lora_alpha": 1}))
    merge_lora(model, tmp_path)
    assert torch.allclose(layer.weight, before + 1.0)
    plain = Exit(gemma, adapter=None).score(QUERIES, PASSAGES)
    adapted = Exit(gemma, adapter=str(tmp_path)).score(QUERIES, PASSAGES)
    assert not np.allclose(plain[0][0], adapted[0][0])


def test_recomp_compares_mean_pooled_vectors_as_they_are(tmp_path):
    """A folder without a pooling of its own gets the mean over tokens, and vectors keep their length."""
    folder = tmp_path / "recomp"
    write_tokenizer(folder)
    scores = recomp(str(folder)).score(["loire?"], [[Passage("", "the loire.", [(0, 10)])]])
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder)
    one, other = (
        model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0) for text in ("loire?", "the loire.")
    )
    assert scores[0][0][0] == pytest.approx(float(one @ other), rel=1e-4)


@pytest.mark.parametrize("name", ["Exit", "LLMLingua2", "LLMLingua2Small", "Provence", "OpenProvence", "recomp"])
def test_each_is_found_by_name(name):
    """Naming a scorer loads nothing: that happens when it scores."""
    assert isinstance(scorer_named(f"eval.published:{name}"), SentenceScorer)
