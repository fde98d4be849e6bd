"""What a person sees: kept text in colour, dropped text dimmed, counts, progress bars on a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from itertools import groupby
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from rag_compress.compressors.extractive import ExtractiveCompressor
from rag_compress.errors import counted
from rag_compress.prompts import PromptTemplate
from rag_compress.selection import Selection, reopen
from rag_compress.stages import Stage
from rag_compress.tokens import escaped_surrogates
from rag_compress.types import Context, Document, Segment

T = TypeVar("T")

stdout = Console(soft_wrap=True, highlight=False, emoji=False)
stderr = Console(stderr=True, highlight=False, emoji=False)

_KEPT, _DROPPED = "bold green", "dim"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def show_context(context: Context, most_dropped: int | None = None) -> None:
    """Prints the pieces of the documents, marked `+` (kept) or `-` (dropped), with their scores.

    Args:
        context: What to show.
        most_dropped: Of more dropped pieces in a row than this, only the number is shown; `None`: all are shown.
    """
    for number, document in enumerate(context.documents, start=1):
        pieces = _pieces(context, document)
        if most_dropped is not None and all(mark == "-" for mark, _ in pieces):
            stdout.print(_heading(number, document).append(f"  {_dropped(len(pieces))}", style="not bold dim"))
            continue
        stdout.print(_heading(number, document))
        for mark, run in groupby(pieces, key=lambda piece: piece[0]):
            segments = [segment for _, segment in run]
            if mark == "-" and most_dropped is not None and len(segments) > most_dropped:
                stdout.print(f"  - {_dropped(len(segments))}", style=_DROPPED)
                continue
            for segment in segments:
                stdout.print(_line(mark, segment))


def show_counts(context: Context, template: PromptTemplate, compressor: Stage | None = None) -> None:
    """Prints to stderr how much was kept; if nothing was, the compressor knows whether that is for want of room."""
    before, after = token_counts(context, template)
    if context.is_empty:
        is_tight = isinstance(compressor, ExtractiveCompressor) and _helps(context, compressor.selection)
        why = "no piece that helps fits the budget" if is_tight else "nothing that was retrieved helps"
        stderr.print(f"{why}: the prompt is the question alone", style="yellow")
    pieces = len(context.segments) + len(context.dropped)
    share = f"{after / before:.0%}" if before else "0%"
    stderr.print(
        f"[bold]kept[/] {after:,} of {before:,} tokens ({share}), {len(context.segments)} of {pieces} pieces, "
        f"from {len({s.spans[0].doc_id for s in context.segments})} of {len(context.documents)} documents"
    )


def token_counts(context: Context, template: PromptTemplate) -> tuple[int, int]:
    """Returns the tokens of the sources, whole and as they are kept."""
    whole = Context.whole(context.query, context.documents)
    return template.count(whole), template.count(context)


def to_json(record: Mapping[str, Any]) -> str:
    """Returns a record as JSON; lone surrogates, which no stream can carry, as escapes, so that nothing is altered.

    Numbers that JSON does not have (NaN, infinities) become null.
    """
    try:
        text = json.dumps(record, ensure_ascii=False, default=str, allow_nan=False)
    except ValueError:
        finite = json.loads(json.dumps(record, default=str), parse_constant=lambda _: None)
        text = json.dumps(finite, ensure_ascii=False)
    return escaped_surrogates(text)


def visible(text: str) -> str:
    """Returns a text on one line, without what could command the terminal."""
    return _CONTROL.sub("\ufffd", " ".join(text.split()))


def progress(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yields the items, under a progress bar on stderr if that is a terminal."""
    if not stderr.is_terminal:
        yield from items
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, transient=True) as bar:
        yield from bar.track(items, total, description=description)


@contextmanager
def working(description: str) -> Iterator[None]:
    """Shows on a terminal that something without countable steps is going on."""
    with stderr.status(description) if stderr.is_terminal else nullcontext():
        yield


def _helps(context: Context, selection: Selection) -> bool:
    """Returns whether a piece would have been kept without a budget."""
    [context] = selection.without_budget([reopen(context)])
    return not context.is_empty


def _heading(number: int, document: Document) -> Text:
    heading = Text(f"[{number}] {visible(document.title or document.id)}", style="bold")
    if document.title and document.title != document.id:
        heading.append(f"  {visible(document.id)}", style="not bold cyan")
    if document.score is not None:
        heading.append(f"  {document.score:.2f}", style="not bold dim")
    return heading


def _dropped(pieces: int) -> str:
    return f"{counted(pieces, 'piece')} dropped"


def _line(mark: str, segment: Segment) -> Text:
    score = "    " if segment.score is None else f"{segment.score:4.2f}"
    soft = "" if segment.embedding is None else f"<{len(segment.embedding)} soft, {_reach(segment):,} characters>"
    return Text(f"  {mark} {score} {soft or visible(segment.text)}", style=_KEPT if mark == "+" else _DROPPED)


def _reach(segment: Segment) -> int:
    return sum(span.end - span.start for span in segment.spans)


def _pieces(context: Context, document: Document) -> list[tuple[str, Segment]]:
    marked = [("+", s) for s in context.segments] + [("-", s) for s in context.dropped]
    of_document = [(mark, s) for mark, s in marked if s.spans[0].doc_id == document.id]
    return sorted(of_document, key=lambda piece: piece[1].spans[0].start)
