"""Jobs that write summaries: `--method summary` without a question, `--method abstractive` for one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rag_compress.batch.engines import LocalEngine
from rag_compress.batch.folder import JobFolder
from rag_compress.batch.job import Job
from rag_compress.batch.methods import find_method
from rag_compress.batch.read import results
from rag_compress.batch.run import Progress, Run
from rag_compress.batch.worker import Worker
from rag_compress.errors import ChangedJob, InvalidInput, ModelError
from rag_compress.stores import open_store
from rag_compress.stores.protocol import Columns
from rag_compress.tokens import estimate_tokens

TEXT = "The Loire is a river in France. It is 1,006 km long. Many castles stand near it. It rises in the Massif."
OTHER = "The Rhine rises in the Swiss Alps. It ends in the North Sea, after 1,230 km. It is deep and wide there."


class Scripted:
    """Writes the first sentence of each text; a text with a word of the script gets that instead."""

    script: dict[str, Any] = {}  # noqa: RUF012 - the tests set it
    asked: list[str] = []  # noqa: RUF012

    def summarize(self, queries: Sequence[str], texts: Sequence[str], _: Sequence[int]) -> list[Any]:
        """Returns the summaries."""
        self.asked.extend(queries)
        return [
            next((reply for word, reply in self.script.items() if word in text), text[: text.find(".") + 1])
            for text in texts
        ]


MODEL = {"model": f"{__name__}:Scripted"}


@pytest.fixture(autouse=True)
def script(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `Scripted` says."""
    monkeypatch.setattr(Scripted, "script", {})
    monkeypatch.setattr(Scripted, "asked", [])
    return Scripted.script


def run(folder: Path, rows: Sequence[dict[str, Any]], method: str, options: dict[str, Any], **changes: Any) -> Progress:
    """Runs a job over rows in this process."""
    source = folder / "docs.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    job = Job(str(source), Worker(method, options), **changes)
    store = open_store(job.source, None, job.columns)
    return Run(job, store, JobFolder(str(folder / "out")), LocalEngine(workers=1))()


def values(folder: Path) -> list[Any]:
    """Returns the results in order."""
    return [row.value for row in results(JobFolder(str(folder / "out")))]


def test_each_document_once(tmp_path: Path) -> None:
    """Documents are summarised without a question, those of a list one for one; what is blank stays."""
    rows: list[dict[str, Any]] = [{"text": TEXT}, {"text": [OTHER, {"title": "L", "text": TEXT}, ""]}, {"text": " "}]
    options = {**MODEL, "keywords": 0}
    assert run(tmp_path, rows, "summary", options).tally.errors == 0
    loire, rhine = "The Loire is a river in France.", "The Rhine rises in the Swiss Alps."
    first, second, third = values(tmp_path)
    assert (first, second[0], second[2], third) == (loire, rhine, "", " ")
    assert set(Scripted.asked) == {""}
    assert run(tmp_path, rows, "summary", options).tally.fresh == 0


def test_keywords_and_budget(tmp_path: Path) -> None:
    """A document's keywords stay, within a budget that holds for each document."""
    run(tmp_path, [{"text": TEXT}, {"text": [TEXT, OTHER]}], "summary", {**MODEL, "max_tokens": 20})
    one, two = values(tmp_path)
    assert len(one) > len("The Loire is a river in France.")
    assert all(estimate_tokens(text) <= 20 for text in [one, *two])


def test_for_a_question(tmp_path: Path) -> None:
    """With a question an extract is summarised; what does not help is left empty."""
    rows = [{"text": [TEXT, "Bread is baked from flour. It is eaten."], "q": "How long is the Loire?"}]
    run(tmp_path, rows, "abstractive", {**MODEL, "max_tokens": 30, "threshold": 0.01}, columns=Columns(query="q"))
    [[first, second]] = values(tmp_path)
    assert first
    assert first in TEXT
    assert second == ""
    assert Scripted.asked == ["How long is the Loire?"]


def test_what_the_extract_is_made_with(tmp_path: Path) -> None:
    """The options of an extract are those that extractive methods take, its language too."""
    options = {**MODEL, "max_tokens": 30, "max_ratio": 0.5, "language": "en"}
    run(tmp_path, [{"text": TEXT}], "abstractive", options, query="How long is the Loire?")
    [text] = values(tmp_path)
    assert text
    assert text in TEXT
    with pytest.raises(InvalidInput, match="not 'nothing'"):
        run(tmp_path, [{"text": TEXT}], "abstractive", {**options, "language": "nothing"}, query="Which?")


def test_an_error_of_the_moment(tmp_path: Path, script: dict[str, Any]) -> None:
    """A summary that did not come makes an error row, which the next run tries again; its mates get results."""
    script["Rhine"] = TimeoutError("no reply")
    rows = [{"text": TEXT}, {"text": OTHER}, {"text": [TEXT, OTHER]}]
    tally = run(tmp_path, rows, "summary", MODEL).tally
    assert (tally.rows, tally.errors) == (3, 2)
    assert tally.failed[0][1] == "TimeoutError: the summarizer did not write"
    script.clear()
    tally = run(tmp_path, rows, "summary", MODEL).tally
    assert (tally.fresh, tally.errors) == (2, 0)


@pytest.mark.parametrize("reply", [ModelError("blank"), "The Thames is in England.", TEXT * 9])
def test_a_bad_summary(tmp_path: Path, script: dict[str, Any], reply: Any) -> None:
    """Where what was written does not stand, the document's own sentences stand in."""
    script["Loire"] = reply
    assert run(tmp_path, [{"text": TEXT}], "summary", {**MODEL, "max_tokens": 25}).tally.errors == 0
    [text] = values(tmp_path)
    assert text
    assert all(sentence in TEXT for sentence in text.split(". "))


def test_wrong_options(tmp_path: Path) -> None:
    """A model that is missing, or is none, and an unknown option are named before anything is written."""
    for method in ("summary", "abstractive"):
        asked = {"query": "Which river?"} if method == "abstractive" else {}
        for options, message in [
            ({}, f"The method {method} needs a model: --option model=FOLDER or module:object"),
            ({"model": "absent"}, "'absent' is no folder of a trained summarizer, nor module:object"),
            ({"model": str(tmp_path)}, "holds no summarizer"),
            ({**MODEL, "magic": 1}, "does not take these options"),
            ({**MODEL, "max_tokens": -1}, "max_tokens must be"),
        ]:
            with pytest.raises(InvalidInput, match=message):
                run(tmp_path, [{"text": TEXT}], method, options, **asked)
    assert not (tmp_path / "out").exists()
    with pytest.raises(InvalidInput, match="takes no question"):
        run(tmp_path, [{"text": TEXT}], "summary", MODEL, query="Which river?")


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
def test_a_trained_folder(tmp_path: Path) -> None:
    """A trained model is taken from its folder, and is part of what the job is: with other weights it is another."""
    pytest.importorskip("transformers")
    from tiny_seq2seq import write_t5

    model = tmp_path / "mine"
    write_t5(model)
    (model / "summarizer.json").write_text('{"template": "{documents}", "max_source_tokens": 64}')
    options = {"model": str(model), "max_tokens": 30}
    long = " ".join([TEXT, OTHER] * 6)
    assert run(tmp_path, [{"text": TEXT}, {"text": long}], "summary", options).tally.errors == 0
    assert all(0 < estimate_tokens(text) <= 30 for text in values(tmp_path))
    before = find_method("summary").fingerprint(options)
    assert before != find_method("abstractive").fingerprint(options)
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert before != find_method("summary").fingerprint(options)
    with pytest.raises(ChangedJob, match="weights"):
        run(tmp_path, [{"text": TEXT}], "summary", options)
