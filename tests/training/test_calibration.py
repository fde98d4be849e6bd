"""Calibration: what is fitted, and how well probabilities mean what they say."""

from __future__ import annotations

import numpy as np

from rag_compress.training.calibration import logistic_regression


def test_logistic_regression_finds_the_weights() -> None:
    """On labels drawn from known weights, those weights are found again."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(50_000, 2))
    probabilities = 1 / (1 + np.exp(-(features @ [2.0, -1.0] - 0.5)))
    labels = (rng.random(len(features)) < probabilities).astype(float)
    found = logistic_regression(features, labels, np.ones(len(labels)))
    np.testing.assert_allclose(found, [-0.5, 2.0, -1.0], atol=0.06)


def test_what_is_fixed_is_not_fitted() -> None:
    """With one feature's part given, the others find their weights beside it."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(50_000, 2))
    labels = (rng.random(len(features)) < 1 / (1 + np.exp(-(features @ [2.0, -1.0])))).astype(float)
    found = logistic_regression(features[:, :1], labels, np.ones(len(labels)), -features[:, 1])
    np.testing.assert_allclose(found, [0.0, 2.0], atol=0.06)


def test_separable_labels_have_a_solution() -> None:
    """Labels that a feature tells apart give finite weights."""
    features = np.array([[-1.0], [-2.0], [1.0], [2.0]])
    found = logistic_regression(features, np.array([0.0, 0, 1, 1]), np.ones(4))
    assert np.isfinite(found).all()
    assert found[1] > 1
