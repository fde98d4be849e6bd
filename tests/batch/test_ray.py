"""The engine on Ray gives what the local one does."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from rag_compress.batch.engines import LocalEngine
from rag_compress.batch.folder import JobFolder
from rag_compress.batch.job import Job
from rag_compress.batch.ray import RayEngine
from rag_compress.batch.run import Progress, Run
from rag_compress.batch.worker import Worker
from rag_compress.errors import InvalidInput, JobError
from rag_compress.stores import open_store


def run(source: Path, out: Path, engine: LocalEngine | RayEngine) -> Progress:
    """Runs a job with parts of five rows."""
    job = Job(str(source), Worker("lexical", {"threshold": 0.2}), query="Which river?", rows=5)
    return Run(job, open_store(str(source), None, job.columns), JobFolder(str(out)), engine)()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_same_output(tmp_path: Path) -> None:
    """Ray on this machine writes the same files as the local engine."""
    pytest.importorskip("ray")
    source = tmp_path / "a.jsonl"
    source.write_text("".join(f'{{"id": {i}, "text": "A river {i} runs. Bread is baked."}}\n' for i in range(40)))
    run(source, tmp_path / "local", LocalEngine(workers=1))
    assert run(source, tmp_path / "ray", RayEngine(workers=2)).tally.fresh == 40
    for part in (tmp_path / "local").glob("part-*"):
        assert part.read_bytes() == (tmp_path / "ray" / part.name).read_bytes()


def test_a_node_that_does_not_start() -> None:
    """Whatever Ray raises when it starts is an error that says so."""

    def init(**_: object) -> None:
        raise Exception("The current node timed out during startup")

    with pytest.raises(JobError, match="Ray cannot be started here: The current node timed out"):
        RayEngine()._connect(SimpleNamespace(init=init))


@pytest.mark.filterwarnings("ignore")
def test_wrong_values(tmp_path: Path) -> None:
    """What cannot be is said at once; a cluster that is not there is an error that names it."""
    for wrong in ({"workers": 0}, {"gpus": -1}):
        with pytest.raises(InvalidInput):
            RayEngine(**wrong)  # type: ignore[arg-type]
    pytest.importorskip("ray")
    (tmp_path / "a.jsonl").write_text('{"text": "A river."}\n')
    with pytest.raises(JobError, match="cannot be reached"):
        run(tmp_path / "a.jsonl", tmp_path / "out", RayEngine(address="127.0.0.1:9"))


DEADLY = """
import os
from rag_compress import ExtractiveCompressor
from rag_compress.stages import Stage

class Deadly(Stage):
    def __call__(self, batch):
        if any("POISON" in document.text for context in batch for document in context.documents):
            os._exit(9)
        return ExtractiveCompressor.lexical()(batch)

def make(options, template):
    return Deadly()
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_row_that_kills_its_actor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error row; the others have their results, and workers that have no room are refused, not waited for."""
    pytest.importorskip("ray")
    (tmp_path / "deadly_for_ray.py").write_text(DEADLY)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    source = tmp_path / "a.jsonl"
    texts = ["POISON" if i == 3 else f"A river {i} runs." for i in range(8)]
    source.write_text("".join(f'{{"id": {i}, "text": "{text}"}}\n' for i, text in enumerate(texts)))
    job = Job(str(source), Worker("deadly_for_ray:make"), query="Which river?", rows=5)
    store = open_store(str(source), None, job.columns)
    tally = Run(job, store, JobFolder(str(tmp_path / "out")), RayEngine(workers=2))().tally
    assert (tally.rows, tally.errors) == (8, 1)
    assert "process died" in tally.failed[0][1]
    with pytest.raises(JobError, match="room for"):
        Run(job, store, JobFolder(str(tmp_path / "more")), RayEngine(workers=1000))()


TOO_LARGE = """
import os
from pathlib import Path
from rag_compress import ExtractiveCompressor

DRIVER = Path(__file__).with_name("driver")

def too_large(options, template):
    if os.getpid() != int(DRIVER.read_text()):
        os._exit(9)
    return ExtractiveCompressor.lexical()

def not_there(options, template):
    if os.getpid() != int(DRIVER.read_text()):
        raise FileNotFoundError("/models/mine is not on this node")
    return ExtractiveCompressor.lexical()
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_model_that_workers_cannot_make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Actors that die of it, or have no such file, end the job with an error that says so; no row is to blame.

    Nor is a script, as it may be where this machine starts processes of its own.
    """
    pytest.importorskip("ray")
    (tmp_path / "models_for_ray.py").write_text(TOO_LARGE)
    (tmp_path / "driver").write_text(str(os.getpid()))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "a.jsonl").write_text('{"text": "A river runs."}\n')
    for function, said in (("too_large", "as soon as they start or load the model"), ("not_there", "not on this node")):
        job = Job(str(tmp_path / "a.jsonl"), Worker(f"models_for_ray:{function}"), query="Which river?")
        store = open_store(job.source, None, job.columns)
        with pytest.raises(JobError, match=said) as raised:
            Run(job, store, JobFolder(str(tmp_path / function)), RayEngine(workers=1))()
        assert "__main__" not in str(raised.value)
