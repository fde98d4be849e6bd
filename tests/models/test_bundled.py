"""The weights in the package: small, documented, and good enough for plain cases."""

from __future__ import annotations

from pathlib import Path

import pytest

import rag_compress
from rag_compress import ClassifierScorer, ExtractiveCompressor
from rag_compress.models.protocols import Passage
from rag_compress.text import cut

FOLDER = Path(rag_compress.__file__).parent / "models" / "bundled"
LOIRE = (
    "The Loire rises in the Massif Central. At 1,006 kilometres it is the longest river in France. "
    "Many castles stand on its banks. Its mouth is at Saint-Nazaire."
)
BREAD = "Bread is baked from flour and water. The dough rests for an hour before it goes into the oven."


def test_size_and_files() -> None:
    """All that the package ships of the model is at most 25 MB, and says what it was made from."""
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 25_000_000
    assert {path.name for path in FOLDER.iterdir()} == {"README.md", "config.json", "model.int8.onnx", "tokenizer.json"}
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(words in card for words in ("CC BY-SA 4.0", "SQuAD", "HotpotQA", "## Limits"))


@pytest.mark.parametrize(
    ("query", "evidence"),
    [
        ("How long is the Loire?", "At 1,006 kilometres it is the longest river in France."),
        ("Where does the Loire rise?", "The Loire rises in the Massif Central."),
        ("What is bread made of?", "Bread is baked from flour and water."),
    ],
)
def test_plain_questions(query: str, evidence: str) -> None:
    """The default compressor keeps the sentence that answers a plain question, and drops the other passage."""
    assert isinstance(ExtractiveCompressor.default().scorer, ClassifierScorer)
    context = ExtractiveCompressor.default().compress(query, [LOIRE, BREAD])
    assert evidence in [segment.text for segment in context.segments]
    assert len({segment.spans[0].doc_id for segment in context.segments}) == 1


def test_relevance() -> None:
    """The passage that answers is more relevant than the other."""
    passages = [Passage("", text, cut(text)) for text in (BREAD, LOIRE)]
    bread, loire = ClassifierScorer().relevance(["How long is the Loire?"], [passages])[0]
    assert loire > 0.5 > bread
