"""The adapters for LlamaIndex, in LlamaIndex's own indexes, engines and events."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceWindowNodeParser
from llama_index.core.postprocessor import MetadataReplacementPostProcessor
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import (
    Document,
    ImageNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeRelationship,
    NodeWithScore,
    QueryBundle,
    RelatedNodeInfo,
    TextNode,
)
from pydantic import Field
from samples import BANANA, DOCUMENTS, FAILING, LOIRE, QUERY, RHINE, SUMMARY, TEXTS, TOKENIZER, WRITTEN, counting

from rag_compress import BM25Retriever, DenseRetriever, ExtractiveCompressor, HybridRetriever, LexicalScorer, Selection
from rag_compress.errors import InvalidInput
from rag_compress.pipelines.llamaindex import (
    LlamaIndexEncoder,
    LlamaIndexQueryEncoder,
    LlamaIndexRetriever,
    NodeCompressor,
    StageRetriever,
)
from rag_compress.tokens import estimate_tokens

BM25 = BM25Retriever.from_documents(DOCUMENTS)


def nodes() -> list[NodeWithScore]:
    """Returns nodes as a retriever of LlamaIndex would."""
    loire = TextNode(
        text=LOIRE,
        id_="loire",
        metadata={"title": "Loire", "tags": ["river"]},
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id="atlas")},
        start_char_idx=100,
        end_char_idx=100 + len(LOIRE),
        excluded_llm_metadata_keys=["tags"],
    )
    found = [loire, TextNode(text=RHINE, id_="rhine"), TextNode(text=BANANA, id_="banana")]
    return [NodeWithScore(node=node, score=score) for node, score in zip(found, (0.5, 0.9, None), strict=True)]


def context_of(kept: list[NodeWithScore]) -> str:
    """Returns what the response synthesizer gives to the LLM."""
    return "\n\n".join(scored.node.get_content(MetadataMode.LLM) for scored in kept)


class Events(BaseEventHandler):
    """Records events by name."""

    events: list = Field(default_factory=list)

    def handle(self, event, **kwargs):
        """Keeps the event."""
        self.events.append(event)


@pytest.fixture
def events():
    """Yields the events that are dispatched meanwhile."""
    handler, root = Events(events=[]), get_dispatcher("root")
    root.add_event_handler(handler)
    yield handler.events
    root.event_handlers.remove(handler)


def test_what_goes_in_comes_out_with_its_id_relationships_metadata_score_and_place():
    """Kept nodes have all they had; a kept text is made of the spans that it names."""
    given = nodes()
    untouched = [scored.model_dump() for scored in given]
    kept = NodeCompressor(stage="lexical", threshold=0).postprocess_nodes(given, query_str=QUERY)
    assert [scored.model_dump() for scored in given] == untouched
    assert [(n.node.node_id, n.score) for n in kept] == [("loire", 0.5), ("rhine", 0.9), ("banana", None)]
    for before, after in zip(given, kept, strict=True):
        record = after.node.metadata["rag_compress"]
        assert after.node.metadata == {**before.node.metadata, "rag_compress": record}
        assert after.node.relationships == before.node.relationships
        assert after.node.start_char_idx == before.node.start_char_idx
        assert " ".join(before.node.text[start:end] for start, end in record["spans"]) == after.node.text
    kept[0].node.metadata["tags"].append("changed")
    assert given[0].node.metadata["tags"] == ["river"]


def test_our_metadata_are_for_neither_llm_nor_embedding():
    """What we add costs no token; what the node hid stays hidden."""
    kept = NodeCompressor(stage="lexical", threshold=0.3).postprocess_nodes(nodes(), query_str=QUERY)
    assert context_of(kept) == "title: Loire\n\nThe Loire is a river in France."
    assert "rag_compress" not in kept[0].node.get_content(MetadataMode.EMBED)


def test_one_node_for_each_sentence():
    """With `per="sentence"`, ids and offsets say where each stands, and the whole node is its parent."""
    compressor = NodeCompressor(stage="lexical", per="sentence", threshold=0)
    kept = [n for n in compressor.postprocess_nodes(nodes(), query_str=QUERY) if n.node.node_id.startswith("loire")]
    assert len({scored.node.node_id for scored in kept}) == len(kept) == 4
    node = kept[1].node
    assert (node.node_id, node.text) == ("loire:32-52", "It is 1,006 km long.")
    assert (node.start_char_idx, node.end_char_idx) == (132, 152)
    assert node.relationships[NodeRelationship.PARENT].node_id == "loire"
    assert node.relationships[NodeRelationship.SOURCE].node_id == "atlas"


def test_a_written_sentence_has_the_offsets_of_its_node():
    """A sentence of a summary stands nowhere in the document: its node says no more than the whole node does."""
    (kept,) = NodeCompressor(stage=WRITTEN, per="sentence").postprocess_nodes(nodes(), query_str=QUERY)
    assert kept.node.text == SUMMARY
    assert kept.node.relationships[NodeRelationship.PARENT].node_id == "loire"
    assert (kept.node.start_char_idx, kept.node.end_char_idx) == (100, 100 + len(LOIRE))


def test_a_sentence_of_a_window_has_the_offsets_of_its_node():
    """Where another text has taken the place of a node's own, its offsets say nothing of sentences in that text."""
    text = f"{RHINE} {LOIRE} {BANANA}"
    parser = SentenceWindowNodeParser.from_defaults(window_size=2)
    found = [NodeWithScore(node=node) for node in parser.get_nodes_from_documents([Document(text=text)])]
    replaced = MetadataReplacementPostProcessor(target_metadata_key="window").postprocess_nodes(found[5:6])
    [kept] = NodeCompressor(stage="lexical", per="sentence", threshold=0.4).postprocess_nodes(replaced, query_str=QUERY)
    assert kept.node.text == "The Loire is a river in France."
    assert text[kept.node.start_char_idx : kept.node.end_char_idx].strip() == "It is 1,006 km long."


@pytest.mark.parametrize("per", ["source", "sentence"])
def test_the_budget_holds_with_metadata(per):
    """What the LLM reads of all nodes, metadata included, never has more than `max_tokens`."""
    for max_tokens in range(0, 130, 7):
        compressor = NodeCompressor(stage="lexical", threshold=0, max_tokens=max_tokens, per=per)
        assert estimate_tokens(context_of(compressor.postprocess_nodes(nodes(), query_str=QUERY))) <= max_tokens


def test_the_budget_holds_with_a_template_of_the_users():
    """What a node's own template puts below the text counts where it stands."""
    for max_tokens in range(20, 120, 3):
        given = nodes()
        for scored in given:
            scored.node.text_template = "<doc>\n{content}\n</doc>{metadata_str}"
        compressor = NodeCompressor(stage="lexical", threshold=0, max_tokens=max_tokens)
        assert estimate_tokens(context_of(compressor.postprocess_nodes(given, query_str=QUERY))) <= max_tokens


def test_white_space_around_a_text_costs_nothing():
    """It goes with what is dropped, so it leaves the budget alone."""
    given = [NodeWithScore(node=TextNode(text=f"\n\n{BANANA}\n\n"))]
    compressor = NodeCompressor(stage="lexical", threshold=0, keep_best=9, max_tokens=estimate_tokens(BANANA))
    [kept] = compressor.postprocess_nodes(given, query_str="bananas")
    assert kept.node.text == BANANA


def test_a_parent_stays():
    """A sentence of a node with a parent keeps that parent, as LlamaIndex's merging retriever needs."""
    given = nodes()
    for scored in given:
        scored.node.relationships[NodeRelationship.PARENT] = RelatedNodeInfo(node_id="page")
    kept = NodeCompressor(stage="lexical", threshold=0, per="sentence").postprocess_nodes(given, query_str=QUERY)
    assert {n.node.relationships[NodeRelationship.PARENT].node_id for n in kept} == {"page"}


def test_nodes_without_text_pass_through():
    """Images, even with a caption, and empty nodes stay at their places; a multimodal node's text is compressed."""
    image = ImageNode(text="a map", image_url="map.png", id_="image")
    picture = MediaResource(url="https://example.org/loire.png")
    both = Node(text_resource=MediaResource(text=LOIRE), image_resource=picture, id_="both")
    text = Node(text_resource=MediaResource(text=LOIRE), id_="text")
    given = [NodeWithScore(node=n) for n in (image, TextNode(text=" ", id_="empty"), text, both)]
    kept = NodeCompressor(stage="lexical", threshold=0.3).postprocess_nodes(given, query_str=QUERY)
    assert [scored.node.node_id for scored in kept] == ["image", "empty", "text", "both"]
    assert [kept[i] is given[i] for i in range(4)] == [True, True, False, True]
    assert kept[2].node.get_content() == "The Loire is a river in France."
    assert text.get_content() == LOIRE


def test_without_a_query_nothing_happens():
    """As with LlamaIndex's own, nodes without a query stay as they are."""
    given = nodes()
    assert NodeCompressor().postprocess_nodes(given) is given


def test_empty_is_legal_and_keep_best_a_floor():
    """A threshold that nothing reaches keeps nothing, unless a floor is asked for."""
    assert NodeCompressor(stage="lexical", threshold=9).postprocess_nodes(nodes(), query_str=QUERY) == []
    [best] = NodeCompressor(stage="lexical", threshold=9, keep_best=1).postprocess_nodes(nodes(), query_str=QUERY)
    assert best.node.text == "The Loire is a river in France."
    assert NodeCompressor().postprocess_nodes([], query_str=QUERY) == []


def test_on_error_original_returns_the_nodes_as_they_were(events):
    """A stage that fails raises, or changes nothing and says so in its event."""
    given = nodes()
    with pytest.raises(RuntimeError, match="out of memory"):
        NodeCompressor(stage=FAILING).postprocess_nodes(given, query_str="fail")
    assert NodeCompressor(stage=FAILING, on_error="original").postprocess_nodes(given, query_str="fail") is given
    assert [e.error for e in events if e.class_name() == "CompressionEvent"] == ["RuntimeError('out of memory')"]


async def test_a_query_engine_sends_fewer_tokens(events):
    """In an engine of LlamaIndex, sync and async, the LLM reads the compressed text; the events come in order."""
    index = VectorStoreIndex([scored.node for scored in nodes()], embed_model=MockEmbedding(8))
    engine = index.as_query_engine(
        llm=MockLLM(), similarity_top_k=3, node_postprocessors=[NodeCompressor(stage="lexical", threshold=0.3)]
    )
    for response in (engine.query(QUERY), await engine.aquery(QUERY)):
        assert [scored.node.text for scored in response.source_nodes] == ["The Loire is a river in France."]
        assert "The Loire is a river in France." in str(response)
        assert "castles" not in str(response)
    names = [e.class_name() for e in events]
    ours = ["RetrievalEndEvent", "ReRankStartEvent", "CompressionEvent", "ReRankEndEvent", "SynthesizeStartEvent"]
    assert [name for name in names if name in ours] == ours * 2
    compression = next(e for e in events if e.class_name() == "CompressionEvent")
    assert (compression.documents, compression.kept) == (3, 1)
    assert compression.compressed_tokens < compression.original_tokens


def test_the_configuration_survives_a_round_trip():
    """`to_dict` and JSON give the same compressor again."""
    options = {"stage": "lexical", "threshold": 0.2, "max_tokens": 50, "keep_best": 1, "per": "sentence"}
    made = NodeCompressor(**options, on_error="original", tokenizer="cl100k_base", title_key="name")
    saved = json.loads(json.dumps(made.to_dict()))
    assert NodeCompressor.from_dict(saved).to_dict() == made.to_dict()
    assert saved.items() >= options.items()
    assert NodeCompressor.from_dict(NodeCompressor(tokenizer=TOKENIZER).to_dict()).tokenizer == str(TOKENIZER)
    with pytest.raises(ValueError, match="stage must be a Stage or one of default, classifier, lexical"):
        NodeCompressor.from_dict(NodeCompressor(stage=Selection()).to_dict())


@pytest.mark.parametrize(
    "options", [{"max_tokens": -1}, {"stage": "magic"}, {"per": "word"}, {"maxtokens": 9}], ids=str
)
def test_bad_options_are_refused(options):
    """A wrong value, and a misspelt name, are errors in the constructor."""
    with pytest.raises(ValueError, match=next(iter(options))):
        NodeCompressor(**options)


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
    await NodeCompressor(stage=stage).apostprocess_nodes(nodes(), QueryBundle(QUERY))
    await StageRetriever(BM25 >> stage).aretrieve(QUERY)
    ticking.cancel()
    assert ticks >= 10
    assert len(scorer.threads) == 2


async def test_many_at_once_give_what_one_by_one_gives():
    """64 threads and 64 tasks on one compressor, with the default model, change nothing."""
    compressor = NodeCompressor()

    def texts(kept):
        return [(n.node.node_id, n.node.text, n.node.metadata) for n in kept]

    queries = [f"{QUERY} {i}" if i % 2 else f"Where does the Rhine end? {i}" for i in range(64)]
    expected = [texts(compressor.postprocess_nodes(nodes(), query_str=query)) for query in queries]
    with ThreadPoolExecutor(64) as threads:
        results = threads.map(lambda query: texts(compressor.postprocess_nodes(nodes(), query_str=query)), queries)
        assert list(results) == expected
    tasks = (compressor.apostprocess_nodes(nodes(), QueryBundle(query)) for query in queries)
    assert [texts(kept) for kept in await asyncio.gather(*tasks)] == expected


async def test_our_pipeline_is_a_retriever_of_llamaindex():
    """Ids, titles, metadata and scores of our documents become LlamaIndex's."""
    pipeline = BM25 >> ExtractiveCompressor(LexicalScorer(), Selection(threshold=0.3))
    retriever = StageRetriever(pipeline, k=3)
    seine, loire = retriever.retrieve(QUERY)
    assert (loire.node.node_id, loire.node.text) == ("loire", "The Loire is a river in France.")
    assert loire.node.metadata.items() >= {"title": "Loire", "page": 1, "tags": ["river"]}.items()
    assert seine.score > loire.score > 0
    assert [n.node.text for n in await retriever.aretrieve(QUERY)] == [seine.node.text, loire.node.text]
    response = RetrieverQueryEngine.from_args(retriever, llm=MockLLM()).query(QUERY)
    assert "The Seine is a river in France." in str(response)
    assert len(StageRetriever(BM25, k=1).retrieve("river")) == 1
    with pytest.raises(InvalidInput, match="must be a retriever"):
        StageRetriever(ExtractiveCompressor.lexical())
    with pytest.raises(InvalidInput, match="per must be source or sentence, not 'word'"):
        StageRetriever(BM25, per="word")


def test_llamaindexs_retriever_is_a_stage():
    """Any retriever of LlamaIndex starts a pipeline, and fuses with ours."""
    both = [scored.node for scored in nodes()]
    index = VectorStoreIndex(both, embed_model=MockEmbedding(8))
    stage = LlamaIndexRetriever(index.as_retriever(similarity_top_k=3), k=2)
    context = (stage >> ExtractiveCompressor(LexicalScorer(), Selection(threshold=0.0))).run(QUERY)
    assert len(context.documents) == 2
    assert all(document.score is not None for document in context.documents)
    hybrid = HybridRetriever((BM25, LlamaIndexRetriever(index.as_retriever(similarity_top_k=3))), k=9)
    assert {d.id for d in hybrid.retrieve([QUERY])[0]} == {"loire", "rhine", "danube", "seine", "banana"}


def test_llamaindexs_embeddings_are_an_encoder():
    """Documents and queries are embedded by their own methods; no texts give no rows."""
    fake = MockEmbedding(8)
    assert LlamaIndexEncoder(fake).encode(["a", "b"]).shape == (2, 8)
    assert LlamaIndexEncoder(fake).encode([]).shape == LlamaIndexQueryEncoder(fake).encode([]).shape == (0, 8)
    retriever = DenseRetriever.from_documents(
        TEXTS, LlamaIndexEncoder(fake), query_encoder=LlamaIndexQueryEncoder(fake), index="numpy"
    )
    assert len(retriever.retrieve([LOIRE], 2)[0]) == 2


@pytest.mark.parametrize("documents", [None, "", "text", ["text"], {}], ids=repr)
def test_what_is_no_list_of_documents(documents):
    """Anything else is an error that shows it."""
    with pytest.raises(InvalidInput, match=r"a list of llama_index's NodeWithScore, not (None|'|\[|{)"):
        NodeCompressor().postprocess_nodes(documents, query_str="river")
