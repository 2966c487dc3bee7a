"""Scores of class probabilities where larger is better, each computed for many weightings of the images at once.

A row of `weights` says how often each image counts: all ones for the plain score, the draws of a bootstrap for its
error. So an interval costs one call and no loop.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

Score = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""(probabilities n C, labels n, weights R n) -> R scores."""


def weighted_auc(
    scores: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"], weights: Float[np.ndarray, "R n"]
) -> Float[np.ndarray, " R"]:
    """Area under the ROC curve per row of weights, in [0, 1]; ties count half; NaN where a class has no weight.

    The Mann-Whitney form: the weight of (positive, negative) pairs that are ordered rightly.
    """
    order = np.argsort(scores[~positive], kind="stable")
    negative_scores = scores[~positive][order]
    below = np.zeros((len(weights), len(order) + 1))  # R n+1: weight of the k lowest negatives
    np.cumsum(weights[:, ~positive][:, order], axis=1, out=below[:, 1:])
    less = np.searchsorted(negative_scores, scores[positive], side="left")
    not_more = np.searchsorted(negative_scores, scores[positive], side="right")
    positive_weights = weights[:, positive]
    won = np.einsum("rp,rp->r", positive_weights, below[:, less])
    if (less != not_more).any():
        won = (won + np.einsum("rp,rp->r", positive_weights, below[:, not_more])) / 2
    return _ratio(won, positive_weights.sum(1) * below[:, -1])


def auc(
    probabilities: Float[np.ndarray, "n C"], labels: Int[np.ndarray, " n"], weights: Float[np.ndarray, "R n"]
) -> Float[np.ndarray, " R"]:
    """AUC of the second of two classes; with more, the mean of one-versus-rest over the classes that are present."""
    if probabilities.shape[1] == 2:
        return weighted_auc(probabilities[:, 1], labels == 1, weights)
    areas = [weighted_auc(probabilities[:, c], labels == c, weights) for c in np.unique(labels)]
    return _mean_of_present(np.stack(areas))


def accuracy(
    probabilities: Float[np.ndarray, "n C"], labels: Int[np.ndarray, " n"], weights: Float[np.ndarray, "R n"]
) -> Float[np.ndarray, " R"]:
    """Share of the weight whose most probable class is the label, in [0, 1]."""
    is_right = probabilities.argmax(1) == labels
    return _ratio(weights @ is_right, weights.sum(1))


def balanced_accuracy(
    probabilities: Float[np.ndarray, "n C"], labels: Int[np.ndarray, " n"], weights: Float[np.ndarray, "R n"]
) -> Float[np.ndarray, " R"]:
    """Mean of the classes' recalls over the classes that have weight, in [0, 1]."""
    is_right = probabilities.argmax(1) == labels
    recalls = [_ratio(weights @ (is_right & (labels == c)), weights @ (labels == c)) for c in np.unique(labels)]
    return _mean_of_present(np.stack(recalls))


def macro_f1(
    probabilities: Float[np.ndarray, "n C"], labels: Int[np.ndarray, " n"], weights: Float[np.ndarray, "R n"]
) -> Float[np.ndarray, " R"]:
    """Mean F1 over the classes that occur among labels or predictions, in [0, 1]."""
    predicted = probabilities.argmax(1)
    scores = []
    for c in np.union1d(labels, predicted):
        both = weights @ ((predicted == c) & (labels == c))
        scores.append(_ratio(2 * both, weights @ (predicted == c) + weights @ (labels == c)))
    return _mean_of_present(np.stack(scores))


def confusion(
    labels: Int[np.ndarray, " n"], predicted: Int[np.ndarray, " n"], num_classes: int
) -> Int[np.ndarray, "C C"]:
    """Counts: row = true class, column = predicted class."""
    table = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(table, (labels, predicted), 1)
    return table


SCORES: dict[str, Score] = {
    "auc": auc,
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "macro_f1": macro_f1,
}
"""The scores a curve and a verdict can be drawn in; the project's default is "auc"."""


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, NaN where the whole is nothing."""
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _mean_of_present(per_class: Float[np.ndarray, "C R"]) -> Float[np.ndarray, " R"]:
    """Mean over the classes that are not NaN; NaN where all are."""
    present = ~np.isnan(per_class)
    return _ratio(np.where(present, per_class, 0.0).sum(0), present.sum(0).astype(float))
