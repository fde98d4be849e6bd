"""The adapters for LangChain, in LangChain's own retrievers, chains and callbacks."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_classic.retrievers.document_compressors import DocumentCompressorPipeline
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.load import dumpd, load
from langchain_core.runnables import ConfigurableField, RunnableLambda
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.integration_tests import RetrieversIntegrationTests
from samples import BANANA, DOCUMENTS, FAILING, LOIRE, QUERY, RHINE, SUMMARY, TEXTS, TOKENIZER, WRITTEN, counting

from rag_compress import AbstractiveCompressor, BM25Retriever, DenseRetriever, HybridRetriever, LexicalScorer, Selection
from rag_compress.compressors import ExtractiveCompressor
from rag_compress.errors import InvalidInput
from rag_compress.models.summarizers.langchain import ChatSummarizer
from rag_compress.pipelines.langchain import (
    CompressDocuments,
    CompressedRetriever,
    CompressToPrompt,
    DocumentCompressor,
    LangChainEncoder,
    LangChainQueryEncoder,
    LangChainRetriever,
    StageRetriever,
)
from rag_compress.tokens import estimate_tokens

pytestmark = pytest.mark.filterwarnings("ignore:The function `load` is in beta")
BM25 = BM25Retriever.from_documents(DOCUMENTS)


def documents() -> list[Document]:
    """Returns documents as a retriever of LangChain would; ids may be missing."""
    return [
        Document(LOIRE, id="loire", metadata={"title": "Loire", "tags": ["river"]}),
        Document(RHINE, metadata={"source": "atlas.pdf"}),
        Document(BANANA, id="banana"),
    ]


class Events(BaseCallbackHandler):
    """Records custom events."""

    def __init__(self) -> None:
        self.events = []

    def on_custom_event(self, name, data, **kwargs):
        """Keeps name and data."""
        self.events.append((name, data))


class AsyncEvents(AsyncCallbackHandler):
    """Records custom events, asynchronously."""

    def __init__(self) -> None:
        self.events = []

    async def on_custom_event(self, name, data, **kwargs):
        """Keeps name and data."""
        self.events.append((name, data))


class TestStageRetrieverStandard(RetrieversIntegrationTests):
    """LangChain's standard tests, on one of our retrievers."""

    retriever_constructor = StageRetriever
    retriever_query_example = "river"

    @property
    def retriever_constructor_params(self):
        """What is under test."""
        return {"stage": BM25}


class TestPipelineRetrieverStandard(TestStageRetrieverStandard):
    """The same, on a retriever and a compressor."""

    @property
    def retriever_constructor_params(self):
        """What is under test."""
        return {"stage": BM25 >> ExtractiveCompressor(LexicalScorer(), Selection(threshold=0.01))}


class TestCompressedRetrieverStandard(TestStageRetrieverStandard):
    """The same, on a wrapped retriever of LangChain."""

    retriever_constructor = CompressedRetriever

    @property
    def retriever_constructor_params(self):
        """What is under test."""
        return {"retriever": StageRetriever(stage=BM25), "compressor": DocumentCompressor(stage="lexical", threshold=0)}

    @pytest.mark.xfail(reason="The wrapped retriever has its own k.")
    def test_k_constructor_param(self) -> None:
        """LangChain's way to skip one of its tests."""
        raise NotImplementedError


def test_what_goes_in_comes_out_with_its_id_metadata_and_place():
    """Kept documents have their id, metadata and order; a kept text is made of the spans that it names."""
    given = documents()
    untouched = deepcopy(given)
    kept = DocumentCompressor(stage="lexical", threshold=0, keep_best=9).compress_documents(given, QUERY)
    assert given == untouched
    assert [d.id for d in kept] == ["loire", None, "banana"]
    for before, after in zip(given, kept, strict=True):
        record = after.metadata["rag_compress"]
        assert after.metadata == {**before.metadata, "rag_compress": record}
        assert " ".join(before.page_content[start:end] for start, end in record["spans"]) == after.page_content
        assert record["score"] == max(record["scores"])


def test_metadata_are_not_shared():
    """Changing what came out leaves what went in alone."""
    given = documents()
    kept = DocumentCompressor(stage="lexical").compress_documents(given, QUERY)
    kept[0].metadata["tags"].append("changed")
    assert given[0].metadata["tags"] == ["river"]


def test_one_document_for_each_sentence():
    """With `per="sentence"`, each kept sentence is a document whose id says where it stands."""
    kept = DocumentCompressor(stage="lexical", per="sentence", threshold=0.3).compress_documents(documents(), QUERY)
    assert [(d.id, d.page_content) for d in kept] == [("loire:0-31", "The Loire is a river in France.")]


def test_a_summary_takes_the_place_of_its_source():
    """A written sentence is a document with the id and metadata of the source that it cites first."""
    (kept,) = DocumentCompressor(stage=WRITTEN).compress_documents(documents(), QUERY)
    assert (kept.id, kept.page_content) == ("loire", SUMMARY)
    assert kept.metadata["tags"] == ["river"]
    assert kept.metadata["rag_compress"]["spans"] == [[0, 31]]


@pytest.mark.parametrize("per", ["source", "sentence"])
def test_the_budget_holds(per):
    """The documents joined by blank lines never have more than `max_tokens`."""
    for max_tokens in range(0, 120, 7):
        compressor = DocumentCompressor(stage="lexical", threshold=0, max_tokens=max_tokens, per=per)
        kept = compressor.compress_documents(documents(), QUERY)
        assert estimate_tokens("\n\n".join(d.page_content for d in kept)) <= max_tokens


def test_empty_is_legal_and_keep_best_a_floor():
    """A threshold that nothing reaches keeps nothing, unless a floor is asked for."""
    assert DocumentCompressor(stage="lexical", threshold=9).compress_documents(documents(), QUERY) == []
    [best] = DocumentCompressor(stage="lexical", threshold=9, keep_best=1).compress_documents(documents(), QUERY)
    assert best.page_content == "The Loire is a river in France."
    assert DocumentCompressor().compress_documents([], QUERY) == []


def test_on_error_original_returns_the_documents_as_they_were(caplog):
    """A stage that fails raises, or is logged and changes nothing."""
    given = documents()
    with pytest.raises(RuntimeError, match="out of memory"):
        DocumentCompressor(stage=FAILING).compress_documents(given, "fail")
    assert DocumentCompressor(stage=FAILING, on_error="original").compress_documents(given, "fail") == given
    assert "out of memory" in caplog.text


@pytest.mark.parametrize("options", [{"max_tokens": -1}, {"stage": "magic"}, {"per": "word"}, {"treshold": 1}], ids=str)
def test_bad_options_are_refused(options):
    """A wrong value, and a misspelt name, are errors in the constructor."""
    for kind in (DocumentCompressor, CompressDocuments, CompressToPrompt):
        with pytest.raises(ValueError, match=next(iter(options))):
            kind(**options)
    with pytest.raises(ValueError, match="template lacks"):
        CompressToPrompt(template="{context} {question}")
    with pytest.raises(ValueError, match="compresor"):
        CompressedRetriever(retriever=StageRetriever(stage=BM25), compresor=DocumentCompressor(max_tokens=9))
    with pytest.raises(ValueError, match="top_k"):
        StageRetriever(stage=BM25, top_k=1)


def test_it_drops_into_langchains_own_retriever():
    """`ContextualCompressionRetriever` and `DocumentCompressorPipeline` take it as it is, and hear its event."""
    pipeline = DocumentCompressorPipeline(transformers=[DocumentCompressor(stage="lexical", threshold=0.3)])
    for compressor in (pipeline, pipeline.transformers[0]):
        handler = Events()
        retriever = ContextualCompressionRetriever(
            base_compressor=compressor, base_retriever=StageRetriever(stage=BM25)
        )
        found = retriever.invoke(QUERY, {"callbacks": [handler]})
        assert [d.page_content for d in found] == [
            "The Seine is a river in France.",
            "The Loire is a river in France.",
        ]
        [(name, event)] = handler.events
        assert (name, event["documents"], event["kept"]) == ("rag_compress", 3, 2)
        assert event["compressed_tokens"] < event["original_tokens"]


async def test_async_events_reach_async_handlers():
    """In `ainvoke`, the event is dispatched to handlers of either kind."""
    handlers = [AsyncEvents(), Events()]
    retriever = CompressedRetriever(
        retriever=StageRetriever(stage=BM25), compressor=DocumentCompressor(stage="lexical", threshold=0.3)
    )
    found = await retriever.ainvoke(QUERY, {"callbacks": handlers})
    assert found == retriever.invoke(QUERY)
    assert [len(handler.events) for handler in handlers] == [1, 1]


async def test_a_runnable_can_be_the_retriever():
    """What `with_retry`, `with_config` or `configurable_fields` make of a retriever is none, but acts as one."""
    compressor = DocumentCompressor(stage="lexical", threshold=0.3)
    inner = StageRetriever(stage=BM25)
    expected = CompressedRetriever(retriever=inner, compressor=compressor).invoke(QUERY)
    configurable = inner.configurable_fields(k=ConfigurableField(id="k"))
    for runnable in (inner.with_retry(), inner.with_config(tags=["first"]), configurable, RunnableLambda(inner.invoke)):
        retriever = CompressedRetriever(retriever=runnable, compressor=compressor)
        assert retriever.invoke(QUERY) == await retriever.ainvoke(QUERY) == expected


def test_options_of_invoke_go_to_the_wrapped_retriever():
    """`k` in `invoke` is the wrapped retriever's."""
    retriever = CompressedRetriever(
        retriever=StageRetriever(stage=BM25), compressor=DocumentCompressor(stage="lexical", threshold=0)
    )
    assert len(retriever.invoke("river", k=2)) == 2


async def test_a_batch_is_one_batch_of_the_model():
    """`batch` and `abatch` score all inputs at once, give what `invoke` gives, and tell each run its own numbers."""
    stage, scorer = counting()
    runnable = CompressDocuments(stage=stage)
    inputs = [{"query": query, "documents": documents()} for query in (QUERY, "Where does the Rhine end?", "Bananas")]
    singles = [runnable.invoke(each) for each in inputs]
    handler = Events()
    assert runnable.batch(inputs, {"callbacks": [handler]}) == singles
    assert await runnable.abatch(inputs, {"callbacks": [handler]}) == singles
    assert scorer.calls == [1, 1, 1, 3, 3]
    assert [event["query"] for _, event in handler.events] == [each["query"] for each in inputs] * 2


def test_a_chain_batches_it_too():
    """Within a chain, `batch` of the chain is one batch of the model."""
    stage, scorer = counting()
    chain = RunnableLambda(lambda query: {"query": query, "documents": documents()}) | CompressDocuments(stage=stage)
    chain.batch([QUERY, "bananas"])
    assert scorer.calls == [2]


def test_an_input_that_fails_is_its_own_error():
    """With `return_exceptions`, the other inputs of a batch are compressed."""
    inputs = [{"query": q, "documents": documents()} for q in (QUERY, "fail")] + [{"query": QUERY}]
    first, failed, incomplete = CompressDocuments(stage=FAILING).batch(inputs, return_exceptions=True)
    assert first[0].page_content == "The Loire is a river in France."
    assert isinstance(failed, RuntimeError)
    assert isinstance(incomplete, InvalidInput)
    with pytest.raises(RuntimeError):
        CompressDocuments(stage=FAILING).batch(inputs)


@pytest.mark.parametrize(
    "given", ["text", {"query": "q"}, {"query": "q", "documents": ["text"]}, {"query": 1, "documents": []}], ids=str
)
def test_a_wrong_input_is_a_typed_error(given):
    """The runnable says what it takes."""
    with pytest.raises(InvalidInput):
        CompressDocuments().invoke(given)


def test_keys_can_be_named_otherwise():
    """`question` and `context`, as many chains have them."""
    runnable = CompressDocuments(stage="lexical", threshold=0.3, query_key="question", documents_key="context")
    [kept] = runnable.invoke({"question": QUERY, "context": documents()})
    assert kept.id == "loire"


def test_to_prompt_numbers_the_sources_and_keeps_the_budget():
    """The prompt cites sources by their place among the documents, and its sources fit `max_tokens`."""
    runnable = CompressToPrompt(stage="lexical", threshold=0.1, template="{context}\n{query}")
    given = {"query": "Where does the Rhine rise?", "documents": documents()}
    assert runnable.invoke(given).to_string() == ("[2] The Rhine rises in the Swiss Alps.\nWhere does the Rhine rise?")
    for max_tokens in range(0, 80, 9):
        short = CompressToPrompt(stage="lexical", threshold=0, max_tokens=max_tokens, template="{context}<end>{query}")
        sources = short.invoke(given).to_string().partition("<end>")[0]
        assert estimate_tokens(sources.removeprefix("Question: ")) <= max_tokens or not sources.startswith("[")


async def test_streams_and_event_streams():
    """`stream` yields one chunk, and `astream_events` shows the numbers."""
    runnable = CompressDocuments(stage="lexical", threshold=0.3)
    given = {"query": QUERY, "documents": documents()}
    assert list(runnable.stream(given)) == [runnable.invoke(given)]
    events = [event async for event in runnable.astream_events(given, version="v2")]
    [custom] = [event for event in events if event["event"] == "on_custom_event"]
    assert (custom["name"], custom["data"]["kept"]) == ("rag_compress", 1)


@pytest.mark.parametrize("adapter", [DocumentCompressor, CompressDocuments, CompressToPrompt])
def test_the_configuration_survives_a_round_trip(adapter):
    """`dumpd`, JSON and `load` give the same compressor, nested in nothing but options."""
    options = {"stage": "lexical", "threshold": 0.2, "max_tokens": 50, "keep_best": 1, "per": "sentence"}
    made = adapter(**options, on_error="original", tokenizer=TOKENIZER)
    saved = json.loads(json.dumps(dumpd(made)))
    assert load(saved, allowed_objects=[adapter], valid_namespaces=["rag_compress"]) == made
    assert adapter(**made.model_dump()) == made


def test_what_has_no_name_cannot_be_loaded():
    """A stage of one's own is dumped as what it is, and loading says that it cannot be."""
    saved = dumpd(DocumentCompressor(stage=Selection()))
    with pytest.raises(NotImplementedError):
        load(saved, allowed_objects=[DocumentCompressor], valid_namespaces=["rag_compress"])


def test_options_can_be_set_for_one_call():
    """`configurable_fields` makes an option one of the call."""
    runnable = CompressDocuments(stage="lexical", threshold=0.3).configurable_fields(
        threshold=ConfigurableField(id="threshold")
    )
    given = {"query": QUERY, "documents": documents()}
    assert len(runnable.invoke(given)) == 1
    assert runnable.invoke(given, {"configurable": {"threshold": 9.0}}) == []


async def test_async_does_not_block_the_event_loop():
    """While a model runs for 0.3 s, the event loop goes on."""
    stage, scorer = counting(seconds=0.3)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    await DocumentCompressor(stage=stage).acompress_documents(documents(), QUERY)
    await CompressDocuments(stage=stage).ainvoke({"query": QUERY, "documents": documents()})
    ticking.cancel()
    assert ticks >= 10
    assert len(scorer.threads) == 2


async def test_many_at_once_give_what_one_by_one_gives():
    """64 threads and 64 tasks on one compressor, with the default model, change nothing."""
    compressor = DocumentCompressor()
    queries = [f"{QUERY} {i}" if i % 2 else f"Where does the Rhine end? {i}" for i in range(64)]
    expected = [compressor.compress_documents(documents(), query) for query in queries]
    with ThreadPoolExecutor(64) as threads:
        assert list(threads.map(lambda query: compressor.compress_documents(documents(), query), queries)) == expected
    tasks = (compressor.acompress_documents(documents(), query) for query in queries)
    assert await asyncio.gather(*tasks) == expected


def test_our_pipeline_is_a_retriever_of_langchain():
    """Ids, titles and metadata of our documents become LangChain's."""
    retriever = StageRetriever(stage=BM25 >> ExtractiveCompressor(LexicalScorer(), Selection(threshold=0.3)))
    seine, loire = retriever.invoke(QUERY)
    assert (loire.id, loire.page_content) == ("loire", "The Loire is a river in France.")
    assert loire.metadata | {"rag_compress": None} == {
        "title": "Loire", "page": 1, "tags": ["river"], "rag_compress": None,
    }  # fmt: skip
    assert seine.id == "seine"
    for options in ({"stage": Selection()}, {"stage": BM25, "k": 0}):
        with pytest.raises(ValueError, match=r"must be a retriever|k must be"):
            StageRetriever(**options)


async def test_options_reach_our_retriever_async_too():
    """`k` of one call holds whichever way it is called."""
    retriever = StageRetriever(stage=BM25)
    assert len(retriever.invoke(QUERY, k=1)) == len(await retriever.ainvoke(QUERY, k=1)) == 1
    assert [len(found) for found in await retriever.abatch([QUERY, QUERY], k=2)] == [2, 2]


class Starts(BaseCallbackHandler):
    """Records what is started, with the run that it is a part of."""

    def __init__(self) -> None:
        self.runs = {}

    def on_chain_start(self, serialized, inputs, *, run_id, parent_run_id=None, **kwargs):
        """Keeps a chain."""
        self.runs[run_id] = ("chain", parent_run_id)

    def on_retriever_start(self, serialized, query, *, run_id, parent_run_id=None, **kwargs):
        """Keeps a retriever."""
        self.runs[run_id] = ("retriever", parent_run_id)

    def on_chat_model_start(self, serialized, messages, *, run_id, parent_run_id=None, **kwargs):
        """Keeps a chat model."""
        self.runs[run_id] = ("chat", parent_run_id)

    def parents(self, kind):
        """Returns what the runs of a kind are parts of."""
        return [self.runs[parent][0] for own, parent in self.runs.values() if own == kind and parent in self.runs]


async def test_what_a_stage_asks_of_langchain_is_reported():
    """A chat model or a retriever within a stage is a part of the run that asked for it, for traces and costs."""
    chat = FakeListChatModel(responses=["The Loire is a river in France."])
    stage = AbstractiveCompressor(ChatSummarizer(chat))
    chain = RunnableLambda(lambda given: given) | CompressDocuments(stage=stage)
    given = {"query": QUERY, "documents": documents()}
    for call in (chain.invoke, chain.ainvoke):
        seen = Starts()
        answer = call(given, {"callbacks": [seen]})
        _ = await answer if call == chain.ainvoke else answer
        assert seen.parents("chat") == ["chain"]
    seen, inner = Starts(), StageRetriever(stage=LangChainRetriever(StageRetriever(stage=BM25)))
    inner.invoke(QUERY, {"callbacks": [seen]})
    await inner.ainvoke(QUERY, {"callbacks": [seen]})
    assert seen.parents("retriever") == ["retriever", "retriever"]


def test_langchains_retriever_is_a_stage():
    """Any retriever of LangChain starts a pipeline, and fuses with ours; a text without an id gets a lasting one."""
    store = InMemoryVectorStore(DeterministicFakeEmbedding(size=8))
    store.add_documents([Document(d.text, id=d.id, metadata={"title": d.title}) for d in DOCUMENTS])
    stage = LangChainRetriever(store.as_retriever(search_kwargs={"k": 4}), k=3)
    context = (stage >> ExtractiveCompressor(LexicalScorer(), Selection(threshold=0.0))).run(QUERY)
    assert len(context.documents) == 3
    assert {d.title for d in context.documents} <= {"Loire", "Rhine", "Danube", "Seine"}
    hybrid = HybridRetriever((BM25, stage), k=4)
    assert {d.id for d in hybrid.retrieve([QUERY])[0]} == {"loire", "rhine", "danube", "seine"}

    def nameless(query: str) -> list[Document]:
        return [Document(text) for text in (*TEXTS, LOIRE)]

    class Nameless(StageRetriever):
        def _get_relevant_documents(self, query, *, run_manager):
            return nameless(query)

    first, second = (LangChainRetriever(Nameless(stage=BM25)).retrieve([query])[0] for query in ("a", "b"))
    assert [d.text for d in first] == list(TEXTS)
    assert [d.id for d in first] == [d.id for d in second]


def test_langchains_embeddings_are_an_encoder():
    """Documents are embedded by `embed_documents`, queries by `embed_query`; no texts give no rows."""
    fake = DeterministicFakeEmbedding(size=8)
    assert LangChainEncoder(fake).encode(["a", "b"]).shape == (2, 8)
    assert LangChainEncoder(fake).encode([]).shape == LangChainQueryEncoder(fake).encode([]).shape == (0, 8)
    retriever = DenseRetriever.from_documents(
        TEXTS, LangChainEncoder(fake), query_encoder=LangChainQueryEncoder(fake), index="numpy"
    )
    assert retriever.retrieve([LOIRE], 1)[0][0].text == LOIRE


@pytest.mark.parametrize("documents", [None, "", "text", ["text"], {}], ids=repr)
def test_what_is_no_list_of_documents(documents):
    """Anything else is an error that shows it."""
    with pytest.raises(InvalidInput, match=r"a list of langchain_core's Document, not (None|'|\[|{)"):
        DocumentCompressor().compress_documents(documents, "river")
