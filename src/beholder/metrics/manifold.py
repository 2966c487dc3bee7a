"""Whether painted pictures look like real ones, and whether they show all that real ones do: two questions that one
distance of sets mixes."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

_ROWS_AT_ONCE = 512


def precision_recall(
    real: Float[np.ndarray, "n D"], painted: Float[np.ndarray, "m D"], k: int = 3
) -> tuple[float, float]:
    """Share of painted pictures that lie among the real ones, and share of real ones that lie among the painted
    (Kynkäänniemi et al. 2019, arXiv 1904.06991).

    A set is the union of balls around its members that reach to their k-th nearest neighbour; as published k is 3 and
    both sets are of one size. Both sets need more than k rows.
    """
    return _share_within(painted, real, k), _share_within(real, painted, k)


def nearest_distances(
    rows: Float[np.ndarray, "n D"], others: Float[np.ndarray, "m D"]
) -> tuple[np.ndarray, np.ndarray]:
    """Place of each row's nearest one of the others, and its distance."""
    places, distances = [], []
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        far = _distances(rows[first : first + _ROWS_AT_ONCE], others)
        places.append(far.argmin(1))
        distances.append(far.min(1))
    return np.concatenate(places), np.concatenate(distances)


def _share_within(rows: np.ndarray, members: np.ndarray, k: int) -> float:
    assert len(members) > k, f"{len(members)} members have no {k}rd neighbour"
    radii = np.concatenate([  # each is its own 0th neighbour
        np.partition(_distances(members[first : first + _ROWS_AT_ONCE], members), k, axis=1)[:, k]
        for first in range(0, len(members), _ROWS_AT_ONCE)
    ])  # fmt: skip
    inside = [
        (_distances(rows[first : first + _ROWS_AT_ONCE], members) <= radii).any(1)
        for first in range(0, len(rows), _ROWS_AT_ONCE)
    ]
    return float(np.concatenate(inside).mean())


def _distances(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Euclidean, n m."""
    one, two = np.asarray(rows, np.float64), np.asarray(others, np.float64)
    squares = (one**2).sum(1)[:, None] + (two**2).sum(1)[None] - 2 * one @ two.T
    return np.sqrt(np.maximum(squares, 0.0))
