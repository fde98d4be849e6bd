"""What every retriever promises, one row each."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rag_compress import (
    BM25Retriever,
    Context,
    DenseRetriever,
    Document,
    FeedbackRetriever,
    HybridRetriever,
    Retriever,
)
from rag_compress.errors import DamagedIndex, IncompatibleIndex, IndexFolderError, InvalidInput
from rag_compress.retrievers import Interpolation, load_retriever
from rag_compress.retrievers.index_folder import write_index
from rag_compress.testing import HashEncoder

ENCODER = HashEncoder(256)
DOCUMENTS = [
    Document("loire", "The Loire is the longest river in France.", title="Loire", metadata={"km": 1006}),
    Document("rhine", "The Rhine is a river that rises in the Swiss Alps."),
    Document("bread", "Bread is baked from flour and water."),
    Document("blank", ""),
    Document("odd", "lone \ud800 surrogate, NUL \x00, 東京都 and é"),
]
Build = Callable[[list[Document]], Retriever]
ROWS: dict[str, Build] = {
    "bm25": BM25Retriever.from_documents,
    "bm25 okapi": lambda d: BM25Retriever.from_documents(d, method="okapi"),
    "rank-bm25": lambda d: BM25Retriever.from_documents(d, method="okapi", backend="rank-bm25"),
    "dense numpy": lambda d: DenseRetriever.from_documents(d, ENCODER, index="numpy"),
    "dense flat": lambda d: DenseRetriever.from_documents(d, ENCODER, index="flat"),
    "dense hnsw": lambda d: DenseRetriever.from_documents(d, ENCODER, index="hnsw"),
    "dense ivfpq": lambda d: DenseRetriever.from_documents(d, ENCODER, index="ivfpq"),
    "hybrid rrf": lambda d: HybridRetriever.from_documents(d, ENCODER),
    "hybrid interpolation": lambda d: HybridRetriever.from_documents(d, ENCODER, fusion=Interpolation((0.3, 0.7))),
    "feedback": lambda d: FeedbackRetriever.from_documents(d, ENCODER, interpolate="never"),
    "feedback both": lambda d: FeedbackRetriever.from_documents(d, ENCODER, interpolate="both"),
}
every_row = pytest.mark.parametrize("build", ROWS.values(), ids=ROWS.keys())


def test_a_backend_of_ones_own_is_not_saved(tmp_path: Path) -> None:
    """It ranks; saved, it would be an index that nothing can load."""

    class Backend:
        def scores(self, _: Sequence[str]) -> NDArray[np.float32]:
            return np.arange(len(DOCUMENTS), dtype=np.float32)

        def save(self, folder: Path) -> None: ...

    retriever = BM25Retriever(tuple(DOCUMENTS), Backend())
    assert retriever.run("which?").documents[0].id == "odd"
    with pytest.raises(InvalidInput, match="only those of bm25s and rank-bm25 are saved"):
        retriever.save(tmp_path / "index")


@every_row
def test_finds_the_document(build: Build) -> None:
    """The document that shares the query's words comes first, unchanged but for its score and embedding."""
    context = build(DOCUMENTS).run("longest river in France")
    first = context.documents[0]
    assert replace(first, score=None) == DOCUMENTS[0]
    assert first.score is not None
    assert context.segments[0].text == first.text


@every_row
def test_scores_fall(build: Build) -> None:
    """Scores never rise down the ranking, and no document comes twice."""
    (found,) = build(DOCUMENTS).retrieve(["river in the Alps"], k=10)
    scores = [document.score or 0.0 for document in found]
    assert scores == sorted(scores, reverse=True)
    assert len({document.id for document in found}) == len(found) <= len(DOCUMENTS)


@every_row
def test_batch_is_one_by_one(build: Build) -> None:
    """Several queries at once give what each gives alone; an empty query finds nothing."""
    retriever = build(DOCUMENTS)
    queries = ["river", "", "bread and water", " \n"]
    batch = retriever.retrieve(queries)
    assert batch == [retriever.retrieve([query])[0] for query in queries]
    assert batch[1] == batch[3] == []
    assert retriever.retrieve([]) == []
    assert retriever.retrieve(iter(queries)) == batch  # type: ignore[arg-type]
    for wrong in ("river", None):
        with pytest.raises(InvalidInput, match=r"queries must be a list of strings, not .*: put it into a list"):
            retriever.retrieve(wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="A batch must be a list of contexts, not <Context"):
        retriever(Context("river"))  # type: ignore[arg-type]


@every_row
def test_saved_and_loaded(build: Build, tmp_path: Path) -> None:
    """A loaded index gives the same documents with the same scores, also after it was saved over another."""
    retriever = build(DOCUMENTS)
    build(DOCUMENTS[:1]).save(tmp_path / "index")  # type: ignore[attr-defined]
    retriever.save(tmp_path / "index")  # type: ignore[attr-defined]
    loaded = load_retriever(tmp_path / "index", ENCODER)
    queries = ["river in France", "bread", "東京"]
    assert loaded.retrieve(queries) == retriever.retrieve(queries)
    assert loaded.k == retriever.k
    assert len([p for p in (tmp_path / "index").iterdir() if p.is_dir()]) == 1


@every_row
@pytest.mark.parametrize("k", [0, -1, True, 1.5])
def test_k_is_checked(build: Build, k: int) -> None:
    """A k that is not a positive integer is an error that shows it."""
    with pytest.raises(InvalidInput, match="k must be an integer of at least 1"):
        build(DOCUMENTS).retrieve(["river"], k=k)


@every_row
def test_corpus_is_checked(build: Build) -> None:
    """An empty corpus and repeated ids are errors; documents without any word are not."""
    with pytest.raises(InvalidInput, match="at least one document"):
        build([])
    with pytest.raises(InvalidInput, match="share the id 'loire'"):
        build([*DOCUMENTS, DOCUMENTS[0]])
    with pytest.raises(InvalidInput, match="must be a Document or a string, not 3"):
        build([3])  # type: ignore[list-item]
    assert build(["a river", "bread", "wine"]).retrieve(["river"])[0][0].id == "0"  # type: ignore[list-item]
    wordless = build([Document("a", ""), Document("b", "?!")])
    assert len(wordless.retrieve(["river"])[0]) in (0, 2)


@every_row
def test_damage_is_noticed(build: Build, tmp_path: Path) -> None:
    """Every file of an index, when removed, cut or altered, gives a typed error."""
    build(DOCUMENTS).save(tmp_path / "index")  # type: ignore[attr-defined]
    files = [f.relative_to(tmp_path / "index") for f in sorted((tmp_path / "index").rglob("*")) if f.is_file()]
    for damage in (Path.unlink, _cut, _alter):
        for file in files:
            shutil.copytree(tmp_path / "index", tmp_path / "damaged")
            if (tmp_path / "damaged" / file).stat().st_size:
                damage(tmp_path / "damaged" / file)
                with pytest.raises(IndexFolderError):
                    load_retriever(tmp_path / "damaged", ENCODER)
            shutil.rmtree(tmp_path / "damaged")


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def _alter(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_no_index(tmp_path: Path) -> None:
    """A folder without an index says how to build one."""
    with pytest.raises(IndexFolderError, match="rag-compress index"):
        load_retriever(tmp_path)
    with pytest.raises(IndexFolderError, match="rag-compress index"):
        load_retriever(tmp_path / "absent")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"format": 2}, IncompatibleIndex),
        ({"kind": "new"}, DamagedIndex),
        ({"data": "../x"}, DamagedIndex),
        ({"files": {}}, DamagedIndex),
        ({"parameters": {}}, DamagedIndex),
        ({"format": "1"}, DamagedIndex),
    ],
)
def test_manifest_is_checked(change: dict[str, object], error: type[Exception], tmp_path: Path) -> None:
    """A newer format, an unknown kind and a manifest with wrong values are typed errors."""
    BM25Retriever.from_documents(DOCUMENTS).save(tmp_path)
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | change))
    with pytest.raises(error):
        load_retriever(tmp_path)


def test_an_unknown_kind(tmp_path: Path) -> None:
    """An index of a kind that only a newer version knows says so."""
    write_index(tmp_path, "new", {}, lambda data: None)
    with pytest.raises(IncompatibleIndex, match="unknown kind 'new': update"):
        load_retriever(tmp_path)


def test_interrupted_save_keeps_the_old_index(tmp_path: Path) -> None:
    """When saving fails half-way, the index that was there is still whole and nothing is left behind."""
    BM25Retriever.from_documents(DOCUMENTS[:2]).save(tmp_path)
    unsavable = [*DOCUMENTS, Document("x", "text", metadata={"a": object()})]
    with pytest.raises(InvalidInput, match="metadata of document 'x'"):
        BM25Retriever.from_documents(unsavable).save(tmp_path)
    assert len(BM25Retriever.load(tmp_path).documents) == 2
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    """A folder that holds anything but an index is left alone; a failed save leaves no new folder behind."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "manifest.json").write_text('{"name": "my app"}')
    with pytest.raises(IndexFolderError, match="not empty and holds no index"):
        BM25Retriever.from_documents(DOCUMENTS).save(tmp_path / "site")
    assert (tmp_path / "site" / "manifest.json").read_text() == '{"name": "my app"}'
    with pytest.raises(InvalidInput):
        BM25Retriever.from_documents([Document("x", "t", metadata={"a": object()})]).save(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_saving_and_loading_at_once(tmp_path: Path) -> None:
    """While several threads save, every load gets a whole index, and one is there in the end."""
    retriever = BM25Retriever.from_documents(DOCUMENTS)
    retriever.save(tmp_path)
    with ThreadPoolExecutor(4) as threads:
        saves = [threads.submit(retriever.save, tmp_path) for _ in range(20)]
        loads = [threads.submit(BM25Retriever.load, tmp_path) for _ in range(20)]
    assert all(load.result().documents == retriever.documents for load in loads)
    assert all(save.exception() is None for save in saves)
    assert BM25Retriever.load(tmp_path).documents == retriever.documents


def test_an_index_that_is_replaced_while_its_parts_are_loaded(tmp_path: Path) -> None:
    """The new index is read where the parts of the old one are gone."""
    hybrid = HybridRetriever.from_documents(DOCUMENTS, ENCODER)
    hybrid.save(tmp_path)
    left = [hybrid.save]

    class Replacing(HashEncoder):
        def encode(self, texts: Sequence[str]) -> np.ndarray:
            """Saves the index anew when it is first called: for the probe text, while the index is being loaded."""
            for save in left[:1]:
                left.clear()
                save(tmp_path)
            return super().encode(texts)

    assert HybridRetriever.load(tmp_path, Replacing(256)).retrieve(["river"]) == hybrid.retrieve(["river"])


def test_two_savers(tmp_path: Path) -> None:
    """The one that ends last also removes what the other has written in the meantime."""
    retriever = BM25Retriever.from_documents(DOCUMENTS)
    write_index(tmp_path, "new", {}, lambda data: retriever.save(tmp_path))
    assert len(list(tmp_path.glob("data-*"))) == 1


def test_a_manifest_that_points_elsewhere(tmp_path: Path) -> None:
    """What a crafted manifest names outside of its folder is neither read nor, on saving anew, removed."""
    victim, folder = tmp_path / "victim", tmp_path / "index"
    victim.mkdir()
    (victim / "precious").write_text("x")
    retriever = BM25Retriever.from_documents(DOCUMENTS)
    retriever.save(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["sha256"]
    for data in (str(victim), "../victim", None):
        body = {**manifest, "data": data}
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode("ascii")).hexdigest()
        (folder / "manifest.json").write_text(json.dumps({**body, "sha256": digest}))
        with pytest.raises(DamagedIndex):
            load_retriever(folder)
        retriever.save(folder)
        assert (victim / "precious").exists()
        assert BM25Retriever.load(folder).documents == retriever.documents


def test_a_first_save_that_was_killed(tmp_path: Path) -> None:
    """What it leaves, data without a manifest, does not keep the next one from saving."""
    (tmp_path / "data-0123abcd").mkdir()
    (tmp_path / "manifest.0123abcd.tmp").write_text("{")
    BM25Retriever.from_documents(DOCUMENTS).save(tmp_path)
    assert BM25Retriever.load(tmp_path).documents == tuple(DOCUMENTS)


def test_unwritable_folder(tmp_path: Path) -> None:
    """A place that cannot be written is a typed error that names it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(IndexFolderError, match="Cannot write the index"):
        BM25Retriever.from_documents(DOCUMENTS).save(tmp_path / "file")


def test_another_encoder(tmp_path: Path) -> None:
    """Loading with an encoder that encodes otherwise is an error; so is loading without one that cannot be remade."""
    DenseRetriever.from_documents(DOCUMENTS, ENCODER).save(tmp_path)
    with pytest.raises(IncompatibleIndex, match="HashEncoder"):
        DenseRetriever.load(tmp_path, HashEncoder(255))
    with pytest.raises(IncompatibleIndex, match="encodes otherwise"):
        DenseRetriever.load(tmp_path, Reversed())
    with pytest.raises(InvalidInput, match="pass it as `encoder`"):
        DenseRetriever.load(tmp_path)
    with pytest.raises(IncompatibleIndex, match="kind 'dense', not 'bm25'"):
        BM25Retriever.load(tmp_path)


def test_an_encoder_that_knows_few_words(tmp_path: Path) -> None:
    """An index loads with its own encoder, even if that makes zeros of the probe text, as one of few words does."""

    class Few:
        def __init__(self, *known: str) -> None:
            self.known = known

        def encode(self, texts: Sequence[str]) -> np.ndarray:
            """Returns how often each known word stands in each text."""
            return np.array([[text.split().count(word) for word in self.known] for text in texts], np.float32)

    retriever = DenseRetriever.from_documents(["le fleuve", "le pain"], Few("fleuve", "pain"))
    retriever.save(tmp_path)
    assert DenseRetriever.load(tmp_path, Few("fleuve", "pain")).retrieve(["pain"]) == retriever.retrieve(["pain"])
    for other in (Few("fleuve"), Few("river", "is")):
        with pytest.raises(IncompatibleIndex, match="encodes otherwise"):
            DenseRetriever.load(tmp_path, other)


class Reversed:
    """An encoder of the same dimension with other vectors."""

    def encode(self, texts: list[str]) -> np.ndarray:
        """Returns HashEncoder's vectors from last to first place."""
        return ENCODER.encode(texts)[:, ::-1]


@every_row
def test_one_text_is_no_list(build: Build) -> None:
    """A single text is refused, not taken letter by letter."""
    with pytest.raises(InvalidInput, match="must be a list of documents"):
        build("river")  # type: ignore[arg-type]


@dataclass(frozen=True)
class QueryEncoder(HashEncoder):
    """An encoder of the user's own, for queries."""

    dim: int = 256


@pytest.mark.parametrize("kind", [DenseRetriever, HybridRetriever, FeedbackRetriever])
def test_a_query_encoder_is_passed_on(kind: type, tmp_path: Path) -> None:
    """An index with an encoder for queries loads by every way there is, and says what to pass where it is missing."""
    dense = DenseRetriever.from_documents(DOCUMENTS, ENCODER, query_encoder=QueryEncoder())
    built = {
        DenseRetriever: dense,
        HybridRetriever: HybridRetriever((BM25Retriever.from_documents(DOCUMENTS), dense)),
        FeedbackRetriever: FeedbackRetriever(dense, None, interpolate="never"),
    }[kind]
    built.save(tmp_path)
    with pytest.raises(InvalidInput, match="pass it as `query_encoder`"):
        load_retriever(tmp_path, ENCODER)
    with pytest.raises(IncompatibleIndex, match="QueryEncoder"):
        load_retriever(tmp_path, ENCODER, Reversed())
    for load in (kind.load, load_retriever):
        loaded = load(tmp_path, ENCODER, QueryEncoder())
        assert loaded.retrieve(["river"]) == built.retrieve(["river"])


@pytest.mark.parametrize("backend", ["bm25s", "rank-bm25"])
@pytest.mark.parametrize("options", [{"k1": 0}, {"b": 1}], ids=str)
def test_parameters_at_their_limits(backend: str, options: dict[str, float]) -> None:
    """Binary BM25 (k1 0) and BM11 (b 1) rank, also with documents of no words."""
    retriever = BM25Retriever.from_documents(
        ["the", "a long river", "bread"], method="okapi", backend=backend, **options
    )  # type: ignore[arg-type]
    (found,) = retriever.retrieve(["river bread fruit"])
    assert {document.text for document in found} == {"a long river", "bread"}


def test_numbers_of_numpy(tmp_path: Path) -> None:
    """A k or a parameter from an array is a number like any other, in a search and in the manifest."""
    options = {"k": np.int64(2), "k1": np.float32(1.2), "method": "okapi", "backend": "rank-bm25"}
    BM25Retriever.from_documents(DOCUMENTS, **options).save(tmp_path)  # type: ignore[arg-type]
    assert BM25Retriever.load(tmp_path).k == 2
    assert len(DenseRetriever.from_documents(DOCUMENTS, ENCODER).retrieve(["river"], np.int64(2))[0]) == 2  # type: ignore[arg-type]
