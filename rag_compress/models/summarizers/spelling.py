"""Gives copied tokens back the spelling of their source: many encoders know lower case only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def copied_text(source: str, offsets: Sequence[tuple[int, int]], source_ids: Sequence[int], ids: Sequence[int]) -> str:
    """Returns the text of tokens as it stands in the source; tokens that the source does not hold are left out.

    Each token is taken from the place after the last one if it stands there, or else from the next place (one where the
    token after it follows too, if there is one), or from the first.

    Args:
        source: The source.
        offsets: The characters `[start, end)` of its tokens; empty for special tokens.
        source_ids: Its tokens.
        ids: The tokens that were copied.
    """
    text, end = "", -1
    for place in _places(source_ids, ids):
        start, stop = offsets[place]
        if start == stop:
            continue
        if 0 <= end <= start and not source[end:start].strip():
            gap = source[end:start]
        else:
            gap = " " if text and _starts_apart(source, start) else ""
        text += gap + source[start:stop]
        end = stop
    return text[:1].upper() + text[1:]


def _starts_apart(source: str, place: int) -> bool:
    """Returns whether a place is behind a space, or the start of a word, whatever stands before that."""
    before = source[max(0, place - 1) : place]
    return before.isspace() or (source[place].isalnum() and not before.isalnum())


def _places(source_ids: Sequence[int], ids: Sequence[int]) -> Iterator[int]:
    found: dict[int, list[int]] = {}
    for place, token in enumerate(source_ids):
        found.setdefault(token, []).append(place)
    last = -1
    for token, following in zip(ids, [*ids, -1][1:], strict=True):
        places = found.get(token)
        if not places:
            continue
        last = min(places, key=lambda place: _rank(place, last, source_ids, following))
        yield last


def _rank(place: int, last: int, source_ids: Sequence[int], following: int) -> tuple[bool, bool, bool, int]:
    """Returns a key: on from the last place, then behind it, then where the next token follows, then the nearest."""
    continues = place + 1 < len(source_ids) and source_ids[place + 1] == following
    return (place != last + 1, place <= last, not continues, place)
