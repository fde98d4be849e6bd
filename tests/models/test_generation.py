"""Summarizers on transformers: every named family, built small."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rag_compress import AbstractiveCompressor
from rag_compress.errors import InvalidInput, ModelError
from rag_compress.models.summarizers.generation import FLAN, PLAIN, RECOMP, CausalSummarizer, Seq2SeqSummarizer, fill
from rag_compress.models.summarizers.instructions import messages, read_reply

pytest.importorskip("transformers")
tiny = pytest.importorskip("tiny_seq2seq")

TEXT = "the loire is a river in france. the rhine rises in the swiss alps."
QUERY = "which river is in france?"


@pytest.mark.parametrize(
    ("make", "write", "template"),
    [
        (Seq2SeqSummarizer.recomp, tiny.write_t5, RECOMP),
        (Seq2SeqSummarizer.flan_t5, tiny.write_t5, FLAN),
        (Seq2SeqSummarizer.bart, tiny.write_bart, PLAIN),
    ],
    ids=["recomp", "flan-t5", "bart"],
)
def test_seq2seq(
    make: Callable[..., Seq2SeqSummarizer], write: Callable[[Path], str], template: str, tmp_path: Path
) -> None:
    """A checkpoint of the family loads by its folder and writes; a batch gives what its texts give one by one."""
    summarizer = make(write(tmp_path / "model"))
    assert summarizer.template == template
    texts = [TEXT, "the rhine.", TEXT * 3]
    found = summarizer.summarize([QUERY] * 3, texts, [12, 12, 5])
    alone = [summarizer.summarize([QUERY], [text], [limit])[0] for text, limit in zip(texts, [12, 12, 5], strict=True)]
    assert [str(summary) for summary in found] == [str(summary) for summary in alone]
    assert all(isinstance(summary, str | ModelError) for summary in found)
    assert summarizer.summarize([], [], []) == []


def test_causal(tmp_path: Path) -> None:
    """An instruction-tuned model is asked through its chat template, and only what it adds is its reply."""
    found = CausalSummarizer(tiny.write_llama(tmp_path / "model")).summarize([QUERY, ""], [TEXT, TEXT * 2], [9, 9])
    assert len(found) == 2
    assert all(isinstance(summary, str | ModelError) and "<|user|>" not in str(summary) for summary in found)
    plain = CausalSummarizer(tiny.write_llama(tmp_path / "plain", chat=False))
    with pytest.raises(InvalidInput, match="chat template"):
        plain.summarize([QUERY], [TEXT], [9])


@pytest.mark.parametrize(
    "refused",
    ["messages[0]['role'] == 'system'", "enable_thinking is not defined or enable_thinking"],
    ids=["gemma", "qwen3"],
)
def test_chat_templates(refused: str, tmp_path: Path) -> None:
    """A template that takes no system message gets all in the user's; one that has the model think is told not to."""
    model = tiny.write_llama(tmp_path / "model")
    template = tmp_path / "model" / "chat_template.jinja"
    refusal = f"{{% if {refused} %}}{{{{ raise_exception('refused') }}}}{{% endif %}}"
    template.write_text(refusal + template.read_text())
    [summary] = CausalSummarizer(model).summarize([QUERY], [TEXT], [9])
    assert isinstance(summary, str | ModelError)


def test_nothing_is_truncated(tmp_path: Path) -> None:
    """A text that is longer than the window is an error in its place; its batch-mate is summarised."""
    summarizer = Seq2SeqSummarizer(tiny.write_t5(tmp_path / "model"), max_source_tokens=60)
    long, short = summarizer.summarize([QUERY] * 2, [TEXT * 20, "the loire."], [8, 8])
    assert isinstance(long, InvalidInput)
    assert "smaller chunks" in str(long)
    assert not isinstance(short, InvalidInput)


def test_input_forms() -> None:
    """The input of RECOMP's compressors is what they were trained on; braces in a text stay as they are."""
    assert fill(RECOMP, "who?", "a\nb") == "Question: who?\n Document: a\nb\n Summary: "
    assert fill(RECOMP, "{documents}", "{query}") == "Question: {documents}\n Document: {query}\n Summary: "
    assert fill(PLAIN, "who?", "a") == "a"


def test_instructions() -> None:
    """The chat holds the documents, the limit, and the question if there is one."""
    system, user = messages(QUERY, TEXT, 100)
    assert "at most 70 words" in system["content"]
    assert user["content"] == f"Documents:\n{TEXT}\n\nQuestion: {QUERY}"
    assert "question" not in messages(" ", TEXT, 100)[0]["content"]


@pytest.mark.parametrize(
    ("reply", "summary"),
    [
        ("  The Loire. ", "The Loire."),
        ("NOTHING", ""),
        ("Nothing.", ""),
        ("NOTHING\n\nThe documents do not mention it.", ""),
        ("Here is a summary of the documents:\n\nThe Loire.", "The Loire."),
        ("Here are the castles of the Loire: Amboise.", "Here are the castles of the Loire: Amboise."),
        ("<think>long\nthoughts</think>\nThe Loire.", "The Loire."),
        ("Nothing is known of the Rhine.", "Nothing is known of the Rhine."),
    ],
)
def test_replies(reply: str, summary: str) -> None:
    """A reply is read without its thoughts; the word for nothing is an empty summary."""
    assert read_reply(reply) == summary


@pytest.mark.parametrize("reply", ["", " \n", "<think>only thoughts</think>", "<think>The Loire is"])
def test_blank_replies(reply: str) -> None:
    """A blank reply is a failure: the model was told what to say when nothing helps."""
    assert isinstance(read_reply(reply), ModelError)


@pytest.mark.parametrize("options", [{"model": "no/such/folder"}, {"model": "no/such/folder", "template": "{query}"}])
def test_wrong_model(options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is not there, and a template without documents, are errors that say so."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InvalidInput, match=r"Cannot load|lacks"):
        Seq2SeqSummarizer(**options).summarize([QUERY], [TEXT], [9])
    with pytest.raises(InvalidInput, match="no summarizer"):
        Seq2SeqSummarizer.from_folder("no/such/folder")
    for settings in ("[1]", '{"of_another_version": 1}'):
        (tmp_path / "summarizer.json").write_text(settings)
        with pytest.raises(InvalidInput, match="no summarizer"):
            Seq2SeqSummarizer.from_folder(tmp_path)


def test_a_device_that_is_not_there_is_no_failure_of_the_model(tmp_path: Path) -> None:
    """Else the extract would stand in for every text, and hide it."""
    stage = AbstractiveCompressor(Seq2SeqSummarizer(tiny.write_t5(tmp_path / "model"), device="cuda:77"))
    with pytest.raises(InvalidInput, match="cuda:77"):
        stage.compress(QUERY, [TEXT])


@pytest.mark.parametrize("option", ["max_source_tokens", "beams", "batch_size"])
def test_wrong_numbers(option: str) -> None:
    """Numbers below one are refused by their name."""
    with pytest.raises(InvalidInput, match=option):
        Seq2SeqSummarizer("any", **{option: 0})
    if option != "beams":
        with pytest.raises(InvalidInput, match=option):
            CausalSummarizer("any", **{option: -1})
