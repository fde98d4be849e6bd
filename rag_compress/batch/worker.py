"""Compresses rows; one that fails becomes an outcome with its error, and its batch-mates never notice."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from rag_compress.batch.inputs import Input
from rag_compress.batch.methods import find_method, make_stage
from rag_compress.errors import InvalidInput, JobError, MissingExtra, ModelError, RagCompressError
from rag_compress.prompts import PromptTemplate, join_segments
from rag_compress.stages import Stage
from rag_compress.stores.protocol import Value
from rag_compress.tokens import estimate_tokens, token_counter
from rag_compress.types import Context, Segment

BATCH_ROWS, BATCH_CHARACTERS = 64, 500_000
"""What a stage gets at once, at most (a longer row comes alone)."""
_VERDICTS = {ModelError.__name__, InvalidInput.__name__}
"""What a summarizer says of a text; all other errors are of the moment."""
_SHOWN = 1500
"""Characters of an example."""


class Outcome(NamedTuple):
    """What became of one row.

    Attributes:
        value: The result; `None` after an error.
        tokens: Before and after.
        seconds: What it took; of a batch, by its share of the characters.
        error: Why there is no result.
        pieces: For some short rows: the pieces in order, each with whether it was kept; an example.
    """

    value: Value
    tokens: tuple[int, int] = (0, 0)
    seconds: float = 0.0
    error: str | None = None
    pieces: tuple[tuple[bool, str], ...] = ()


@dataclass(frozen=True)
class Worker:
    """A method with its options, ready to be sent to another process; the model is loaded there, on first use.

    Attributes:
        method: Its name.
        options: Its options.
        tokenizer: What counts tokens, by name; `None`: the estimate.
    """

    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: str | None = None

    def __call__(self, inputs: Sequence[Input]) -> list[Outcome]:
        """Returns an outcome for each input, in order.

        Raises:
            MissingExtra: A package is missing, so that no row could succeed.
            RagCompressError: The stage cannot be made here, as `prepare` says.
        """
        self.prepare()
        return [outcome for batch in _batches(inputs) for outcome in self._compress(batch)]

    def prepare(self) -> None:
        """Makes the stage: what is wrong with it is the job's error, and no row's.

        Raises:
            InvalidInput: There is no such method, or it does not know an option.
            MissingExtra: A package that it needs is not installed.
            JobError: It cannot be made for another reason.
        """
        try:
            _ = self.stage
        except RagCompressError:
            raise
        except Exception as error:  # whatever a method of one's own raises
            raise JobError(f"The method {self.method!r} cannot be made: {type(error).__name__}: {error}") from error

    @cached_property
    def stage(self) -> Stage:
        """The stage, made on first use; raises as `make_stage` does."""
        return make_stage(self.method, self.options, self._template)

    @cached_property
    def _template(self) -> PromptTemplate:
        """What a budget is measured on: the documents' texts under their titles, without numbers."""
        tokenizer = token_counter(self.tokenizer) if self.tokenizer else estimate_tokens
        return PromptTemplate(source="{title}\n{text}", tokenizer=tokenizer)

    @cached_property
    def _needs_query(self) -> bool:
        return find_method(self.method).needs_query

    def _compress(self, batch: Sequence[Input]) -> list[Outcome]:
        """Returns the outcomes of a batch; when it fails, those of its rows one by one."""
        start = time.perf_counter()
        try:
            contexts = self.stage([each.context() for each in batch])
            outcomes = [self._outcome(*each) for each in zip(batch, contexts, strict=True)]
            outcomes[0] = outcomes[0]._replace(pieces=_pieces(contexts[0]))
        except MissingExtra:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a row does to a method, the others go on
            if len(batch) == 1:
                return [Outcome(None, error=f"{type(error).__name__}: {error}"[:500])]
            return [outcome for each in batch for outcome in self._compress([each])]
        each = (time.perf_counter() - start) / (sum(map(_characters, batch)) or 1)
        return [outcome._replace(seconds=each * _characters(row)) for row, outcome in zip(batch, outcomes, strict=True)]

    def _outcome(self, row: Input, context: Context) -> Outcome:
        if failure := _failure(context):
            return Outcome(None, error=f"{failure}: the summarizer did not write")
        if context.is_soft:
            raise InvalidInput("A job writes text, and this method makes soft tokens: keep vectors in a dense index")
        texts = _texts(context)
        if not self._needs_query:
            texts = [text if text.strip() else whole for text, (_, whole) in zip(texts, row.documents, strict=True)]
        titles = [title for title, _ in row.documents]
        kept = row._replace(documents=tuple(pair for pair in zip(titles, texts, strict=True) if pair[1]))
        return Outcome(texts if row.listed else texts[0], (self._size(row), self._size(kept)))

    def _size(self, row: Input) -> int:
        return self._template.count_text(self._template.render_context(row.context()))


def _texts(context: Context) -> list[str]:
    """Returns what is kept of each document, one for one; nothing is an empty string."""
    kept: dict[str, list[Segment]] = {document.id: [] for document in context.documents}
    for segment in context.segments:
        kept[segment.spans[0].doc_id].append(segment)
    return [join_segments(document, kept[document.id]) for document in context.documents]


def _failure(context: Context) -> str | None:
    """Returns the error that kept a summarizer from writing, such as a time-out, which another run may not meet.

    The extract that stands in would otherwise pass for the result for ever. It is the result where the model wrote, or
    could not read the text, and would do so again.
    """
    for notes in (context.notes, *context.notes.get("each", ())):
        for reason in notes.get("abstractive", {}).get("stood_in", ()):
            if reason.isidentifier() and reason not in _VERDICTS:
                return str(reason)
    return None


def _pieces(context: Context) -> tuple[tuple[bool, str], ...]:
    """Returns the pieces of a short row for a person to look at, in the order of the documents."""
    if sum(len(document.text) for document in context.documents) > _SHOWN:
        return ()
    marked = [(True, segment) for segment in context.segments] + [(False, segment) for segment in context.dropped]
    placed = sorted(marked, key=lambda pair: (int(pair[1].spans[0].doc_id), pair[1].spans[0].start))
    return tuple((kept, segment.text) for kept, segment in placed)


def _batches(inputs: Sequence[Input]) -> Iterator[list[Input]]:
    batch: list[Input] = []
    size = 0
    for each in inputs:
        if batch and (len(batch) == BATCH_ROWS or size + _characters(each) > BATCH_CHARACTERS):
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += _characters(each)
    if batch:
        yield batch


def _characters(row: Input) -> int:
    return 1 + sum(len(text) for _, text in row.documents)
