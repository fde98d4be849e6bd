"""Examples made from question-sentence pairs."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_classifier import write_examples

from rag_compress.errors import InvalidInput
from rag_compress.training.examples import read_examples
from rag_compress.training.pairs import write_examples_of_pairs


def test_pairs_become_examples(tmp_path: Path) -> None:
    """Each pair gives an example whose only evidence, if any, is its own sentence, within exact offsets."""
    pairs = [{"query": f"what is {i} ?", "sentence": f"it 's number {i} , here ."} for i in range(100)]
    source = write_examples(tmp_path / "pairs.jsonl.gz", pairs)
    assert write_examples_of_pairs(source, str(tmp_path / "out.jsonl.gz")) == 100
    evidence = []
    for example in read_examples(str(tmp_path / "out.jsonl.gz")):
        for labelled in example.passages:
            assert labelled.labels is not None
            assert labelled.gold == bool(labelled.labels.any())
            texts = [labelled.passage.text[start:end] for start, end in labelled.passage.sentences]
            evidence += [(example.query, texts[i]) for i in labelled.labels.nonzero()[0]]
    assert 75 <= len(evidence) <= 95
    assert all(text.endswith(f"it's number {query[8:-1]}, here.") for query, text in evidence)


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    """What is made depends on the pairs and the seed alone."""
    source = write_examples(tmp_path / "pairs.jsonl.gz", [{"query": f"{i}?", "sentence": f"{i}."} for i in range(30)])
    files = [tmp_path / f"{i}.jsonl.gz" for i in range(3)]
    for file, seed in zip(files, (0, 0, 1), strict=True):
        write_examples_of_pairs(source, str(file), seed)
    assert files[0].read_bytes() == files[1].read_bytes() != files[2].read_bytes()


def test_a_blank_question_asks_for_nothing(tmp_path: Path) -> None:
    """Its row is left out."""
    pairs = [{"query": "what?", "sentence": "It rains."}, {"query": " ", "sentence": "It snows."}]
    source = write_examples(tmp_path / "pairs.jsonl", pairs)
    assert write_examples_of_pairs(source, str(tmp_path / "out.jsonl.gz")) == 1


def test_no_pairs(tmp_path: Path) -> None:
    """An empty file and a row without a question are errors, not a file without examples."""
    for content in ("", '{"sentence": "a"}\n'):
        (tmp_path / "pairs.jsonl").write_text(content)
        with pytest.raises(InvalidInput, match="pairs"):
            write_examples_of_pairs(str(tmp_path / "pairs.jsonl"), str(tmp_path / "out.jsonl.gz"))


def test_a_file_of_something_else(tmp_path: Path) -> None:
    """A file without pairs is refused."""
    source = write_examples(tmp_path / "pairs.jsonl.gz", [{"text": "x"}])
    with pytest.raises(InvalidInput, match="question-sentence pairs"):
        write_examples_of_pairs(source, str(tmp_path / "out.jsonl.gz"))
