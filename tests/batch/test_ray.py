"""The engine on Ray gives what the local one does."""

from __future__ import annotations

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

    with pytest.raises(JobError, match="here cannot be reached: The current node timed out"):
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
