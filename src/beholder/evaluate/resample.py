"""Scores of a curve again and again under redrawn test groups: what another draw of groups would have said.

The group is the unit, since images of one group err together. One draw of group weights serves all arms, folds,
fractions and seeds, so that what arms share cancels in their differences.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from beholder.evaluate.label_curve import Curve
from beholder.metrics.classification import SCORES
from beholder.runtime.seed import numpy_generator

MAX_UNITS = 2000
"""More groups than these are joined at random into so many blocks: the error is the same, the memory is not."""
_WEIGHTS_AT_ONCE = 4_000_000
_NUM_DRAWS = 2000


@dataclass(frozen=True)
class Units:
    """What is redrawn: the groups of the test parts, or blocks of them."""

    of_image: Int[np.ndarray, " n"]
    """Unit of each image; -1 for images that stand in no test part."""
    num_units: int
    num_effective: float
    """Units that count: fewer than there are when a few hold most images (Kish 1965), and no more than hold the rarest
    class, except for accuracy, which does not weigh classes."""


@dataclass(frozen=True)
class ArmLine:
    """One line of the label-efficiency chart; values stand in the order of the curve's fractions."""

    name: str
    title: str
    kind: str
    picked: bool
    values: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def units_of(curve: Curve, seed: int = 0) -> Units:
    """The test groups of all used folds as units 0..num_units-1."""
    tested = np.unique(np.concatenate([curve.folds[k].test for k in curve.used_folds]))
    _, unit = np.unique(curve.groups[tested], return_inverse=True)
    if unit.max() >= MAX_UNITS:
        order = numpy_generator(seed, "blocks").permutation(unit.max() + 1)
        unit = order[unit] % MAX_UNITS
    sizes = np.bincount(unit).astype(float)
    num_effective = float(sizes.sum() ** 2 / (sizes**2).sum())
    if curve.metric != "accuracy":
        tested_labels = curve.labels[tested]
        holding = [len(np.unique(unit[tested_labels == c])) for c in np.unique(tested_labels)]
        num_effective = min(num_effective, float(min(holding)))
    of_image = np.full(len(curve.labels), -1)
    of_image[tested] = unit
    return Units(of_image, len(sizes), num_effective)


def unit_weights(num_units: int, num_resamples: int, seed: int) -> Float[np.ndarray, "R U"]:
    """How often each unit was drawn when `num_units` of them are drawn with replacement, R times."""
    generator = numpy_generator(seed, "resample", num_units)
    return generator.multinomial(num_units, np.full(num_units, 1 / num_units), size=num_resamples).astype(float)


def mean_interval(values: Float[np.ndarray, " n"], generator: np.random.Generator) -> list[float]:
    """95 % interval of the mean under redrawn values."""
    return _interval(values, np.ones(len(values)), generator)


def grouped_interval(
    values: Float[np.ndarray, " n"], groups: Int[np.ndarray, " n"], generator: np.random.Generator
) -> list[float] | None:
    """The same where those of one group, which err together, are drawn together. None where all are of one: nobody
    knows then how another one would have done."""
    units = np.unique(groups, return_inverse=True)[1]
    counts = np.bincount(units)
    return _interval(np.bincount(units, values), counts, generator) if len(counts) > 1 else None


def _interval(sums: np.ndarray, counts: np.ndarray, generator: np.random.Generator) -> list[float]:
    drawn = generator.integers(0, len(counts), (_NUM_DRAWS, len(counts)))
    low, high = np.percentile(sums[drawn].sum(1) / counts[drawn].sum(1), [2.5, 97.5])
    return [float(low), float(high)]


def point_scores(curve: Curve, arm_name: str) -> Float[np.ndarray, "F K S"]:
    """The plain score of every fit: fraction, used fold, label seed; repeated where one seed stands for all."""
    arm = curve.arm(arm_name)
    scores = np.empty((len(curve.fractions), len(curve.used_folds), curve.num_seeds))
    for f, fraction in enumerate(curve.fractions):
        for k, fold in enumerate(curve.used_folds):
            every = np.ones((1, len(curve.folds[fold].test)))
            seeds = range(curve.num_seeds_at(arm, fraction))
            scores[f, k] = [_score(curve, (arm_name, fold, fraction, s), every)[0] for s in seeds] * (
                curve.num_seeds // len(seeds)
            )
    return scores


def resampled_scores(
    curve: Curve, arm_name: str, units: Units, weights: Float[np.ndarray, "R U"]
) -> Float[np.ndarray, "F K R"]:
    """Scores under each row of unit weights, mean over label seeds; NaN where a fold's classes were not drawn."""
    arm = curve.arm(arm_name)
    scores = np.zeros((len(curve.fractions), len(curve.used_folds), len(weights)))
    for k, fold in enumerate(curve.used_folds):
        unit = units.of_image[curve.folds[fold].test]
        rows = max(1, _WEIGHTS_AT_ONCE // len(unit))
        for start in range(0, len(weights), rows):
            chunk = slice(start, start + rows)
            image_weights = weights[chunk][:, unit]  # R t
            for f, fraction in enumerate(curve.fractions):
                seeds = range(curve.num_seeds_at(arm, fraction))
                draws = [_score(curve, (arm_name, fold, fraction, s), image_weights) for s in seeds]
                scores[f, k, chunk] = np.mean(draws, axis=0)
    return scores


def arm_lines(curve: Curve, *, num_resamples: int = 1000, seed: int = 0) -> tuple[ArmLine, ...]:
    """Every arm's scores and bands, mean over folds and seeds; bands are 95 % percentiles over redrawn test groups."""
    units = units_of(curve, seed)
    weights = unit_weights(units.num_units, num_resamples, seed)
    lines = []
    for arm in curve.arms:
        values = point_scores(curve, arm.name).mean((1, 2))
        draws = mean_over_folds(resampled_scores(curve, arm.name, units, weights))
        low, high = np.nanpercentile(draws, [2.5, 97.5], axis=1)
        ends = (tuple(values.tolist()), tuple(low.tolist()), tuple(high.tolist()))
        lines.append(ArmLine(arm.name, arm.title, arm.kind, arm.pick is not None, *ends))
    return tuple(lines)


def mean_over_folds(scores: Float[np.ndarray, "F K R"]) -> Float[np.ndarray, "F R"]:
    """Mean over the folds that are not NaN; NaN where all are."""
    present = ~np.isnan(scores)
    num_present = present.sum(1)
    total = np.where(present, scores, 0.0).sum(1)
    return np.divide(total, num_present, out=np.full(total.shape, np.nan), where=num_present > 0)


def _score(curve: Curve, key: tuple[str, int, float, int], weights: np.ndarray) -> np.ndarray:
    labels = curve.labels[curve.folds[key[1]].test]
    return SCORES[curve.metric](curve.predictions[key], labels, weights)
