"""Whether a set of pictures looks like another one, and whether it has all that the other one has (precision and recall
of samples: Kynkäänniemi et al. 2019, arXiv 1904.06991)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

NUM_NEIGHBOURS = 3
"""How many neighbours the ball around each picture reaches, as published."""
_ROWS_AT_ONCE = 512


@dataclass(frozen=True)
class Coverage:
    """Shares from 0 to 1."""

    precision: float
    """Of the samples, those that lie within the balls around the true ones: they look like true ones."""
    recall: float
    """Of the true ones, those that lie within the balls around the samples: the samples have such ones."""


def coverage(
    true: Float[np.ndarray, "n D"], samples: Float[np.ndarray, "m D"], num_neighbours: int = NUM_NEIGHBOURS
) -> Coverage:
    """Between two sets of features, of about equally many rows: both shares grow with the set whose balls they count.
    Each set has more rows than `num_neighbours`."""
    assert min(len(true), len(samples)) > num_neighbours, (len(true), len(samples), num_neighbours)
    return Coverage(_share_within(true, samples, num_neighbours), _share_within(samples, true, num_neighbours))


def _share_within(centres: np.ndarray, rows: np.ndarray, num_neighbours: int) -> float:
    """Of the rows, those within the ball around any of the centres, which reaches its own neighbour of that number."""
    own = _distances(centres, centres)
    radius = np.sort(own, axis=1)[:, num_neighbours]  # the nearest is the centre itself
    is_within = [
        (_distances(rows[first : first + _ROWS_AT_ONCE], centres) <= radius).any(1)
        for first in range(0, len(rows), _ROWS_AT_ONCE)
    ]
    return float(np.concatenate(is_within).mean())


def _distances(rows: np.ndarray, others: np.ndarray) -> Float[np.ndarray, "n m"]:
    one, two = np.asarray(rows, np.float64), np.asarray(others, np.float64)
    squared = (one**2).sum(1)[:, None] + (two**2).sum(1)[None] - 2 * one @ two.T
    return np.sqrt(squared.clip(0))
