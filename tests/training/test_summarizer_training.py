"""Training a summarizer: learns, resumes to the same weights, writes a folder that summarises."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

from rag_compress.errors import InvalidInput

pytest.importorskip("transformers")
from tiny_classifier import write_encoder
from tiny_seq2seq import piped, write_lines, write_t5

from rag_compress.models.summarizers.generation import PLAIN, RECOMP, Seq2SeqSummarizer
from rag_compress.training import summarizer
from rag_compress.training.distillation import Distillation
from rag_compress.training.summarizer import SummarizerTraining, train

LINES = [
    {"query": "which?", "documents": [f"the loire is in france {i}. x"], "summaries": ["the loire is in france"]}
    for i in range(8)
]


def options(tmp_path: Path, **changes: Any) -> SummarizerTraining:
    """Returns a run of a few steps on eight lines."""
    data = str(write_lines(tmp_path / "data.jsonl", LINES))
    wanted = {"steps": 4, "batch_size": 4, "learning_rate": 1e-2, "evaluate_every": 2, "dev": (data,)} | changes
    return SummarizerTraining(data=(data,), out=str(tmp_path / "out"), **wanted)


def test_copying(tmp_path: Path) -> None:
    """A copying model learns in some steps what to copy, and its folder summarises by the same code as any other."""
    encoder = str(write_encoder(tmp_path / "encoder"))
    folder = train(options(tmp_path, model=encoder, copying=True, steps=40, evaluate_every=20))
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert log[-1]["dev loss"] < log[0]["loss"] / 2
    written = Seq2SeqSummarizer.from_folder(folder)
    assert written.template == PLAIN
    assert written.summarize([""], ["The Loire is in France 9. x"], [30]) == ["The Loire is in France"]
    assert "not stated" in (folder / "README.md").read_text()


def test_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that breaks off and goes on ends with the weights of one that did not; another run's folder is refused."""
    run = options(tmp_path, model=write_t5(tmp_path / "t5"))
    whole = train(replace(run, out=str(tmp_path / "whole")))
    advance = summarizer._Run.advance

    def broken(self: Any) -> None:
        if self.step == 3:
            raise KeyboardInterrupt
        advance(self)

    monkeypatch.setattr(summarizer._Run, "advance", broken)
    with pytest.raises(KeyboardInterrupt):
        train(run)
    monkeypatch.undo()
    resumed = train(run)
    assert json.loads((resumed / "summarizer.json").read_text())["template"] == RECOMP
    assert [json.loads(line)["step"] for line in (resumed / "log.jsonl").read_text().splitlines()] == [2, 4]
    assert (resumed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    for other in ({"seed": 1}, {"template": PLAIN}):
        with pytest.raises(InvalidInput, match="other options"):
            train(replace(run, **other))


def test_a_reader_that_cannot_be_copied(tmp_path: Path) -> None:
    """A reader may hold a connection or a lock; where it prefers no context, the empty text is learned and counted."""

    class Reader:
        def __init__(self) -> None:
            self.connection = Lock()

        def __call__(self, query: str, summary: str, answers: Sequence[str]) -> float:
            return 0.0 if summary else 1.0

    folder = train(options(tmp_path, model=write_t5(tmp_path / "t5"), distillation=Distillation(Reader())))
    assert "| learned as empty | 8 |" in (folder / "README.md").read_text()


def test_data_before_the_model(tmp_path: Path) -> None:
    """Data that cannot be read are an error before the model is fetched."""
    for changes in ({"data": ("absent.jsonl",)}, {"dev": ("absent.jsonl",)}):
        with pytest.raises(InvalidInput, match=r"absent\.jsonl"):
            train(replace(options(tmp_path, model="absent-model"), **changes))


def test_data_from_a_pipe(tmp_path: Path) -> None:
    """They can be read once only, as those of a shell's `<(...)`."""
    run = options(tmp_path, model=write_t5(tmp_path / "t5"), dev=(), steps=1)
    with piped(Path(run.data[0])) as pipe:
        assert len(summarizer._Run(replace(run, data=(pipe,))).examples) == len(LINES)


def test_a_seed_that_cannot_be(tmp_path: Path) -> None:
    """A negative one is an error before anything is read."""
    with pytest.raises(InvalidInput, match="seed must be an integer of at least 0"):
        replace(options(tmp_path, model="absent-model"), seed=-1)


def test_what_is_left_out(tmp_path: Path) -> None:
    """Examples that are too long are counted, never cut; with none left there is nothing to train."""
    with pytest.raises(InvalidInput, match=r"nothing to learn from.*too many tokens"):
        train(options(tmp_path, model=write_t5(tmp_path / "t5"), max_source_tokens=5))
    with pytest.raises(InvalidInput, match="Cannot load"):
        train(options(tmp_path, model=str(tmp_path / "none")))
