"""Errors of class probabilities where smaller is better, each computed for many weightings of the images at once."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from beholder.metrics.classification import Score

NUM_BINS = 15


def log_loss(
    probabilities: Float[np.ndarray, "n C"], labels: Int[np.ndarray, " n"], weights: Float[np.ndarray, "R n"]
) -> Float[np.ndarray, " R"]:
    """Mean negative logarithm of the label's probability, in nats; a probability is at least float32's step, 1.2e-7."""
    of_label = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    losses = -np.log(np.clip(of_label, np.finfo(np.float32).eps, 1.0))
    return weights @ losses / weights.sum(1)


def brier(
    probabilities: Float[np.ndarray, "n C"], labels: Int[np.ndarray, " n"], weights: Float[np.ndarray, "R n"]
) -> Float[np.ndarray, " R"]:
    """Mean squared distance of the probabilities from the label's unit vector, summed over classes, in [0, 2]."""
    one_hot = np.eye(probabilities.shape[1])[labels]
    return weights @ ((probabilities - one_hot) ** 2).sum(1) / weights.sum(1)


def expected_calibration_error(
    probabilities: Float[np.ndarray, "n C"], labels: Int[np.ndarray, " n"], weights: Float[np.ndarray, "R n"]
) -> Float[np.ndarray, " R"]:
    """Mean gap between confidence and accuracy over 15 equal bins of confidence, in [0, 1].

    Naeini et al. 2015; Guo et al. 2017, arXiv 1706.04599.
    """
    confidence = probabilities.max(1).astype(np.float64)
    gap = (probabilities.argmax(1) == labels) - confidence  # n
    bins = np.clip(np.ceil(confidence * NUM_BINS).astype(int) - 1, 0, NUM_BINS - 1)
    in_bin = np.eye(NUM_BINS)[bins]  # n bins
    return np.abs(weights @ (in_bin * gap[:, None])).sum(1) / weights.sum(1)


ERRORS: dict[str, Score] = {
    "log_loss": log_loss,
    "brier": brier,
    "expected_calibration_error": expected_calibration_error,
}
"""Errors by name."""
