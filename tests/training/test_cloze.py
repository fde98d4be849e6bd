"""Examples made from plain documents."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from rag_compress.training.cloze import question_of, write_examples_of_documents
from rag_compress.training.examples import read_examples
from rag_compress.types import Document

SENTENCES = [
    f"The bridge number {i} over the river Loire was finished in {1800 + i} by the engineer Paul Martin."
    for i in range(40)
]


def test_documents_become_examples(tmp_path: Path) -> None:
    """The evidence of an example is one whole sentence, which shares words with the question; some have none."""
    documents = [Document(str(i), " ".join(SENTENCES[i:] + SENTENCES[:i]), f"Bridges {i}") for i in range(20)]
    out = tmp_path / "out.jsonl.gz"
    assert write_examples_of_documents(documents, str(out), per_document=5) == 100
    found = []
    for example in read_examples(str(out)):
        for passage, labels, gold, _ in example.passages:
            assert labels is not None
            assert passage.title.startswith("Bridges")
            assert gold == bool(labels.any())
            texts = [passage.text[start:end] for start, end in passage.sentences]
            assert set(texts) <= set(SENTENCES)
            found += [(example.query, texts[i]) for i in labels.nonzero()[0]]
    assert 75 <= len(found) <= 97
    for query, text in found:
        assert len(set(query.rstrip("?").split()) & {word.strip(".") for word in text.split()}) >= 2


@pytest.mark.parametrize("seed", range(20))
def test_a_question_leaves_its_answer_out(seed: int) -> None:
    """What is asked for is not in the question, and the first word says what it is."""
    query = question_of("In those days Eiffel lived near the quiet harbour.", random.Random(seed))
    if query.startswith(("who", "what", "where", "which")):
        assert "Eiffel" not in query


def test_short_documents_give_nothing(tmp_path: Path) -> None:
    """A document without room for other passages is left out."""
    out = tmp_path / "out.jsonl.gz"
    assert write_examples_of_documents([Document("a", " ".join(SENTENCES[:5]))], str(out)) == 0


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    """What is made depends on the documents and the seed alone."""
    files = [tmp_path / f"{i}.jsonl.gz" for i in range(3)]
    for file, seed in zip(files, (0, 0, 1), strict=True):
        write_examples_of_documents([Document("a", " ".join(SENTENCES))], str(file), seed=seed)
    assert files[0].read_bytes() == files[1].read_bytes() != files[2].read_bytes()
