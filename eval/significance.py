"""Whether a difference could be chance: bootstrap confidence intervals, and a paired randomisation test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def bootstrap_interval(
    values: Sequence[float], confidence: float = 0.95, samples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Returns the interval that holds the mean with this confidence: percentiles of the means of resampled values.

    Source: Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979.
    """
    array = np.asarray(values, dtype=float)
    rng = np.random.default_rng(seed)
    means = array[rng.integers(0, len(array), (samples, len(array)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def randomisation_test(one: Sequence[float], other: Sequence[float], samples: int = 10_000, seed: int = 0) -> float:
    """Returns the two-sided p-value of the mean difference of paired values.

    The share of random swaps within pairs whose mean difference is at least as large as the one seen:

        p = (1 + number of |mean(sign * (one - other))| >= |mean(one - other)|) / (1 + samples)

    Source: Fisher's randomisation test, as in Smucker, Allan, Carterette, "A Comparison of Statistical Significance
    Tests for Information Retrieval Evaluation", 2007.
    """
    difference = np.asarray(one, dtype=float) - np.asarray(other, dtype=float)
    difference = difference[difference != 0]  # a swap of equal values changes nothing
    if not len(difference):
        return 1.0
    rng = np.random.default_rng(seed)
    seen, extreme, left = abs(difference.sum()) - 1e-9, 0, samples
    while left:
        rows = min(left, 1000)
        signs = rng.integers(0, 2, (rows, len(difference)), dtype=np.int8) * 2.0 - 1
        extreme += int((abs(signs @ difference) >= seen).sum())
        left -= rows
    return (1 + extreme) / (1 + samples)
