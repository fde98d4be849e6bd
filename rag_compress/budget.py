"""Fills a token budget exactly, although token counts do not add up.

The size of a joined text is not the sum of its parts' sizes, so parts are chosen by estimates and the joined result is
measured: what does not fit goes, and what room is left is offered again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

_SECOND_TRIES = 16


class Part(NamedTuple):
    """One candidate for the budget.

    Attributes:
        size: About how much it adds.
        header: What it shares with other parts (the title of its document), paid by the first of them.
        header_size: About how much the header adds.
    """

    size: int
    header: str = ""
    header_size: int = 0


def fit(
    groups: Sequence[Sequence[int]], parts: Sequence[Part], measure: Callable[[Sequence[int]], int], limit: int
) -> list[int]:
    """Returns the positions of the parts to keep, in the order in which they were taken; `measure` of them fits.

    Greedy: a group is taken when it fits what is left, so a small one can follow a large one that did not.

    Args:
        groups: Positions in `parts` that are taken together, best group first; groups may overlap.
        parts: The candidates.
        measure: The exact size of a set of kept parts, joined and rendered.
        limit: The largest size allowed; when not even `measure([])` fits, nothing is kept.
    """
    kept = _fill(groups, parts, [], limit - measure([]), tries=len(groups))
    while kept and (excess := measure(kept) - limit) > 0:
        while kept and excess > 0:
            excess -= max(1, parts[kept.pop()].size)
    room = limit - measure(kept)
    for _ in range(_SECOND_TRIES if room > 0 else 0):
        more = _fill(groups, parts, kept, room, tries=1)
        if more == kept or measure(more) > limit:
            break
        kept, room = more, limit - measure(more)
    return kept


def _fill(
    groups: Sequence[Sequence[int]], parts: Sequence[Part], kept: Sequence[int], room: int, tries: int
) -> list[int]:
    """Returns `kept` with up to `tries` more groups whose estimated size fits into `room`."""
    taken = dict.fromkeys(kept)
    headers = {parts[i].header for i in kept}
    for group in groups:
        new = [i for i in group if i not in taken]
        new_headers = {parts[i].header: parts[i].header_size for i in new if parts[i].header not in headers}
        size = sum(parts[i].size for i in new) + sum(new_headers.values())
        if not new or size > room:
            continue
        taken.update(dict.fromkeys(new))
        headers.update(new_headers)
        room -= size
        tries -= 1
        if not tries:
            break
    return list(taken)
