"""Asks the same questions in LangChain and LlamaIndex, with their own compressors and with ours.

`python -m eval.frameworks`: chains and engines are the frameworks' own, retrieval returns the question's passages, and
the LLM is a fake that notes what it is sent. The fake LLM of `LLMChainExtractor` answers with the labelled evidence: it
never errs, so that its row is the best that any LLM could do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from langchain_classic.chains.combine_documents import create_stuff_documents_chain
from langchain_classic.retrievers.document_compressors import EmbeddingsFilter, LLMChainExtractor
from langchain_core.documents import BaseDocumentCompressor
from langchain_core.documents import Document as LangChainDocument
from langchain_core.embeddings import Embeddings
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatResult
from langchain_core.prompts import ChatPromptTemplate
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined] # imported there
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.llms import MockLLM
from llama_index.core.postprocessor import SentenceEmbeddingOptimizer
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from rich.console import Console

from eval.datasets import Passage, Question, data_folder, measured, read_questions
from eval.results import RESULTS, Out, Result, check_command, limited
from eval.systems import minilm
from rag_compress.pipelines.langchain import DocumentCompressor
from rag_compress.pipelines.llamaindex import NodeCompressor
from rag_compress.tokens import estimate_tokens

QUESTIONS = 20
_PROMPT = ChatPromptTemplate.from_template("Answer from the context.\n\n{context}\n\nQuestion: {input}")


class Source(NamedTuple):
    """A document before or after a compressor."""

    id: str | None
    text: str
    metadata: dict[str, Any]


@dataclass
class Answer:
    """What one system did with one question.

    Attributes:
        given: The documents before.
        given_after: The same documents, after the system has run.
        kept: The documents that reached the LLM.
        prompts: Everything that any LLM was sent; the last is the question to be answered.
        seconds: The time from question to answer.
    """

    given: list[Source]
    given_after: list[Source]
    kept: list[Source]
    prompts: list[str]
    seconds: float


class NotingChatModel(FakeListChatModel):
    """LangChain's fake, noting what it is sent; `labels` answers an extractor's prompts."""

    responses: list[str] = ["An answer."]  # noqa: RUF012 - a field of pydantic, which copies it
    sent: Any  # the list itself: a typed one would be copied
    labels: Callable[[str], str] | None = None

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        text = str(messages[-1].content)
        self.sent.append(text)
        result = super()._generate(messages, *args, **kwargs)
        if self.labels is not None:
            result.generations[0].message.content = self.labels(text)
            result.generations[0].text = self.labels(text)
        return result


class MiniLMEmbeddings(Embeddings):
    """all-MiniLM-L6-v2 for LangChain."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Returns one vector for each text."""
        vectors: list[list[float]] = minilm().encode(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Returns the vector of a query."""
        return self.embed_documents([text])[0]


class MiniLMEmbedding(BaseEmbedding):
    """all-MiniLM-L6-v2 for LlamaIndex."""

    def _get_text_embedding(self, text: str) -> list[float]:
        return MiniLMEmbeddings().embed_query(text)

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return MiniLMEmbeddings().embed_documents(texts)

    def _get_query_embedding(self, query: str) -> list[float]:
        return MiniLMEmbeddings().embed_query(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)


@dataclass
class LangChainSystem:
    """A chain of LangChain: the passages, a compressor if there is one, and `create_stuff_documents_chain`."""

    make: Callable[[Question, list[str]], BaseDocumentCompressor | None]

    def ask(self, question: Question) -> Answer:
        """Returns what became of a question."""
        documents = [
            LangChainDocument(p.text, id=str(i), metadata={"title": p.title, "place": i})
            for i, p in enumerate(question.passages)
        ]
        given, sent = _langchain_sources(documents), []  # type: tuple[list[Source], list[str]]
        compressor = self.make(question, sent)
        start = time.perf_counter()
        kept = compressor.compress_documents(documents, question.query) if compressor else documents
        chain = create_stuff_documents_chain(NotingChatModel(sent=sent), _PROMPT)
        chain.invoke({"context": list(kept), "input": question.query})
        seconds = time.perf_counter() - start
        return Answer(given, _langchain_sources(documents), _langchain_sources(kept), sent, seconds)


@dataclass
class LlamaIndexSystem:
    """A query engine of LlamaIndex over the passages, with a postprocessor if there is one."""

    make: Callable[[], BaseNodePostprocessor | None]

    def ask(self, question: Question) -> Answer:
        """Returns what became of a question."""
        nodes = [
            NodeWithScore(node=TextNode(text=p.text, id_=str(i), metadata={"title": p.title}))
            for i, p in enumerate(question.passages)
        ]
        given, postprocessor = _llamaindex_sources(nodes), self.make()
        engine = RetrieverQueryEngine.from_args(
            _GivenNodes(nodes), llm=MockLLM(), node_postprocessors=[postprocessor] if postprocessor else []
        )
        handler, root = _Prompts(), get_dispatcher("root")
        root.add_event_handler(handler)
        start = time.perf_counter()
        response = engine.query(question.query)
        seconds = time.perf_counter() - start
        root.event_handlers.remove(handler)
        kept = _llamaindex_sources(response.source_nodes)
        return Answer(given, _llamaindex_sources(nodes), kept, handler.sent, seconds)


class _GivenNodes(BaseRetriever):
    def __init__(self, nodes: list[NodeWithScore]) -> None:
        super().__init__()
        self.nodes = nodes

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:  # noqa: ARG002 - always the same
        return list(self.nodes)


class _Prompts(BaseEventHandler):
    sent: list[str] = []  # noqa: RUF012 - a field of pydantic, which copies it

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:  # noqa: ARG002 - LlamaIndex gives it
        if event.class_name() == "LLMCompletionStartEvent":
            self.sent.append(event.prompt)  # type: ignore[attr-defined]


def _extractor(question: Question, sent: list[str]) -> LLMChainExtractor:
    def labels(prompt: str) -> str:
        [passage] = [p for p in question.passages if p.text in prompt][:1]
        return "\n".join(_evidence(passage)) or "NO_OUTPUT"

    return LLMChainExtractor.from_llm(NotingChatModel(sent=sent, labels=labels))


SYSTEMS: dict[str, LangChainSystem | LlamaIndexSystem] = {
    "LangChain, plain": LangChainSystem(lambda *_: None),
    "LangChain, EmbeddingsFilter k=20": LangChainSystem(lambda *_: EmbeddingsFilter(embeddings=MiniLMEmbeddings())),
    "LangChain, EmbeddingsFilter k=3": LangChainSystem(lambda *_: EmbeddingsFilter(embeddings=MiniLMEmbeddings(), k=3)),
    "LangChain, LLMChainExtractor": LangChainSystem(_extractor),
    "LangChain, ours": LangChainSystem(lambda *_: DocumentCompressor()),
    "LlamaIndex, plain": LlamaIndexSystem(lambda: None),
    "LlamaIndex, SentenceEmbeddingOptimizer": LlamaIndexSystem(
        lambda: SentenceEmbeddingOptimizer(embed_model=MiniLMEmbedding(), percentile_cutoff=0.5)
    ),
    "LlamaIndex, ours": LlamaIndexSystem(NodeCompressor),
}


@dataclass
class Figures:
    """Sums the figures of a system over questions."""

    rows: list[dict[str, float]] = field(default_factory=list)

    def add(self, question: Question, answer: Answer) -> None:
        """Adds one question."""
        wanted = [sentence for p in question.passages for sentence in _evidence(p)]
        places = {source.id: i for i, source in enumerate(answer.given)}
        order = [places.get(source.id, -1) for source in answer.kept]
        known = {source.id: source for source in answer.given}
        self.rows.append(
            {
                "tokens to the answering LLM": estimate_tokens(answer.prompts[-1]),
                "tokens to all LLMs": sum(map(estimate_tokens, answer.prompts)),
                "LLM calls": len(answer.prompts),
                "evidence kept": 100 * sum(s in answer.prompts[-1] for s in wanted) / len(wanted),
                "order kept": 100.0 * (order == sorted(order)),
                "ids and metadata kept": 100.0 * all(_same(known.get(source.id), source) for source in answer.kept),
                "inputs untouched": 100.0 * (answer.given == answer.given_after),
                "seconds": answer.seconds,
            }
        )

    def means(self) -> dict[str, float]:
        """Returns the mean of each figure."""
        return {name: sum(row[name] for row in self.rows) / len(self.rows) for name in self.rows[0]}


def main(
    name: Annotated[str, typer.Option("--set", help="An evidence set.")] = "squad",
    split: Annotated[str, typer.Option(help="test or dev.")] = "dev",
    limit: Annotated[int, typer.Option(help="The most questions to ask.")] = QUESTIONS,
    data: Annotated[Path | None, typer.Option(help="The data folder (default: $RAG_COMPRESS_DATA).")] = None,
    out: Out = RESULTS,
) -> None:
    """Asks all systems and writes `frameworks.json`."""
    questions_of = f" --set {name} --split {split}" if (name, split) != ("squad", "dev") else ""
    command = f"python -m eval.frameworks{questions_of}{limited(limit, QUESTIONS)}"
    check_command("frameworks", command, out)
    questions = measured(read_questions(data_folder(data), name, split), limit)
    scores: dict[str, float] = {}
    for system, asked in SYSTEMS.items():
        asked.ask(questions[0])  # loads the models
        figures = Figures()
        for question in questions:
            figures.add(question, asked.ask(question))
        scores |= {f"{system}: {figure}": value for figure, value in figures.means().items()}
    details = {"questions": len(questions), "data": f"{name} {split}"}
    file = Result(command, scores, details).write("frameworks", out)
    Console().print(file.name, scores)


def _evidence(passage: Passage) -> list[str]:
    return [passage.text[slice(*passage.sentences[i])] for i in passage.evidence or ()]


def _same(before: Source | None, after: Source) -> bool:
    return before is not None and before.metadata.items() <= after.metadata.items()


def _langchain_sources(documents: Sequence[LangChainDocument]) -> list[Source]:
    return [Source(d.id, d.page_content, deepcopy(d.metadata)) for d in documents]


def _llamaindex_sources(nodes: Sequence[NodeWithScore]) -> list[Source]:
    return [Source(n.node.node_id, n.node.get_content(), deepcopy(n.node.metadata)) for n in nodes]


if __name__ == "__main__":
    typer.run(main)
