"""Renders a context as the prompt that an LLM reads."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby

from rag_compress.budget import Part, fit
from rag_compress.checks import check_count
from rag_compress.errors import BudgetTooSmall, InvalidInput
from rag_compress.tokens import TokenCounter, Tokenizer, estimate_tokens, token_counter
from rag_compress.types import PLACEHOLDER, Context, Document, Prompt, Segment

QUESTION_ANSWERING = """\
Answer the question from the numbered sources below, and cite them like [1]. If they do not hold the answer, say so.

{context}

Question: {query}
Answer:"""

SYSTEM = "Answer from the numbered sources, and cite them like [1]. If they do not hold the answer, say so."


BACKGROUND = """\
Refer to the background document and answer the question.

Background: {context}

Question: {query}"""
"""The question as xRAG puts it: for a context of soft tokens."""

_PLACEHOLDERS = re.compile(r"<xRAG(?:-(\d+))?>")


@dataclass(frozen=True)
class PromptTemplate:
    """Renders the kept segments under their sources' numbers and titles, then the whole prompt.

    Sources keep the number of their place among the retrieved documents, so a citation means the same document however
    much was dropped. Within a source, what was dropped between two kept pieces becomes one space, or one line break; a
    piece that begins a line is indented as it was, relative to the first one.

    Attributes:
        template: The prompt, with `{context}` and `{query}`.
        empty: The prompt when nothing is kept, with `{query}`.
        source: One source, with `{text}` and any of `{number}`, `{title}`, `{id}`; without a title, `{title}` and the
            white space after it go.
        separator: What stands between sources.
        max_tokens: The longest prompt to make, all included; the lowest-scored segments give way. `None`: no limit.
        tokenizer: What counts the tokens (see `tokens.Tokenizer`).
    """

    template: str = QUESTION_ANSWERING
    empty: str = "Question: {query}\nAnswer:"
    source: str = "[{number}] {title}\n{text}"
    separator: str = "\n\n"
    max_tokens: int | None = None
    tokenizer: Tokenizer = estimate_tokens

    def __post_init__(self) -> None:
        _check_placeholders("template", self.template, required={"context", "query"})
        _check_placeholders("empty", self.empty, required={"query"})
        _check_placeholders("source", self.source, required={"text"}, optional={"number", "title", "id"})
        if not isinstance(self.separator, str):
            raise InvalidInput(f"separator must be a string, not {self.separator!r:.80}")
        if self.max_tokens is not None:
            check_count("max_tokens", self.max_tokens)

    def format(self, context: Context) -> Prompt:
        """Returns the prompt; within `max_tokens` if that is set.

        Raises:
            BudgetTooSmall: The prompt would be too long even without any context.
        """
        context = self.fit(context)
        text, placeholder = _marked(context, self._render)
        return Prompt(text, tuple(s.embedding for s in context.segments if s.embedding is not None), placeholder)

    def messages(self, context: Context, system: str = SYSTEM) -> list[dict[str, str]]:
        """Returns chat messages: `system`, then the sources and the question as the user's turn.

        `template` and `empty` are for `format` alone. `max_tokens` covers the contents of both messages, not what a
        chat API adds around them.

        Raises:
            BudgetTooSmall: The messages would be too long even without any context.
            InvalidInput: The context holds soft tokens, which no message can carry: use `format`.
        """
        if context.is_soft:
            raise InvalidInput("Messages are text, and this context holds soft tokens: use PromptTemplate.format")
        user = replace(self, template="{context}\n\nQuestion: {query}", empty="Question: {query}", max_tokens=None)
        if self.max_tokens is not None:
            count = self.count_text
            left = self.max_tokens - count(system)
            base = count(system) + count(user.format(replace(context, segments=())).text)
            if base > self.max_tokens:
                message = f"The messages have {base} tokens without any context: max_tokens is {self.max_tokens}"
                raise BudgetTooSmall(message)
            user = replace(user, max_tokens=left)
        return [{"role": "system", "content": system}, {"role": "user", "content": user.format(context).text}]

    def fit(self, context: Context) -> Context:
        """Returns the context with as many of its best segments as the whole prompt has room for."""
        if self.max_tokens is None:
            return context
        if self._size(context, self._render) <= self.max_tokens:
            return context
        base = self._size(replace(context, segments=()), self._render)
        if base > self.max_tokens:
            raise BudgetTooSmall(f"The prompt has {base} tokens without any context: max_tokens is {self.max_tokens}")

        def measure(kept: Sequence[int]) -> int:  # around no source too, the template is what the sources stand in
            return self._size(choose(context, kept), self._fill_template)

        order = sorted(range(len(context.segments)), key=lambda i: rank_key(context.segments[i], i))
        return choose(context, fit([[i] for i in order], self.parts(context), measure, self.max_tokens))

    @cached_property
    def count_text(self) -> TokenCounter:
        """The counter of the tokenizer; raises as `token_counter` does."""
        return token_counter(self.tokenizer)

    def render_context(self, context: Context) -> str:
        """Returns the sources alone, as they stand in the prompt; empty when nothing is kept."""
        return self.separator.join(self._sources(context))

    def count(self, context: Context) -> int:
        """Returns the tokens of the sources as they stand in the prompt; a soft token counts as one."""
        return self._size(context, self.render_context)

    def _size(self, context: Context, render: Callable[[Context], str]) -> int:
        count = self.count_text
        if not context.is_soft:
            return count(render(context))
        text, placeholder = _marked(context, render)
        soft = sum(len(segment.embedding) for segment in context.segments if segment.embedding is not None)
        return soft + sum(count(piece) for piece in text.split(placeholder))

    def parts(self, context: Context) -> list[Part]:
        """Returns about how many tokens each kept segment adds, and the header of its source."""
        count = self.count_text
        base = count("")  # the special tokens of a counter that adds them are there once, not in each part
        documents = context.by_id()
        headers: dict[str, int] = {}
        parts = []
        for segment in context.segments:
            header = segment.spans[0].doc_id if segment.spans else ""
            if header not in headers:
                title = documents[header].title if header in documents else ""
                headers[header] = count(self.separator + self._fill_source("100", title, header, "")) - base
            size = count(" " + segment.text) - base if segment.embedding is None else len(segment.embedding)
            parts.append(Part(size, header, headers[header]))
        return parts

    def _render(self, context: Context) -> str:
        if context.is_empty:
            return _fill(self.empty, {"query": context.query})
        return self._fill_template(context)

    def _fill_template(self, context: Context) -> str:
        return _fill(self.template, {"context": self.render_context(context), "query": context.query})

    def _sources(self, context: Context) -> Iterator[str]:
        documents = {document.id: (n, document) for n, document in enumerate(context.documents, start=1)}
        for ids, segments in groupby(context.segments, key=_sources_of):
            known = [documents[i] for i in ids if i in documents]
            number = ", ".join(str(n) for n, _ in known)
            title = known[0][1].title if len(known) == 1 else ""
            text = join_segments(known[0][1] if known else None, list(segments))
            yield self._fill_source(number, title, ", ".join(ids), text)

    def _fill_source(self, number: str, title: str, doc_id: str, text: str) -> str:
        # a line break in a title or an id could pass for the start of another source
        title, doc_id = (" ".join(value.split()) for value in (title, doc_id))
        source = self.source if title else _TITLE_AND_GAP.sub("", self.source)
        return _fill(source, {"number": number, "title": title, "id": doc_id, "text": text})


def join_segments(document: Document | None, segments: Sequence[Segment]) -> str:
    """Returns segments of one document joined: by the kind of white space between them, or by what stands for a gap."""
    pieces: list[str] = []
    margin = _margin(document, segments[0]) if document is not None and segments else 0
    for previous, segment in zip([None, *segments], segments, strict=False):
        if previous is not None:
            pieces.append(_gap(document, previous, segment, margin))
        pieces.append(segment.text)
    return "".join(pieces)


def choose(context: Context, kept: Sequence[int]) -> Context:
    """Returns the context with the segments at these positions kept, in order, and the others dropped."""
    chosen = set(kept)
    segments = tuple(s for i, s in enumerate(context.segments) if i in chosen)
    others = tuple(s for i, s in enumerate(context.segments) if i not in chosen)
    return replace(context, segments=segments, dropped=context.dropped + others)


def rank_key(segment: Segment, position: int) -> tuple[float, int]:
    """Returns the sort key for best first: unscored segments before scored ones, ties by position."""
    return (-float("inf") if segment.score is None else -segment.score, position)


def document_order(context: Context) -> Callable[[Segment], tuple[int, int]]:
    """Returns the sort key for the order of the documents, in which what is of none of them comes last."""
    place = {document.id: n for n, document in enumerate(context.documents)}
    last = len(place)
    return lambda s: (place.get(s.spans[0].doc_id, last), s.spans[0].start) if s.spans else (last, 0)


def _marked(context: Context, render: Callable[[Context], str]) -> tuple[str, str]:
    """Returns what is rendered, with a placeholder for each soft segment, and the placeholder: nothing else is it.

    A placeholder begins and ends with signs that it has nowhere else, so two never overlap; one whose number stands
    nowhere in the text therefore stands where a soft segment does, and only there.
    """
    soft = sum(segment.embedding is not None for segment in context.segments)
    if not soft:
        return render(context), PLACEHOLDER
    taken = {match[1] for match in _PLACEHOLDERS.finditer(render(_filled(context, PLACEHOLDER)))}
    number = next(n for n in itertools.count(1) if str(n) not in taken)
    for placeholder in (PLACEHOLDER, f"<xRAG-{number}>"):
        text = render(_filled(context, placeholder))
        if text.count(placeholder) == soft:
            return text, placeholder
    raise InvalidInput("A template for soft tokens needs {context} and {text} exactly once")


def _filled(context: Context, placeholder: str) -> Context:
    segments = (s if s.embedding is None else replace(s, text=placeholder) for s in context.segments)
    return replace(context, segments=tuple(segments))


_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_LINE_BREAK = re.compile(r"\r\n|[\n\r\v\f\x85\u2028\u2029]")
_WIDEST = 80
_TITLE_AND_GAP = re.compile(r"\{title\}\s*")


def _sources_of(segment: Segment) -> tuple[str, ...]:
    return tuple(dict.fromkeys(span.doc_id for span in segment.spans))


def _margin(document: Document, first: Segment) -> int:
    """Returns how far the first piece is indented: the others are, relative to it."""
    if not first.verbatim:
        return 0
    text, start = document.text, first.spans[0].start
    begin = start
    while begin and text[begin - 1] in " \t":
        begin -= 1
    return start - begin if begin == 0 or _LINE_BREAK.match(text, begin - 1) else 0


def _gap(document: Document | None, before: Segment, after: Segment, margin: int) -> str:
    if document is None or not (before.verbatim and after.verbatim):
        return " "
    end, start = before.spans[0].end, after.spans[0].start
    if start <= end:
        return "" if start == end else " "
    between = document.text[end:start]
    *lines, last = _LINE_BREAK.split(between)
    if not lines:
        return " "
    indentation = "" if last.strip() else last[margin:][:_WIDEST]  # lists, YAML and code live by it
    return ("\n\n" if len(lines) > 1 and not between.strip() else "\n") + indentation


def _fill(template: str, values: Mapping[str, str]) -> str:
    """Returns the template with its placeholders replaced in one pass: braces in a document stay as they are."""
    return _PLACEHOLDER.sub(lambda match: values.get(match.group(1), match.group()), template)


def _check_placeholders(name: str, template: str, required: Set[str], optional: Set[str] = frozenset()) -> None:
    if not isinstance(template, str):
        raise InvalidInput(f"{name} must be a string, not {template!r:.80}")
    found = set(_PLACEHOLDER.findall(template))
    if missing := required - found:
        raise InvalidInput(f"{name} lacks {', '.join(f'{{{m}}}' for m in sorted(missing))}: {template!r:.80}")
    if unknown := found - required - optional:
        allowed = ", ".join(f"{{{a}}}" for a in sorted(required | optional))
        raise InvalidInput(f"{name} has the unknown placeholder {{{min(unknown)}}}; it may use {allowed}")
