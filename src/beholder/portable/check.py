"""What an export says beside what the original says, of the same pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from beholder.backends.outputs import Precision
from beholder.portable.exportable import DISTANCE, PROBABILITIES

MAY_DIFFER: dict[Precision, float] = {"fp32": 0.01, "bf16": 0.1, "int8": 0.25}
"""How far outputs may lie from the original's: the length of the difference over their length, of the output where it
is largest. In fp32 it is pictures, resampled in another order, that differ by a grey level."""
MAY_LOSE = 0.5
"""Points of accuracy."""

Said = Mapping[str, np.ndarray]
"""Outputs by name, a row a picture."""


@dataclass(frozen=True)
class Comparison:
    """How two models differ on the same pictures."""

    distances: dict[str, float]
    """By output."""
    num_pictures: int
    num_other_class: int | None
    """Pictures that get another class; None for a model without classes."""
    num_other_unusual: int | None
    """Pictures that are unusual for one and not for the other; None for a model that does not know what is usual."""
    was_right: Bool[np.ndarray, " n"] | None
    """Of the pictures with a label, whether the original's class is right; None without labels."""
    is_right: Bool[np.ndarray, " n"] | None

    @property
    def distance(self) -> float:
        return max(self.distances.values())

    @property
    def accuracies(self) -> tuple[float, float] | None:
        """Before and after, in [0, 1]."""
        if self.was_right is None or self.is_right is None:
            return None
        return float(self.was_right.mean()), float(self.is_right.mean())

    @property
    def points_lost(self) -> float | None:
        """Of accuracy; below zero where the export is right more often."""
        return None if self.accuracies is None else 100 * (self.accuracies[0] - self.accuracies[1])


def compare(
    original: Said,
    export: Said,
    threshold: float | None,
    classes: Sequence[int | None] | None = None,
    own_threshold: float | None = None,
) -> Comparison:
    """`classes` are what is right, by number; None for pictures without a label. `own_threshold` of the unusual is the
    second model's, where it is another."""
    distances = {name: _relative(np.asarray(export[name]), np.asarray(original[name])) for name in original}
    num_other_class = num_other_unusual = None
    if PROBABILITIES in original:
        num_other_class = int((original[PROBABILITIES].argmax(1) != export[PROBABILITIES].argmax(1)).sum())
    if DISTANCE in original and threshold is not None:
        own = threshold if own_threshold is None else own_threshold
        num_other_unusual = int(((original[DISTANCE] > threshold) != (export[DISTANCE] > own)).sum())
    was_right = is_right = None
    if classes is not None and PROBABILITIES in original:
        known = np.array([one is not None for one in classes])
        right = np.array([one for one in classes if one is not None])
        was_right, is_right = (one[PROBABILITIES][known].argmax(1) == right for one in (original, export))
    num_pictures = len(next(iter(original.values())))
    return Comparison(distances, num_pictures, num_other_class, num_other_unusual, was_right, is_right)


def _relative(found: Float[np.ndarray, "n ..."], expected: Float[np.ndarray, "n ..."]) -> float:
    length = float(np.linalg.norm(expected.astype(np.float64)))
    return float(np.linalg.norm(found.astype(np.float64) - expected)) / max(length, np.finfo(np.float64).tiny)
