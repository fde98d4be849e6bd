"""The copying model points at the tokens of its source, and its summaries are spelled as the source is."""

from __future__ import annotations

from pathlib import Path

import pytest

from rag_compress.errors import ModelError
from rag_compress.models.summarizers.spelling import copied_text

pytest.importorskip("transformers")
from tiny_classifier import write_encoder

from rag_compress.models.summarizers.copying import CopyingModel, seq2seq_model, torch
from rag_compress.models.summarizers.generation import PLAIN, Seq2SeqSummarizer

SOURCE = "The Loire, in France, flows. The END. 'quoted'"
TOKENS = [
    (0, 3),
    (4, 9),
    (9, 10),
    (11, 13),
    (14, 20),
    (20, 21),
    (22, 27),
    (27, 28),
    (29, 32),
    (33, 36),
    (36, 37),
    (0, 0),
    (39, 45),
]
IDS = [1, 2, 3, 4, 5, 3, 6, 7, 1, 8, 7, 9, 12]


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        ([1, 2, 6, 7], "The Loire flows."),
        ([1, 2, 3, 4, 5, 3, 6, 7], "The Loire, in France, flows."),
        ([1, 8, 7], "The END."),
        ([5, 6, 7, 9], "France flows."),
        ([4, 5], "In France"),
        ([77, 2], "Loire"),
        ([2, 12], "Loire quoted"),
        ([12, 1, 2], "Quoted The Loire"),
        ([], ""),
    ],
)
def test_spelling(ids: list[int], text: str) -> None:
    """Copied tokens get the case, the spaces and the punctuation of the places that they were copied from."""
    assert copied_text(SOURCE, TOKENS, IDS, ids) == text


def test_probabilities(tmp_path: Path) -> None:
    """What can come next is in the source, and its probabilities add up to 1; the loss is that of the label."""
    torch.manual_seed(0)
    model, tokenizer = seq2seq_model(str(write_encoder(tmp_path)), copying=True)
    assert isinstance(model, CopyingModel)
    model.eval()
    batch = tokenizer(["the loire is in france", "river"], return_tensors="pt", padding=True)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    labels = torch.tensor([[ids[0, 1], ids[0, 2]], [ids[1, 1], -100]])
    with torch.inference_mode():
        start = torch.full((2, 1), model.config.decoder_start_token_id)
        chances = model(ids, mask, start).logits.exp()[:, 0]
        alone = model(ids[1:, : mask[1].sum()], None, start[1:]).logits.exp()[:, 0]
        loss = model(ids, mask, labels=labels[:, :1]).loss
        unknown = model(ids, mask, labels=torch.full((2, 1), 6)).loss
    assert torch.allclose(chances.sum(-1), torch.ones(2), atol=1e-3)
    assert set(torch.nonzero(chances[1] > 1e-6).flatten().tolist()) <= set(ids[1][mask[1] == 1].tolist())
    assert torch.allclose(chances[1], alone[0], atol=1e-5)
    assert loss.item() == pytest.approx(-chances[[0, 1], labels[:, 0]].log().mean().item(), abs=1e-3)
    assert unknown.item() == 0.0


def test_no_longer_than_it_can_count(tmp_path: Path) -> None:
    """Asked for more tokens than the model has positions for, it writes no more than those."""
    model, tokenizer = seq2seq_model(str(write_encoder(tmp_path / "encoder")), copying=True)
    model.save_pretrained(tmp_path / "copying")
    tokenizer.save_pretrained(tmp_path / "copying")
    summarizer = Seq2SeqSummarizer(str(tmp_path / "copying"), PLAIN)
    (summary,) = summarizer.summarize([""], ["the loire is in france. " * 9], [model.config.max_positions + 50])
    assert isinstance(summary, str | ModelError)
