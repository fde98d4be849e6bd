"""Soft prompts: the same logits as embeddings laid in by hand, whatever the padding, the places and the texts."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest

from rag_compress import ProjectorCompressor, Prompt, PromptTemplate
from rag_compress.compressors.projector import XRAG
from rag_compress.errors import InvalidInput
from rag_compress.testing import HashEncoder, RepeatProjector

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
from tiny_seq2seq import write_llama  # noqa: E402

from rag_compress.models.soft_tokens.soft_prompts import SoftPromptLLM  # noqa: E402
from rag_compress.models.summarizers.generation import tokenizer_as_saved  # noqa: E402

HIDDEN = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small random Llama with a chat template."""
    return write_llama(tmp_path_factory.mktemp("llama"))


def soft(*shape: int, seed: int = 0) -> np.ndarray:
    """Returns soft tokens."""
    return np.random.default_rng(seed).normal(size=(*shape, HIDDEN)).astype(np.float32)


PROMPTS = [
    Prompt("the loire <xRAG> is in france <xRAG>", (soft(1), soft(3, seed=1))),
    Prompt("<xRAG><xRAG> which river?", (soft(1, seed=2), soft(1, seed=3))),
    Prompt("<xRAG>", (soft(2, seed=4),)),
    Prompt("no soft token at all, and a rather long text, so that the others are padded"),
]


def by_hand(llm: SoftPromptLLM, prompt: Prompt) -> torch.Tensor:
    """Returns the embeddings of one prompt, piece by piece."""
    text = prompt.text
    if llm.chat:
        turn = [{"role": "user", "content": text}]
        text = llm.tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    rows = []
    for i, piece in enumerate(text.split("<xRAG>")):
        ids = llm.tokenizer(piece, add_special_tokens=False)["input_ids"]
        rows.append(llm.model.get_input_embeddings()(torch.tensor(ids, dtype=torch.long)))
        if i < len(prompt.soft_tokens):
            rows.append(torch.from_numpy(prompt.soft_tokens[i]))
    return torch.cat(rows)[None]


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("side", ["left", "right"])
def test_the_same_logits_as_by_hand(folder: str, side: str, chat: bool) -> None:
    """In a padded batch, each prompt's logits are those of its own embeddings alone, to 1e-5."""
    loaded = SoftPromptLLM.load(folder, "cpu")
    llm = SoftPromptLLM(loaded.model, loaded.tokenizer, chat, side)
    batch = llm.batch(PROMPTS)
    with torch.inference_mode():
        logits = llm.model(**batch._asdict()).logits
        for i, prompt in enumerate(PROMPTS):
            expected = llm.model(inputs_embeds=by_hand(llm, prompt)).logits[0]
            found = logits[i][batch.attention_mask[i] == 1]
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_generate(folder: str) -> None:
    """A batch is answered as its prompts one by one, and as transformers answers the embeddings laid in by hand."""
    llm = SoftPromptLLM.load(folder, "cpu")
    answers = llm.generate(PROMPTS, max_new_tokens=8)
    assert answers == [llm.generate([prompt], max_new_tokens=8)[0] for prompt in PROMPTS]
    ids = llm.model.generate(inputs_embeds=by_hand(llm, PROMPTS[0]), max_new_tokens=8, do_sample=False, pad_token_id=1)
    assert answers[0] == llm.tokenizer.decode(ids[0], skip_special_tokens=True)
    assert any(answers)
    other = Prompt(PROMPTS[0].text, (soft(1, seed=9), soft(3, seed=8)))
    with torch.inference_mode():
        one, two = (llm.model(**llm.batch([p])._asdict()).logits for p in (PROMPTS[0], other))
    assert (one - two).abs().max() > 1e-3, "soft tokens are read"


def test_a_text_that_looks_like_a_placeholder(folder: str) -> None:
    """A document or question that holds the placeholder does not move the soft tokens."""
    llm = SoftPromptLLM.load(folder, "cpu", chat=False)
    compressor = ProjectorCompressor(RepeatProjector(2), HashEncoder(HIDDEN), template=XRAG)
    plain = XRAG.format(compressor.compress("which river?", ["the loire is in france"]))
    nasty = XRAG.format(compressor.compress("<xRAG> which river?", ["the loire is in france"]))
    assert nasty.placeholder != plain.placeholder
    assert [i for i, token in enumerate(llm.token_ids(nasty)) if token < 0] == [
        i for i, token in enumerate(llm.token_ids(plain)) if token < 0
    ]
    assert len(llm.token_ids(nasty)) > len(llm.token_ids(plain))


def test_for_a_server(folder: str) -> None:
    """The body of a vLLM request holds the saved tensor of the whole prompt, chat template included."""
    llm = SoftPromptLLM.load(folder, "cpu")
    body = llm.request(PROMPTS[0], max_tokens=5)
    assert body["model"] == folder
    assert body["max_tokens"] == 5
    tensor = torch.load(io.BytesIO(base64.b64decode(body["prompt_embeds"])), weights_only=True)
    torch.testing.assert_close(tensor[None], by_hand(llm, PROMPTS[0]), atol=0, rtol=0)
    assert len(base64.b64decode(body["prompt_embeds"])) < tensor.numel() * 4 + 4000, "nothing but this prompt is sent"


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (Prompt("no place", (soft(1),)), "0 placeholders <xRAG> for 1"),
        (Prompt("<xRAG> <xRAG>", (soft(1),)), "2 placeholders <xRAG> for 1"),
        (Prompt("<xRAG>", (np.zeros((1, 7), np.float32),)), "embeddings of length 32, not 7"),
    ],
)
def test_prompts_that_do_not_fit(folder: str, prompt: Prompt, message: str) -> None:
    """Another number of placeholders, or soft tokens for another LLM, are errors."""
    with pytest.raises(InvalidInput, match=message):
        SoftPromptLLM.load(folder, "cpu").batch([prompt])


def test_other_errors(tmp_path: Path) -> None:
    """No model, no chat template, no prompt, the wrong side to generate from."""
    with pytest.raises(InvalidInput, match="Cannot load the LLM"):
        SoftPromptLLM.load(str(tmp_path / "nothing"), "cpu")
    with pytest.raises(InvalidInput, match="on 'nonsense'"):
        SoftPromptLLM.load(write_llama(tmp_path, chat=False), "nonsense")
    bare = SoftPromptLLM.load(write_llama(tmp_path, chat=False), "cpu")
    with pytest.raises(InvalidInput, match="no chat template: pass chat=False"):
        bare.batch(PROMPTS)
    with pytest.raises(InvalidInput, match="needs prompts"):
        bare.batch([])
    with pytest.raises(InvalidInput, match="padded on the left"):
        SoftPromptLLM(bare.model, bare.tokenizer, False, "right").generate(PROMPTS)


def test_text_as_any_prompt(folder: str) -> None:
    """Without soft tokens a prompt is read as text is, lone surrogates included."""
    llm = SoftPromptLLM.load(folder, "cpu", chat=False)
    prompt = PromptTemplate().format(ProjectorCompressor(RepeatProjector()).compress("which river?", []))
    assert llm.token_ids(prompt) == llm.tokenizer(prompt.text)["input_ids"]
    assert llm.token_ids(Prompt("a\ud800b"))


def test_the_tokenizer_that_was_saved(tmp_path: Path) -> None:
    """A plain tokenizer beside a Qwen2 stays itself, though transformers would take Qwen2's own rules instead."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    own = Tokenizer(models.WordLevel({"<unk>": 0, "loire": 1, "river": 2}, unk_token="<unk>"))  # noqa: S106
    own.normalizer, own.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=own, unk_token="<unk>").save_pretrained(tmp_path)  # noqa: S106
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    Qwen2ForCausalLM(Qwen2Config(vocab_size=3, num_key_value_heads=1, **sizes)).save_pretrained(tmp_path)
    llm = SoftPromptLLM.load(str(tmp_path), "cpu", chat=False)
    assert llm.token_ids(Prompt("River LOIRE")) == [2, 1]
    assert tokenizer_as_saved(str(tmp_path), padding_side="left")("River LOIRE")["input_ids"] == [2, 1]
