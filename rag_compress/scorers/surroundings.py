"""Reads a sentence of a long text together with what stands around it.

What a question asks of a meeting, a report or a story stands together: a turn that says "Yes, I agree" is evidence
where the turns around it are. So in a long text a sentence's log-odds become

    (own + around) / 2    around = 3 * log(sum_j w_j * exp(log-odds_j / 3) / sum_j w_j)

over the `REACH` sentences j on each side, with weights w_j that fall with the distance to 0 (and log-odds_j within
bounds): a power mean of their odds (exponent 1/3), to which one good neighbour counts more than many poor ones take
away. Reach, exponent and the equal shares were chosen on dev splits: meetings, whole reports and policies, and scenes
of a series put together. Texts no longer than the reach on both sides stay as they are: there the passage's own logit
says as much.

The idea that a part of a text counts by what is around it is that of Salton, Allan, Buckley, "Approaches to Passage
Retrieval in Full Text Information Systems", 1993; this mean is our own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

REACH = 16
"""How many sentences on each side are a sentence's surroundings."""
_WEIGHTS = np.array([*range(1, REACH + 1), 0, *range(REACH, 0, -1)], np.float64)
_EXPONENT = 1 / 3
_LEAST, _MOST = -60.0, 15.0
"""No neighbour counts as less or more sure than this: one word that a book holds once would lift all around it to 1."""


def with_surroundings(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns float64 `(sentences,)`: the log-odds of a passage's sentences, in a long one averaged with those around.

    Args:
        log_odds: float64 `(sentences,)`, in the order of the text.
    """
    if len(log_odds) <= 2 * REACH:
        return log_odds
    summed = _summed(np.exp(log_odds.clip(_LEAST, _MOST) * _EXPONENT))
    around = np.log(summed / _summed(np.ones(len(log_odds)))) / _EXPONENT
    return np.asarray((log_odds + around) / 2)


def _summed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the weighted sum of what is around each value; beyond the ends there is nothing."""
    return np.convolve(values, _WEIGHTS, "same")
