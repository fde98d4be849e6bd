"""Training a projector: learns, resumes to the same weights, leaves the LLM as it was, writes what can be used."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rag_compress import ProjectorCompressor
from rag_compress.compressors.projector import XRAG
from rag_compress.errors import DocumentError, InvalidInput

pytest.importorskip("transformers")
from tiny_classifier import write_encoder
from tiny_seq2seq import piped, write_lines, write_llama
from typer.testing import CliRunner

from rag_compress.cli.app import app
from rag_compress.models.soft_tokens.projector import MlpProjector
from rag_compress.models.soft_tokens.soft_prompts import SoftPromptLLM
from rag_compress.training import projector
from rag_compress.training.projector import ProjectorTraining, train

RIVERS = ["loire", "rhine", "north sea", "alps"]
LINES = [
    {
        "query": "which river?",
        "answers": [name],
        "licence": "CC0",
        "contexts": [
            {"title": "", "text": f"the {name} is in france", "sentences": None, "evidence": None, "gold": True},
            {"title": "", "text": "write a summary", "sentences": None, "evidence": None, "gold": False},
        ],
    }
    for name in RIVERS
]


def write_loud_llama(folder: Path) -> None:
    """Writes a random Llama whose weights are large enough for what it reads to change what it says."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(write_llama(folder))
    for name, value in model.named_parameters():
        if "norm" not in name:
            value.data *= 12
    model.save_pretrained(folder)


def options(tmp_path: Path, **changes: Any) -> ProjectorTraining:
    """Returns a run of a few steps on four lines, with a small Llama and a small encoder."""
    data = str(write_lines(tmp_path / "data.jsonl", LINES))
    llm, encoder = tmp_path / "llm", tmp_path / "encoder"
    if not llm.exists():
        llm.mkdir()
        write_loud_llama(llm)
        write_encoder(encoder)
    wanted = {
        "pretrain_steps": 3,
        "tune_steps": 3,
        "batch_size": 4,
        "evaluate_every": 2,
        "tune_rate": 1e-2,
        "dev": (data,),
    }
    wanted |= {"llm": str(llm), "data": (data,), "out": str(tmp_path / "out"), "encoder": str(encoder)}
    return ProjectorTraining(**(wanted | changes))


def test_it_learns(tmp_path: Path) -> None:
    """Soft tokens come to tell the passages apart, with several passages and tokens too; the folder works as it is."""
    folder = train(options(tmp_path, pretrain_steps=30, tune_steps=60, evaluate_every=30, tokens=2, passages=2))
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert log[-1]["dev"]["soft"] < log[0]["dev"]["soft"] - 0.5
    assert log[-1]["dev"]["text"] == log[0]["dev"]["text"], "the frozen LLM reads text as before"
    loaded = MlpProjector.from_folder(folder)
    assert (loaded.config.tokens, loaded.config.pooling, loaded.config.normalized) == (2, "mean", True)
    compressor = ProjectorCompressor(loaded, loaded.encoder())
    context = compressor.compress("which river?", ["the loire is in france", "write a summary"])
    llm = SoftPromptLLM.for_projector(loaded)
    assert len(llm.generate([XRAG.format(context)], max_new_tokens=3)) == 1
    card = (folder / "README.md").read_text()
    assert "CC0" in card
    assert "frozen" in card


def test_nothing_else_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every weight of the LLM is bit-identical after training; one that moves is noticed."""
    run = options(tmp_path)
    before = (tmp_path / "llm" / "model.safetensors").read_bytes()
    seen: list[str] = []
    fingerprint = projector._fingerprint
    monkeypatch.setattr(projector, "_fingerprint", lambda model: seen.append(fingerprint(model)) or seen[-1])
    train(run)
    assert len(set(seen)) == 1
    assert len(seen) == 2
    assert (tmp_path / "llm" / "model.safetensors").read_bytes() == before
    advance = projector._Run.advance

    def leaking(self: Any) -> None:
        advance(self)
        next(iter(self.llm.model.parameters())).data[0, 0] += 1e-6

    monkeypatch.setattr(projector._Run, "advance", leaking)
    with pytest.raises(AssertionError, match="weights changed"):
        train(replace(run, out=str(tmp_path / "leak")))


def test_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that breaks off in either stage and goes on ends with the weights of one that did not."""
    run = options(tmp_path)
    whole = train(replace(run, out=str(tmp_path / "whole")))
    advance = projector._Run.advance
    for stop in (2, 5):

        def broken(self: Any, stop: int = stop) -> None:
            if self.step == stop:
                raise KeyboardInterrupt
            advance(self)

        monkeypatch.setattr(projector._Run, "advance", broken)
        with pytest.raises(KeyboardInterrupt):
            train(run)
    monkeypatch.undo()
    resumed = train(run)
    assert (resumed / "projector.safetensors").read_bytes() == (whole / "projector.safetensors").read_bytes()
    assert [json.loads(line)["step"] for line in (resumed / "log.jsonl").read_text().splitlines()] == [2, 4, 6]
    for other in ({"seed": 1}, {"tokens": 2}, {"tune_rate": 1.0}):
        with pytest.raises(InvalidInput, match="other options"):
            train(replace(run, **other))


def test_a_kill_while_embeddings_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a file of embeddings is not taken for the whole one."""
    save = np.save

    def killed(file: Any, array: Any, **_: Any) -> None:
        save(file, array)
        (file if hasattr(file, "truncate") else file.open("r+b")).truncate(200)
        raise KeyboardInterrupt

    run = options(tmp_path, encoder=tmp_path / "encoder")
    monkeypatch.setattr(np, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        train(run)
    monkeypatch.undo()
    assert MlpProjector.from_folder(train(run)).config.encoder == str(tmp_path / "encoder")


@pytest.mark.parametrize("answers", [[1889], [None], {"text": ["loire"], "answer_start": [4]}, "loire"], ids=str)
def test_answers_are_texts(tmp_path: Path, answers: Any) -> None:
    """Answers in another form, as in SQuAD's files, are an error that names the line."""
    data = str(write_lines(tmp_path / "odd.jsonl", [*LINES, LINES[0] | {"answers": answers}]))
    with pytest.raises(DocumentError, match=r"odd\.jsonl:5: answers must be a list of texts"):
        train(options(tmp_path, data=(data,)))


def test_a_question_about_templates(tmp_path: Path) -> None:
    """Braces in a question are the question's."""
    data = str(write_lines(tmp_path / "braces.jsonl", [LINES[0] | {"query": "what is {context} in {query}?"}]))
    assert train(options(tmp_path, data=(data,), pretrain_steps=0, tune_steps=1)).is_dir()


def test_an_llm_without_a_chat_template(tmp_path: Path) -> None:
    """What was trained without a chat template is read without one."""
    plain = tmp_path / "plain"
    plain.mkdir()
    folder = train(options(tmp_path, llm=write_llama(plain, chat=False), chat=False))
    loaded = MlpProjector.from_folder(folder)
    context = ProjectorCompressor(loaded, loaded.encoder()).compress("which river?", ["the loire is in france"])
    assert len(SoftPromptLLM.for_projector(loaded).generate([XRAG.format(context)], max_new_tokens=3)) == 1


def test_the_fields_that_it_needs(tmp_path: Path) -> None:
    """Sentences and evidence may be missing."""
    lines = [
        line | {"contexts": [{k: c[k] for k in ("text", "title", "gold")} for c in line["contexts"]]} for line in LINES
    ]
    data = str(write_lines(tmp_path / "bare.jsonl", lines))
    assert train(options(tmp_path, data=(data,), pretrain_steps=1, tune_steps=1)).is_dir()


def test_data_before_the_model(tmp_path: Path) -> None:
    """Data that cannot be read are an error before the LLM is fetched."""
    for changes in ({"data": ("absent.jsonl",)}, {"dev": ("absent.jsonl",)}):
        with pytest.raises(InvalidInput, match=r"absent\.jsonl"):
            train(options(tmp_path, llm="absent-llm", **changes))


def test_data_from_a_pipe(tmp_path: Path) -> None:
    """They can be read once only, as those of a shell's `<(...)`."""
    run = options(tmp_path, dev=())
    with piped(Path(run.data[0])) as pipe:
        assert len(projector._Run(replace(run, data=(pipe,))).questions) == len(LINES)


def test_accumulation(tmp_path: Path) -> None:
    """Two passes of one update draw what is drawn next, not the same again."""
    log = (train(options(tmp_path, accumulate=2, distillation=0.0)) / "log.jsonl").read_text()
    assert json.loads(log.splitlines()[-1])["step"] == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"passage_tokens": 2}, "nothing to learn"),
        ({"batch_size": 0}, "batch_size"),
        ({"distillation": -1.0}, "distillation"),
        ({"tune_rate": float("nan")}, "tune_rate"),
        ({"seed": -1}, "seed"),
        ({"out": __file__}, "cannot be the folder for the model: .* is a file"),
        ({"out": f"{__file__}/out"}, "cannot be the folder for the model: .* is a file"),
    ],
)
def test_options_that_cannot_be(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """No passage short enough, and values out of range, are errors."""
    with pytest.raises(InvalidInput, match=message):
        train(options(tmp_path, **changes))


def test_the_command(tmp_path: Path) -> None:
    """`rag-compress train projector` does the same."""
    run = options(tmp_path)
    arguments = [
        "train",
        "projector",
        "--llm",
        run.llm,
        "--encoder",
        run.encoder,
        "--data",
        run.data[0],
        "--out",
        run.out,
    ]
    result = CliRunner().invoke(app, [*arguments, "--pretrain-steps", "1", "--tune-steps", "1", "--batch-size", "2"])
    assert result.exit_code == 0, result.output
    assert "wrote the projector" in result.stderr
    assert MlpProjector.from_folder(run.out).config.tokens == 1
