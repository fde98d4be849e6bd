"""`compress --method xrag`: prompts, JSON and requests with soft tokens; what it refuses."""

from __future__ import annotations

import base64
import io
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")
from tiny_classifier import write_encoder  # noqa: E402
from tiny_seq2seq import write_llama  # noqa: E402

from rag_compress.cli.app import app  # noqa: E402
from rag_compress.models.encoding import PROBE  # noqa: E402
from rag_compress.models.soft_tokens.projector import MlpProjector, ProjectorConfig, ProjectorNetwork, llm_probe  # noqa: E402
from rag_compress.models.soft_tokens.soft_prompts import SoftPromptLLM  # noqa: E402
from rag_compress.models.torch import SentenceTransformerEncoder  # noqa: E402

TEXT = "the loire is a river in france. many castles stand near it, and it ends in the sea."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A projector with random weights between a small encoder and a small Llama."""
    base = tmp_path_factory.mktemp("xrag")
    (base / "llm").mkdir()
    llm, encoder = write_llama(base / "llm"), str(write_encoder(base / "encoder"))
    vector = SentenceTransformerEncoder(encoder).encode([PROBE])[0]
    table = SoftPromptLLM.load(llm, "cpu").model.get_input_embeddings()
    config = ProjectorConfig(
        len(vector), 32, encoder=encoder, normalized=True, llm=llm,
        encoder_probe=tuple(vector.tolist()), llm_probe=tuple(llm_probe(table)),
    )  # fmt: skip
    MlpProjector(ProjectorNetwork(len(vector), 32), config).save(base / "projector")
    (base / "doc.txt").write_text(TEXT)
    return base


def run(folder: Path, *options: str, query: str = "which river?") -> Any:
    """Runs the command over one document."""
    arguments = [
        "compress",
        query,
        str(folder / "doc.txt"),
        "--method",
        "xrag",
        "--projector",
        str(folder / "projector"),
    ]
    return CliRunner().invoke(app, [*arguments, *options])


def test_the_prompt(folder: Path) -> None:
    """It has a placeholder for the document."""
    result = run(folder)
    assert result.exit_code == 0, result.output
    assert "Background: <xRAG>\n\nQuestion: which river?" in result.stdout


def test_json(folder: Path) -> None:
    """It holds the soft tokens, as many as placeholders, and what was done."""
    record = json.loads(run(folder, "-o", "json").stdout)
    assert record["prompt"].count(record["placeholder"]) == len(record["soft_tokens"]) == 1
    assert len(record["soft_tokens"][0][0]) == 32
    assert record["compressed_tokens"] == 1
    assert record["notes"]["projector"]["soft"] == 1


def test_a_request(folder: Path) -> None:
    """It is what a vLLM server takes."""
    body = json.loads(run(folder, "-o", "request").stdout)
    assert body["model"] == str(folder / "llm")
    assert torch.load(io.BytesIO(base64.b64decode(body["prompt_embeds"])), weights_only=True).shape[1] == 32


def test_the_recipe(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe of docs/batch.md: an index of embeddings, and a request with what it finds."""
    page = (Path(__file__).parent.parent.parent / "docs" / "batch.md").read_text(encoding="utf-8")
    blocks = [block for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "xrag" in block]
    index, compress = (shlex.split(line) for line in blocks[0].splitlines())
    monkeypatch.chdir(tmp_path)
    Path("docs.jsonl").write_text("".join(json.dumps({"id": i, "text": f"{TEXT} it is {i}."}) + "\n" for i in range(3)))
    here = {"my-projector": str(folder / "projector")}
    made = CliRunner().invoke(app, [*index[1:], "--encoder", str(folder / "encoder")])
    assert made.exit_code == 0, made.output
    result = CliRunner().invoke(app, [here.get(word, word) for word in compress[1:]])
    assert result.exit_code == 0, result.output
    assert torch.load(io.BytesIO(base64.b64decode(json.loads(result.stdout)["prompt_embeds"])), weights_only=True).any()


def test_exact_and_budget(folder: Path) -> None:
    """A document that is needed word for word is text; with `--no-exact`, or without room, it is not."""
    query = "how many castles?"
    (folder / "doc.txt").write_text(TEXT + " there are 42 of them.")
    assert "42 of them" in run(folder, query=query).stdout
    assert "42 of them" not in run(folder, "--no-exact", query=query).stdout
    assert "42 of them" not in run(folder, "--max-tokens", "5", query=query).stdout
    assert "soft, " in run(folder, "-o", "view", "--no-exact").stdout
    (folder / "doc.txt").write_text(TEXT)


def test_what_it_refuses(folder: Path) -> None:
    """Options of the other method, and a projector that is not there."""
    for threshold in ("0.5", "0"):
        assert "leave out --threshold" in str(run(folder, "--threshold", threshold).exception)
    for scoring in (["--scorer", "lexical"], ["--model", "mine"], ["--language", "de"]):
        assert run(folder, *scoring).exit_code == 2
    runner, document = CliRunner(), str(folder / "doc.txt")
    result = runner.invoke(app, ["compress", "q", document, "--method", "xrag"])
    assert result.exit_code != 0
    assert "needs --projector" in str(result.exception)
    result = runner.invoke(app, ["compress", "q", document, "-o", "request"])
    assert result.exit_code == 2
    assert "for --method xrag" in result.stderr
