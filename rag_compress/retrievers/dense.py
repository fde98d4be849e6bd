"""Dense retrieval: documents and queries as vectors, compared by inner product."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag_compress.errors import IncompatibleIndex, InvalidInput
from rag_compress.models.encoding import PROBE, embedded, encoded, same_direction
from rag_compress.models.protocols import Encoder
from rag_compress.models.torch import SentenceTransformerEncoder, as_encoder
from rag_compress.retrievers.index_folder import (
    IndexFolder,
    check_documents,
    indexed_text,
    read_documents,
    read_index,
    write_documents,
    write_index,
)
from rag_compress.retrievers.ranking import ranked
from rag_compress.retrievers.storage import Storage, StoredVectors
from rag_compress.retrievers.vectors import IndexKind, VectorIndex, build_vector_index, load_vector_index
from rag_compress.stages import Retriever
from rag_compress.types import Document

_KIND = "dense"


@dataclass(frozen=True, eq=False)
class DenseRetriever(Retriever):
    """Ranks documents by the inner product of their vector with the query's; an empty query finds nothing.

    Attributes:
        documents: What is indexed, in order.
        vectors: float32 `(documents, dim)`, or kept in less room: the embeddings that documents are returned with.
        index: Searches the vectors.
        encoder: Encodes documents, and queries too unless `query_encoder` is given.
        k: How many documents a query gets.
        query_encoder: Encodes queries, for models that treat them apart.
    """

    documents: tuple[Document, ...] = field(repr=False)
    vectors: NDArray[np.float32] | StoredVectors = field(repr=False)
    index: VectorIndex
    encoder: Encoder
    k: int = 10
    query_encoder: Encoder | None = None

    @classmethod
    def from_documents(
        cls,
        documents: Iterable[Document | str],
        encoder: Encoder | str,
        k: int = 10,
        index: IndexKind = "auto",
        query_encoder: Encoder | str | None = None,
        storage: Storage = "float32",
    ) -> DenseRetriever:
        """Returns a retriever over the vectors of titles and texts; a document's own `embedding` is used if it has one.

        Args:
            documents: What to index.
            encoder: Any encoder, or the name or folder of a sentence-transformers model.
            k: How many documents a query gets.
            index: See `vectors.build_vector_index`.
            query_encoder: For models that encode queries apart.
            storage: How the vectors are kept that documents are returned with; see `storage`. What is searched is built
                from the same, so that a saved index finds the same.

        Raises:
            InvalidInput: No documents, repeated ids, or an unknown kind of index or storage.
            MissingExtra: The kind of index, or the storage `pq`, needs faiss.
            ModelError: The encoder returned something else than one finite vector for each text.
        """
        checked = check_documents(documents)
        encoder = as_encoder(encoder)
        vectors: NDArray[np.float32] | StoredVectors = embedded(
            encoder, [document.embedding for document in checked], lambda i: indexed_text(checked[i])
        )
        if storage != "float32":
            vectors = StoredVectors.of(vectors[:], storage)
        return cls(checked, vectors, build_vector_index(vectors[:], index), encoder, k, as_encoder(query_encoder))

    def rank(self, queries: Sequence[str], k: int) -> list[list[Document]]:
        """Returns the documents nearest to the query, with their embeddings."""
        return self.search(self.encode_queries(queries), k)

    def encode_queries(self, queries: Sequence[str]) -> NDArray[np.float32]:
        """Returns float32 `(queries, dim)`."""
        return encoded(self.query_encoder or self.encoder, queries, self.vectors.shape[1])

    @cached_property
    def position_of(self) -> dict[str, int]:
        """The position of each document, by its id."""
        return {document.id: i for i, document in enumerate(self.documents)}

    def search(self, vectors: NDArray[np.float32], k: int) -> list[list[Document]]:
        """Returns at most k documents for each row of vectors `(n, dim)`, best first, with their embeddings."""
        found = self.index.search(np.asarray(vectors, dtype=np.float32), min(k, len(self.documents)))
        return [
            [replace(d, embedding=self.vectors[i]) for d, i in zip(ranked(self.documents, hits), hits[0], strict=True)]
            for hits in found
        ]

    def save(self, folder: str | PathLike[str]) -> None:
        """Writes the index to a folder, in one step."""
        stored = self.vectors if isinstance(self.vectors, StoredVectors) else StoredVectors.of(self.vectors)
        parameters = {
            "k": self.k,
            "storage": stored.kind,
            "unit": stored.unit,
            "index": getattr(self.index, "kind", "auto"),
            "encoder": _recipe(self.encoder),
            "query_encoder": _recipe(self.query_encoder) if self.query_encoder else None,
            "probe": encoded(self.encoder, [PROBE], self.vectors.shape[1])[0].tolist(),
            "query_probe": self.encode_queries([PROBE])[0].tolist(),
        }

        def save(data: Path) -> None:
            write_documents(data / "documents.jsonl", self.documents)
            stored.save(data)
            self.index.save(data)

        write_index(folder, _KIND, parameters, save)

    @classmethod
    def load(
        cls,
        folder: str | PathLike[str],
        encoder: Encoder | str | None = None,
        query_encoder: Encoder | str | None = None,
    ) -> DenseRetriever:
        """Returns the retriever that was saved.

        Args:
            folder: Where it was saved.
            encoder: The encoder it was built with; `None` for one of this library's own, which is made again.
            query_encoder: Likewise.

        Raises:
            IncompatibleIndex: The encoder does not encode a probe text as the one the index was built with.
            IndexFolderError: As `index_folder.read_index`.
        """

        def build(saved: IndexFolder) -> DenseRetriever:
            parameters = saved.parameters
            own, other = as_encoder(encoder), as_encoder(query_encoder)
            own = own or _from_recipe(parameters["encoder"], folder, "encoder")
            if other is None and parameters["query_encoder"]:
                other = _from_recipe(parameters["query_encoder"], folder, "query_encoder")
            _check_same_encoder(own, parameters["encoder"], parameters["probe"], folder)
            recipe = parameters["query_encoder"] or parameters["encoder"]
            _check_same_encoder(other or own, recipe, parameters["query_probe"], folder)
            documents = read_documents(saved.data / "documents.jsonl")
            stored = StoredVectors.load(saved.data, parameters["storage"], unit=parameters["unit"])
            index = load_vector_index(saved.data, stored[:], parameters["index"])
            vectors = stored[:] if stored.kind == "float32" else stored
            return cls(documents, vectors, index, own, parameters["k"], other)

        return read_index(folder, _KIND, build)


def _recipe(encoder: Encoder) -> dict[str, Any]:
    """Returns what names an encoder in a manifest: its class and, for one of this library's own, its fields."""
    own = type(encoder).__module__ == "rag_compress.models.torch" and is_dataclass(encoder)
    fields = asdict(encoder) if own else None  # type: ignore[call-overload]
    return {"class": type(encoder).__name__, "fields": fields, "repr": repr(encoder)}


def _from_recipe(recipe: dict[str, Any], folder: str | PathLike[str], name: str) -> Encoder:
    if recipe["fields"] is None:
        raise InvalidInput(f"{folder} was built with the encoder {recipe['repr']}: pass it as `{name}`")
    return SentenceTransformerEncoder(**recipe["fields"])


def _check_same_encoder(encoder: Encoder, recipe: Any, probe: Any, folder: str | PathLike[str]) -> None:
    if not same_direction(encoder.encode([PROBE])[0], probe):
        raise IncompatibleIndex(
            f"{folder} was built with the encoder {recipe['repr']}; {encoder!r:.200} encodes otherwise"
        )
