"""The classifier as a scorer: any text, any batch, any length."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from strategies import contexts
from tiny_classifier import write_encoder

from rag_compress import Context, ExtractiveCompressor, Selection
from rag_compress.errors import InvalidInput, ModelError
from rag_compress.models.classifier.engines import Output, WindowEngine
from rag_compress.models.classifier.windows import Window, WindowCutter, load_tokenizer
from rag_compress.models.protocols import Passage, SentenceScorer
from rag_compress.scorers.classifier import ClassifierScorer, forget_loaded
from rag_compress.scorers.features import Logits, features, lexical_scores, passage_features, script_of
from rag_compress.scorers.surroundings import with_surroundings
from rag_compress.text import cut

pytest.importorskip("torch")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
WEIGHTS = {"sentence": [0.1, 1.0, 0.5, 0.0, 2.0, 0.0, 0.0, 3.0], "passage": [-0.1, 2.0, 0.0, 0.0, 0.0]}
CALIBRATION = {"latin": WEIGHTS, "other": WEIGHTS | {"sentence": [0.0] * 8}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier with random weights."""
    from rag_compress.models.classifier.network import ClassifierNetwork
    from rag_compress.models.export import export_classifier

    folder = write_encoder(tmp_path_factory.mktemp("classifier"))
    network = ClassifierNetwork.from_encoder(str(folder))
    for parameter in network.token_head.parameters():
        parameter.data.normal_(0, 0.5)
    cutter = WindowCutter(load_tokenizer(folder / "tokenizer.json"), 256)
    readings = cutter.read("which?", [Passage("t", "the loire." * n, [(0, 10)]) for n in (1, 3, 9)])
    export_classifier(network, [window for reading in readings for window in reading.windows], folder)
    config = {"max_tokens": 256, "overlap": 64, "calibration": CALIBRATION}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def scorer(folder: Path) -> ClassifierScorer:
    """The scorer of that folder."""
    return ClassifierScorer.from_folder(folder)


def passage(text: str, title: str = "t") -> Passage:
    """Returns the passage of a text, cut into sentences."""
    return Passage(title, text, cut(text))


def test_it_is_a_sentence_scorer(scorer: ClassifierScorer) -> None:
    """It gives one probability for each sentence, of any number of queries and passages."""
    assert isinstance(scorer, SentenceScorer)
    scores = scorer.score(["a?", "b?", ""], [[passage("The Loire. In France."), passage("")], [], [passage("x")]])
    assert [[len(array) for array in group] for group in scores] == [[2, 0], [], [1]]
    assert all(array.dtype == np.float32 and ((array >= 0) & (array <= 1)).all() for g in scores for array in g)
    assert [len(array) for array in scorer.relevance(["a?", "b?"], [[passage("x"), passage("")], []])] == [2, 0]


@settings(max_examples=30)
@given(context=contexts())
def test_any_text(scorer: ClassifierScorer, context: Context) -> None:
    """Whatever the text, each sentence has a probability."""
    scored = ExtractiveCompressor(scorer).score([context])[0]
    assert all(segment.score is not None and 0 <= segment.score <= 1 for segment in scored.segments)


def test_batch_mates_change_nothing(scorer: ClassifierScorer) -> None:
    """Scores are the same to the last bit alone, in a batch, and with any number of workers."""
    queries = ["which river?", "the loire in france, is it?", "x"]
    passages = [[passage("The Loire is in France. " * n), passage("a river " * n)] for n in (1, 7, 60)]
    together = scorer.score(queries, passages)
    one_worker = ClassifierScorer(scorer.folder, workers=1).score(queries, passages)
    for i in range(3):
        (alone,) = scorer.score([queries[i]], [passages[i]])
        for one, other, third in zip(alone, together[i], one_worker[i], strict=True):
            assert np.array_equal(one, other)
            assert np.array_equal(one, third)


def test_long_passages_are_read_to_the_end(scorer: ClassifierScorer) -> None:
    """What stands at the end of a passage of many windows has a score of its own."""
    text = "a b c. " * 300
    spans = [*((7 * i, 7 * i + 6) for i in range(300)), (2100, 2108)]
    one, other = (Passage("t", text + last, spans) for last in ("the loire is in france.", "x x x x."))
    first, second = (evidence.sentences for evidence in scorer.logits(["which river?"], [[one, other]])[0])
    assert np.array_equal(first[:200], second[:200])
    assert first[-1] != second[-1]


def test_what_was_read_is_remembered(scorer: ClassifierScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a memory, the same query and passage are read once, and scores are the same to the last bit."""
    read: list[int] = []
    run = WindowEngine.run

    def counting(self: WindowEngine, windows: Sequence[Window]) -> list[Output]:
        read.append(len(windows))
        return run(self, windows)

    monkeypatch.setattr(WindowEngine, "run", counting)
    remembering = replace(scorer, memory=3)
    group = [passage(f"The Loire {i}. In France.") for i in range(3)]
    first, again = (remembering.score(["which?"], [group])[0] for _ in range(2))
    assert read == [3]
    assert all(
        np.array_equal(a, b) and np.array_equal(a, c)
        for a, b, c in zip(first, again, scorer.score(["which?"], [group])[0], strict=True)
    )
    remembering.score(["which?", "what?"], [[group[0]], [group[0]]])
    assert read == [3, 3, 1]
    remembering.relevance(["which?"], [group])
    assert read[3:] == [1]
    replace(scorer, memory=1).score(["which?"], [group])
    remembering.score(["which?"], [group])
    assert read[4:] == [3], "another scorer's memory is its own"


def test_many_passages_are_read_in_blocks(scorer: ClassifierScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much comes in, only a block of it is turned into windows at a time; nothing is lost between blocks."""
    group = [passage(f"The Loire {i}. In France. " * (i % 3 + 1)) for i in range(30)]
    whole = scorer.score(["which?"], [group])[0]
    monkeypatch.setattr("rag_compress.scorers.classifier._BLOCK", 100)
    assert all(np.array_equal(a, b) for a, b in zip(whole, scorer.score(["which?"], [group])[0], strict=True))


def test_lexical_evidence_counts(scorer: ClassifierScorer, folder: Path) -> None:
    """The probability is the logistic function of the calibrated sum of sentence, passage and BM25 scores."""
    queries, passages = ["which river is in france?"], [[passage("The Loire is in France. Bread.")]]
    (evidence,) = scorer.logits(queries, passages)[0]
    (probabilities,) = scorer.score(queries, passages)[0]
    rest = np.log(probabilities / (1 - probabilities)) - 0.1 - evidence.sentences - 0.5 * evidence.passage
    assert rest[0] > 1
    assert rest[1] == pytest.approx(-rest[0], abs=1e-4)


def test_features_by_hand() -> None:
    """A sentence is judged with its passage, how that one compares, and the words around."""
    passages = [Passage("x", "a. b.", [(0, 2), (3, 5)]), Passage("", "", [])]
    evidence = [Logits(np.array([1, 2], np.float32), 3.0), Logits(np.zeros(0, np.float32), 5.0)]
    lexical = [np.array([0.5, 0.25], np.float32), np.zeros(0, np.float32)]
    first, second = features("x?", passages, evidence, lexical)
    standing = 0.125 / (0.125 + 0.02)
    assert first == pytest.approx(np.array([[1, 3, -2, standing, 0, 0, 0], [2, 3, -2, -standing, 0.5, 0, 0]]))
    assert second.shape == (0, 7)
    assert passage_features(passages, evidence, lexical).tolist() == [[3, -2, 0.5, 0], [5, 0, 0, 0]]
    assert features("x?", [], [], []) == []


def test_a_bridge_is_a_title_named_elsewhere() -> None:
    """A passage whose title stands in a likely sentence of another document has a bridge; its own do not count."""
    texts = {"River": "The Loire ends at Saint Nazaire.", "Saint Nazaire": "It has a harbour.", "Bread": "It is baked."}
    passages = [Passage(title, text, [(0, len(text))]) for title, text in texts.items()]
    evidence = [Logits(np.array([logit], np.float32), 0.0) for logit in (2.0, -2.0, -2.0)]
    table = passage_features(passages, evidence, [np.zeros(1, np.float32)] * 3)
    assert table[:, 3] == pytest.approx([0, 1 / (1 + np.exp(-2)), 0])


def test_a_row_that_the_question_points_at_is_likelier(scorer: ClassifierScorer) -> None:
    """The last row, asked for by its place, gains its weight: 3 in log-odds; all other rows score as they did."""
    table = passage("Game | Score\nOne | 4\nTwo | 5\nThree | 1\n")
    logits = scorer.logits(["last?"], [[table]])[0]
    (rows,) = features("last?", [table], logits, [np.zeros(4, np.float32)])
    assert rows[:, 6].tolist() == [0, 0, 0, 1]
    (found,) = scorer.score(["last?"], [[table]])[0]
    expected = rows @ np.array(WEIGHTS["sentence"][1:]) + 0.1
    assert np.log(found / (1 - found)) == pytest.approx(expected, abs=1e-3)


def test_in_a_long_passage_the_sentences_around_count(scorer: ClassifierScorer) -> None:
    """Half of a sentence's log-odds come from there, and one near a good sentence passes its like far from it."""
    texts = ["which river is the loire?" if i == 20 else "a b c d e f g h i j k" for i in range(60)]
    starts = [sum(len(text) + 1 for text in texts[:i]) for i in range(60)]
    spans = [(start, start + len(text)) for start, text in zip(starts, texts, strict=True)]
    queries, group = ["which river?"], [Passage("t", " ".join(texts), spans)]
    lexical = lexical_scores(queries, [group])[0]
    (rows,) = features(queries[0], group, scorer.logits(queries, [group])[0], lexical)
    (found,) = scorer.score(queries, [group])[0]
    log_odds = rows @ np.array(WEIGHTS["sentence"][1:]) + 0.1
    assert np.log(found / (1 - found)) == pytest.approx(with_surroundings(log_odds), abs=1e-3)
    assert found[23] > found[50]


def test_a_folder_of_another_version_is_an_error(folder: Path, tmp_path: Path) -> None:
    """Weights for other features than this version's are not multiplied with them."""
    made = tmp_path / "old"
    made.mkdir()
    for path in folder.iterdir():
        (made / path.name).symlink_to(path)
    (made / "config.json").unlink()
    old = {"sentence": WEIGHTS["sentence"][:-1], "passage": WEIGHTS["passage"]}
    config = {"max_tokens": 256, "overlap": 64, "calibration": {"latin": old, "other": old}}
    (made / "config.json").write_text(json.dumps(config))
    with pytest.raises(InvalidInput, match="another version"):
        ClassifierScorer.from_folder(made).score(["which?"], [[passage("The Loire.")]])


def test_each_script_has_its_weights(scorer: ClassifierScorer) -> None:
    """A question in a script of its own kind is judged by its own calibration; Latin letters include Vietnamese's."""
    assert [script_of(query) for query in ("Sông nào?", "1?", "", "Какая река?", "河?")] == ["latin"] * 3 + [
        "other"
    ] * 2
    (scores,) = scorer.score(["Какая река?"], [[passage("The Loire.")]])[0]
    assert scores == pytest.approx([0.5])


def test_a_folder_without_a_classifier(tmp_path: Path) -> None:
    """A folder that lacks a file is refused by name; a graph that is none is a model error."""
    with pytest.raises(InvalidInput, match=r"model.int8.onnx is missing"):
        ClassifierScorer.from_folder(tmp_path)
    with pytest.raises(InvalidInput, match="holds no classifier"):
        ClassifierScorer(str(tmp_path)).score(["q"], [[passage("x")]])


def test_a_damaged_graph(folder: Path, tmp_path: Path) -> None:
    """A graph that onnxruntime cannot run is an error with its path."""
    for name in ("tokenizer.json", "config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "model.int8.onnx").write_bytes(b"no graph")
    with pytest.raises(ModelError, match=r"onnxruntime cannot run .*model.int8.onnx"):
        ClassifierScorer.from_folder(tmp_path).score(["q"], [[passage("x")]])
    forget_loaded()


def test_the_package_stays_light() -> None:
    """Neither the package nor the scorer's module loads a runtime; the first score does."""
    code = (
        "import sys, rag_compress, rag_compress.scorers.classifier;"
        "print([name for name in ('torch', 'onnxruntime', 'tokenizers', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_selection_by_probability(scorer: ClassifierScorer) -> None:
    """A threshold on the probability drops what is below it."""
    compressor = ExtractiveCompressor(scorer, Selection(threshold=0.5))
    context = compressor.compress("which river?", ["The Loire is in France. Bread and wine. A river."])
    assert all((segment.score or 0) >= 0.5 for segment in context.segments)
    assert all((segment.score or 1) < 0.5 for segment in context.dropped)
    assert len(context.segments) + len(context.dropped) == 3


@pytest.mark.parametrize(
    "options",
    [{"memory": -1}, {"memory": 1.5}, {"workers": 0}, {"workers": "2"}, {"device": "gpu"}, {"device": "CUDA"}],
    ids=str,
)
def test_bad_options_of_the_classifier(options: dict[str, object]) -> None:
    """An option that makes no sense is refused at once, by name."""
    with pytest.raises(InvalidInput, match=next(iter(options))):
        ClassifierScorer(**options)  # type: ignore[arg-type]


def test_the_folder_of_another_model(folder: Path, tmp_path: Path) -> None:
    """The usual `config.json` of a model, and a tokenizer that is none, are named."""
    for name in ("model.int8.onnx", "tokenizer.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "config.json").write_text('{"model_type": "bert", "hidden_size": 384}')
    with pytest.raises(InvalidInput, match=r"holds no classifier: config.json: KeyError\('max_tokens'\)"):
        ClassifierScorer.from_folder(tmp_path).score(["q"], [[passage("x")]])
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InvalidInput, match=r"Cannot read the tokenizer .*tokenizer.json"):
        ClassifierScorer.from_folder(tmp_path).score(["q"], [[passage("x")]])
