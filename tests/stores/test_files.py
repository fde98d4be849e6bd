"""Files behind URLs: a job whose store and folder are remote."""

from __future__ import annotations

import json
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from rag_compress.batch.engines import LocalEngine
from rag_compress.batch.folder import JobFolder
from rag_compress.batch.job import Job
from rag_compress.batch.read import check_job, results
from rag_compress.batch.run import Progress, Run
from rag_compress.batch.worker import Worker
from rag_compress.errors import InvalidInput, JobError, StoreError
from rag_compress.stores import open_store
from rag_compress.stores.protocol import Columns


def run(source: str, out: str) -> Progress:
    """Runs a job with parts of two rows."""
    job = Job(source, Worker("lexical", {"threshold": 0.2}), query="Which river?", rows=2)
    return Run(job, open_store(source, None, job.columns), JobFolder(out), LocalEngine(workers=1))()


def test_a_remote_job() -> None:
    """A job from one URL to another does what a local one does, and a second run does nothing."""
    fsspec = pytest.importorskip("fsspec")
    texts = [f"A river {i}. Bread is baked." for i in range(5)]
    lines = "".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(texts))
    fsspec.filesystem("memory").pipe_file("/bucket/docs.jsonl", lines.encode())
    assert run("memory://bucket/docs.jsonl", "memory://bucket/out").tally.fresh == 5
    assert run("memory://bucket/docs.jsonl", "memory://bucket/out").tally.fresh == 0
    folder = JobFolder("memory://bucket/out")
    assert [row.value for row in results(folder)] == [f"A river {i}." for i in range(5)]
    assert list(check_job(folder)) == []


@pytest.mark.parametrize("method", ["exists", "_open", "cat_file", "pipe_file", "ls"])
def test_a_service_that_cannot_be_reached(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its package raises, as for want of credentials, is one error with its reason."""
    fsspec = pytest.importorskip("fsspec")
    fsspec.filesystem("memory").pipe_file("/unreachable/docs.jsonl", b'{"id": 1, "text": "A river."}\n')

    def fail(*_: object, **__: object) -> None:
        raise NoCredentialsError("Unable to locate credentials")

    with monkeypatch.context() as patched:
        patched.setattr(type(fsspec.filesystem("memory")), method, fail)
        with pytest.raises((StoreError, JobError), match=r"memory://unreachable.*locate credentials"):
            run("memory://unreachable/" if method == "exists" else SOURCE, f"memory://unreachable/{method}")


class NoCredentialsError(Exception):
    """As botocore's is, no kind of `OSError`."""


SOURCE = "memory://unreachable/docs.jsonl"


def test_what_is_not_there() -> None:
    """A URL without a file, and a kind of URL that nobody knows, are errors that name them."""
    pytest.importorskip("fsspec")
    with pytest.raises(StoreError, match=r"absent\.jsonl: no such file"):
        open_store("memory://bucket/absent.jsonl", None, Columns())
    with pytest.raises(InvalidInput, match="nonsense"):
        open_store("nonsense://bucket/docs.jsonl", None, Columns())


def test_a_host_that_cannot_be_reached(tmp_path: Path) -> None:
    """Over HTTP it is told apart from a host that has no such file."""
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("localhost", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://localhost:{server.server_port}/docs.jsonl"
        with pytest.raises(StoreError, match=r"docs\.jsonl: no such file or folder"):
            open_store(address, None, Columns())
        server.shutdown()
    with pytest.raises(StoreError, match=r"docs\.jsonl: the host cannot be reached: Cannot connect to host localhost"):
        open_store(address, None, Columns())


@pytest.mark.filterwarnings("ignore:Failed to obtain server version")
@pytest.mark.parametrize("scheme", ["qdrant:http", "chroma:http", "ftp", "nonsense"])
def test_no_password_is_shown(scheme: str) -> None:
    """A server that cannot be reached, and a kind of URL that nobody knows, are typed errors without the password."""
    table = None
    if ":" in scheme:
        pytest.importorskip({"qdrant": "qdrant_client", "chroma": "chromadb"}[scheme.partition(":")[0]])
        table = "docs"
    pytest.importorskip("fsspec")
    address = f"{scheme}://me:se@cret@localhost:1/docs.jsonl"
    with pytest.raises((StoreError, InvalidInput), match="//me@localhost:1") as caught:
        list(open_store(address, table, Columns()).parts(1))
    assert "cret" not in str(caught.value)


def test_no_password_of_a_folder_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder's address has none, nor has what the file system says of it."""
    pytest.importorskip("fsspec")
    folder = JobFolder("memory://me:secret@bucket/out")
    assert folder.address == "memory://me@bucket/out"

    def fail(*_: object) -> None:
        raise OSError("memory://me:secret@bucket/out cannot be reached")

    monkeypatch.setattr(folder._files, "read", fail)
    with pytest.raises(JobError, match="//me@bucket/out cannot be reached"):
        folder.settings()
