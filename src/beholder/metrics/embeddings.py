"""The health of an embedding without a task: how many directions it uses, whose neighbours it keeps together."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from sklearn.neighbors import KNeighborsClassifier

_ROWS_AT_ONCE = 1024


def effective_rank(features: Float[np.ndarray, "n D"]) -> float:
    """Number of directions in use, from 1 (collapsed) to min(n - 1, D): exp of the entropy of covariance eigenvalues.

    Roy and Vetterli 2007; as a label-free measure of pretraining, Garrido et al. 2022 (RankMe, arXiv 2210.02885), who
    take singular values of the uncentred matrix instead. Features that are all equal have rank 1.
    """
    centred = features.astype(np.float64) - features.mean(0, dtype=np.float64)
    variances = np.linalg.svd(centred, compute_uv=False) ** 2
    if not variances.sum() > 0:
        return 1.0
    shares = variances / variances.sum()
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def knn_accuracy(
    train: Float[np.ndarray, "n D"],
    train_labels: Int[np.ndarray, " n"],
    test: Float[np.ndarray, "m D"],
    test_labels: Int[np.ndarray, " m"],
    k: int = 20,
) -> float:
    """Share of test items whose k nearest train items by cosine vote for their label, in [0, 1]; k is at most n."""
    voters = KNeighborsClassifier(min(k, len(train)), metric="euclidean").fit(_unit(train), train_labels)
    return float((voters.predict(_unit(test)) == test_labels).mean())


def view_consistency(first: Float[np.ndarray, "n D"], second: Float[np.ndarray, "n D"]) -> Float[np.ndarray, " n"]:
    """How well each image's own second view is found among all second views by cosine, and the reverse.

    Per image the mean reciprocal rank of the two directions, in (0, 1]; 1 when the own view is the nearest. Ties share
    their ranks, so that a collapsed embedding does not look perfect.
    """
    a, b = _unit(first), _unit(second)
    return (_reciprocal_ranks(a, b) + _reciprocal_ranks(b, a)) / 2


def _reciprocal_ranks(queries: np.ndarray, items: np.ndarray) -> Float[np.ndarray, " n"]:
    ranks = np.empty(len(queries))
    for start in range(0, len(queries), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        similarity = queries[rows] @ items.T
        own = np.take_along_axis(similarity, np.arange(len(queries))[rows, None], axis=1)
        tolerance = (
            1e-9  # far above the rounding of float64 unit vectors, far below any difference that means something
        )
        more = (similarity > own + tolerance).sum(1)
        equal = (np.abs(similarity - own) <= tolerance).sum(1) - 1
        ranks[rows] = 1 + more + equal / 2
    return 1 / ranks


def _unit(features: np.ndarray) -> np.ndarray:
    """Rows of length 1 in float64; zero rows stay zero."""
    wide = features.astype(np.float64)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), np.finfo(np.float64).tiny)
