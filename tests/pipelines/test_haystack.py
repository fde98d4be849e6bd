"""The component for Haystack, in a pipeline of Haystack."""

from __future__ import annotations

import numpy as np
import pytest
from haystack import Document, Pipeline
from haystack.components.builders import PromptBuilder
from samples import FAILING, LOIRE, QUERY, RHINE, TOKENIZER

from rag_compress import Selection
from rag_compress.errors import InvalidInput
from rag_compress.pipelines.haystack import ContextCompressor


def documents() -> list[Document]:
    """Returns documents as a retriever of Haystack would, one without text."""
    return [
        Document(id="loire", content=LOIRE, meta={"title": "Loire", "tags": ["river"]}, score=0.5),
        Document(id="image", blob=None),
        Document(id="rhine", content=RHINE, score=0.9),
    ]


def pipeline(**options) -> Pipeline:
    """Returns a compressor before a prompt."""
    made = Pipeline()
    made.add_component("compressor", ContextCompressor(stage="lexical", **options))
    made.add_component("prompt", PromptBuilder("{% for d in documents %}{{ d.content }}\n{% endfor %}"))
    made.connect("compressor.documents", "prompt.documents")
    return made


async def test_a_pipeline_compresses_between_retriever_and_prompt():
    """Sync and async, the prompt holds what is kept."""
    data = {"compressor": {"query": QUERY, "documents": documents()[::2]}}
    for result in (pipeline(threshold=0.3).run(data), await pipeline(threshold=0.3).run_async(data)):
        assert result["prompt"]["prompt"].strip() == "The Loire is a river in France."


def test_what_goes_in_comes_out_with_its_id_metadata_score_and_place():
    """Kept documents have all they had, what has no text passes through, and inputs stay as they are."""
    given, untouched = documents(), documents()
    kept = ContextCompressor(stage="lexical", threshold=0).run(QUERY, given)["documents"]
    assert given == untouched
    assert [(d.id, d.score) for d in kept] == [("loire", 0.5), ("image", None), ("rhine", 0.9)]
    record = kept[0].meta["rag_compress"]
    assert kept[0].meta == {"title": "Loire", "tags": ["river"], "rag_compress": record}
    assert " ".join(LOIRE[start:end] for start, end in record["spans"]) == kept[0].content


def test_an_array_of_documents():
    """What was sorted with NumPy does as well as a list."""
    given = np.array(documents(), object)[[2, 0]]
    kept = ContextCompressor(stage="lexical", threshold=0).run(QUERY, given)["documents"]
    assert [document.id for document in kept] == ["rhine", "loire"]


def test_the_configuration_survives_a_round_trip():
    """A saved pipeline is loaded again with all its options; what has no name is refused then."""
    options = {"threshold": 0.2, "max_tokens": 50, "keep_best": 1, "per": "sentence", "on_error": "original"}
    saved = pipeline(**options, tokenizer=TOKENIZER).dumps()
    assert "Path(" not in saved
    assert Pipeline.loads(saved, allowed_modules=["rag_compress.*"]).dumps() == saved
    unnamed = ContextCompressor(stage=Selection()).to_dict()["init_parameters"]
    with pytest.raises(InvalidInput, match="stage must be"):
        ContextCompressor(**unnamed)


def test_on_error_original_returns_the_documents_as_they_were():
    """A stage that fails raises, or changes nothing."""
    given = documents()
    with pytest.raises(RuntimeError, match="out of memory"):
        ContextCompressor(stage=FAILING).run("fail", given)
    assert ContextCompressor(stage=FAILING, on_error="original").run("fail", given) == {"documents": given}


@pytest.mark.parametrize("documents", [None, "", "text", ["text"], {}], ids=repr)
def test_what_is_no_list_of_documents(documents):
    """Anything else is an error that shows it."""
    with pytest.raises(InvalidInput, match=r"a list of haystack's Document, not (None|'|\[|{)"):
        ContextCompressor().run("river", documents)
