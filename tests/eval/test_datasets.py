"""Reading evidence sets, collections and plain text from a folder."""

from __future__ import annotations

import gzip
import json

import pytest
import typer

from eval.datasets import Question, by_language, data_folder, read_collection, read_questions, read_texts
from eval.index_speed import passages
from rag_compress.types import Document


def write_lines(file, records) -> None:
    """Writes records as compressed JSON lines."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(file, "wt", encoding="utf-8") as out:
        out.writelines(json.dumps(record) + "\n" for record in records)


def record(question_id: str, evidence: list[int] | None) -> dict[str, object]:
    """Returns a question with one passage of one sentence."""
    context = {"id": "c", "title": None, "text": "Cats sleep.", "gold": True, "sentences": [[0, 11]]}
    contexts = [context | {"evidence": evidence}]
    return {"id": question_id, "query": "Who sleeps?", "answers": ["Cats"], "contexts": contexts}


def test_labels_that_are_missing_stay_apart_from_empty_ones(tmp_path):
    """`null` becomes `None`, an empty list an empty tuple."""
    write_lines(tmp_path / "evidence/toy-test.jsonl.gz", [record("a", [0]), record("b", []), record("c", None)])
    questions = list(read_questions(tmp_path, "toy", "test"))
    assert [question.passages[0].evidence for question in questions] == [(0,), (), None]
    assert [question.has_evidence for question in questions] == [True, False, False]
    assert questions[0].context.documents == (Document("0", "Cats sleep."),)


def test_one_language_of_a_set_is_read_by_its_name(tmp_path):
    """`xquad:de` reads the questions whose id says de."""
    write_lines(tmp_path / "evidence/xquad-test.jsonl.gz", [record("xquad-de-1", [0]), record("xquad-el-1", [0])])
    assert [question.id for question in read_questions(tmp_path, "xquad:de", "test")] == ["xquad-de-1"]
    everything = read_questions(tmp_path, "xquad:each", "test")
    assert {language: len(group) for language, group in by_language(everything).items()} == {"de": 1, "el": 1}


@pytest.mark.parametrize("question_id", ["squad11-5725b33f", "hotpotqa-dev-5a8b", "nothing", "wtq-nu-1"])
def test_other_sets_have_no_language(question_id):
    """Only xquad tells the language in its ids."""
    assert Question(question_id, "?", (), ()).language == ""


def test_a_collection_keeps_the_judged_queries(tmp_path):
    """A query without judgements is left out; grades are numbers."""
    folder = tmp_path / "retrieval/toy"
    write_lines(folder / "corpus.jsonl.gz", [{"_id": "d", "title": "Cats", "text": "They sleep."}])
    write_lines(folder / "queries.jsonl.gz", [{"_id": "1", "text": "cats"}, {"_id": "2", "text": "dogs"}])
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n1\td\t3\n")
    collection = read_collection(tmp_path, "toy")
    assert collection.documents == (Document("d", "They sleep.", "Cats"),)
    assert collection.queries == {"1": "cats"}
    assert collection.judgements == {"1": {"d": 3}}


def test_texts_are_cut_into_passages_of_100_words(tmp_path):
    """Passages do not cross documents, and what is left over at a document's end is not used."""
    for name in ("peps", "techdocs", "books"):
        (tmp_path / "text").mkdir(exist_ok=True)
        with gzip.open(tmp_path / f"text/{name}.txt.gz", "wt") as out:
            out.write("one " * 250 + "\n<|doc|>\n" + "two " * 100 + "\n")
    assert len(list(read_texts(tmp_path, "peps"))) == 2
    found = list(passages(tmp_path, 5))
    assert [document.id for document in found] == ["0", "1", "2", "3", "4"]
    assert [document.text.split()[0] for document in found] == ["one", "one", "two", "one", "one"]
    assert all(len(document.text.split()) == 100 for document in found)


def test_a_missing_folder_says_how_to_name_it(tmp_path, monkeypatch):
    """The error names the option and the variable; the variable is used when no option is given."""
    with pytest.raises(typer.BadParameter, match="--data or RAG_COMPRESS_DATA"):
        data_folder(tmp_path / "nowhere")
    monkeypatch.setenv("RAG_COMPRESS_DATA", str(tmp_path))
    assert data_folder() == tmp_path
