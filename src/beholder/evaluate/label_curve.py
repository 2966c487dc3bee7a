"""How good each way of learning gets with how many labels; it is given `fit(train) -> predict` and knows no model.

Every arm sees the same folds, seeds and (unless it picks its own) the same labelled images, so that arms differ by
nothing but themselves. Predictions are kept, not scores: the verdict resamples them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from beholder.metrics.classification import SCORES
from beholder.runtime.seed import derive, numpy_generator
from beholder.types import UserError

FRACTIONS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0)

Predict = Callable[[Int[np.ndarray, " t"]], Float[np.ndarray, "t C"]]
"""Image numbers -> probabilities over all C classes; a class that was never seen in training gets 0."""
Fit = Callable[[Int[np.ndarray, " m"], int, int], Predict]
"""(labelled image numbers, fold, seed) -> predict; the fold tells which features may be used. Must cope with missing
classes: a picked subset may lack some."""
Pick = Callable[[Int[np.ndarray, " p"], int, int, int], Int[np.ndarray, " count"]]
"""(pool of image numbers, count, fold, seed) -> `count` distinct ones of the pool worth a label; sees no labels."""
OnStep = Callable[[int, int, str], None]
"""(fits done, fits in all, what was fitted), called after each fit."""
Key = tuple[str, int, float, int]
"""Arm, fold, fraction, label seed."""


@dataclass(frozen=True)
class Fold:
    """One split into images that may be labelled and images that judge; no group stands in both."""

    train: Int[np.ndarray, " p"]
    test: Int[np.ndarray, " t"]


@dataclass(frozen=True)
class Arm:
    """One way of learning from labels."""

    name: str
    title: str
    """For people, such as "adapted + picked labels"."""
    kind: str
    """"trivial", "last layer", "generic" or "adapted"."""
    fit: Fit
    pick: Pick | None = None
    """Chooses the labelled images; None: the stratified random subset that all such arms share."""
    is_random: bool = False
    """The fit depends on its seed, so that even with all labels every seed is worth running."""


@dataclass(frozen=True)
class LeftOut:
    """A fraction or a fold that could not be measured, and why."""

    fraction: float | None
    fold: int | None
    reason: str


@dataclass(frozen=True)
class Curve:
    """Predictions of all arms on all test parts, and what is needed to score them again under other weights."""

    arms: tuple[Arm, ...]
    labels: Int[np.ndarray, " n"]
    groups: Int[np.ndarray, " n"]
    folds: tuple[Fold, ...]
    """All folds that were given; the keys of `predictions` count in them."""
    used_folds: tuple[int, ...]
    fractions: tuple[float, ...]
    """Those measured, ascending."""
    counts: tuple[int, ...]
    """Labelled images at each fraction, mean over folds."""
    left_out: tuple[LeftOut, ...]
    num_seeds: int
    metric: str
    predictions: dict[Key, Float[np.ndarray, "t C"]]

    def arm(self, name: str) -> Arm:
        return next(arm for arm in self.arms if arm.name == name)

    def num_seeds_at(self, arm: Arm, fraction: float) -> int:
        """Label seeds run: one where nothing depends on the seed."""
        return 1 if fraction == 1 and not arm.is_random else self.num_seeds


def label_curve(
    arms: Sequence[Arm],
    labels: Int[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
    folds: Sequence[Fold],
    *,
    fractions: Sequence[float] = FRACTIONS,
    num_seeds: int = 5,
    metric: str = "auc",
    seed: int = 0,
    on_step: OnStep | None = None,
    cache: MutableMapping[Key, np.ndarray] | None = None,
) -> Curve:
    """Fit every arm on every (fold, fraction, label seed) and keep its predictions of the test part.

    `labels` are 0..C-1, -1 for images that stand in no fold; a fraction is a share of a fold's train part. Fractions
    that leave fewer labels than classes and folds that lack a class are left out with the reason. A `cache` that the
    caller persists lets a killed run go on: what it holds is not fitted again. Raises UserError when no fold or
    fraction can be measured, or a fold's train and test parts share a group.
    """
    _refuse_nonsense(arms, labels, groups, folds, fractions, metric)
    used_folds, folds_left_out = _usable_folds(labels, folds)
    pool_sizes = [len(folds[k].train) for k in used_folds]
    measured, fractions_left_out = _usable_fractions(fractions, min(pool_sizes), int(labels.max()) + 1)
    curve = Curve(
        tuple(arms), labels, groups, tuple(folds), used_folds, measured,
        tuple(round(float(np.mean([_count(f, size) for size in pool_sizes]))) for f in measured),
        folds_left_out + fractions_left_out, num_seeds, metric, {},
    )  # fmt: skip
    steps = list(_steps(curve))
    for done, (arm, fold, fraction, label_seed) in enumerate(steps, start=1):
        key = (arm.name, fold, fraction, label_seed)
        predicted = None if cache is None else cache.get(key)
        if predicted is None:
            predicted = _fit_and_predict(curve, arm, fold, fraction, label_seed, seed)
            if cache is not None:
                cache[key] = predicted
        curve.predictions[key] = predicted
        if on_step is not None:
            on_step(done, len(steps), f"{arm.title}, {fraction:.0%} of labels")
    return curve


def random_subset(
    labels: Int[np.ndarray, " n"], pool: Int[np.ndarray, " p"], count: int, generator: np.random.Generator
) -> Int[np.ndarray, " count"]:
    """`count` of the pool, stratified, at least one of each class; subsets of equally seeded generators are nested.

    One order of the pool is drawn: first one image of each class, then each class spread evenly over the rest.
    """
    shuffled = generator.permutation(pool)
    place = np.empty(len(pool))
    for label in np.unique(labels[pool]):
        members = np.flatnonzero(labels[shuffled] == label)
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
        place[members[0]] = -1.0
    return shuffled[np.argsort(place, kind="stable")[:count]]


def _fit_and_predict(
    curve: Curve, arm: Arm, fold: int, fraction: float, label_seed: int, seed: int
) -> Float[np.ndarray, "t C"]:
    pool, test = curve.folds[fold].train, curve.folds[fold].test
    count = _count(fraction, len(pool))
    if count == len(pool):
        labelled = np.sort(pool)
    elif arm.pick is None:
        labelled = random_subset(curve.labels, pool, count, numpy_generator(seed, "labels", fold, label_seed))
    else:
        labelled = np.asarray(arm.pick(pool, count, fold, derive(seed, "pick", fold, label_seed) % 2**32))
        assert len(np.unique(labelled)) == count and np.isin(labelled, pool).all(), f"{arm.name} picked wrongly"
    predicted = np.asarray(
        arm.fit(labelled, fold, derive(seed, "fit", fold, label_seed) % 2**32)(test), dtype=np.float32
    )
    assert predicted.shape == (len(test), curve.labels.max() + 1), f"{arm.name} predicted {predicted.shape}"
    assert np.isfinite(predicted).all(), f"{arm.name} predicted values that are not finite"
    return predicted


def _steps(curve: Curve) -> Iterator[tuple[Arm, int, float, int]]:
    for fold in curve.used_folds:
        for fraction in curve.fractions:
            for arm in curve.arms:
                for label_seed in range(curve.num_seeds_at(arm, fraction)):
                    yield arm, fold, fraction, label_seed


def _count(fraction: float, pool_size: int) -> int:
    return min(pool_size, round(fraction * pool_size))


def _usable_fractions(
    fractions: Sequence[float], pool_size: int, num_classes: int
) -> tuple[tuple[float, ...], tuple[LeftOut, ...]]:
    measured, left_out = [], []
    for fraction in sorted(set(fractions)):
        count = _count(fraction, pool_size)
        if count >= num_classes:
            measured.append(fraction)
        else:
            reason = f"{fraction:.3g} of {pool_size} images are {count} labels, fewer than the {num_classes} classes"
            left_out.append(LeftOut(fraction, None, reason))
    if not measured:
        raise UserError(f"No fraction of {list(fractions)} leaves one label per class; ask for larger ones.")
    return tuple(measured), tuple(left_out)


def _usable_folds(labels: np.ndarray, folds: Sequence[Fold]) -> tuple[tuple[int, ...], tuple[LeftOut, ...]]:
    classes = np.unique(labels[labels >= 0])
    used, left_out = [], []
    for k, fold in enumerate(folds):
        missing = np.setdiff1d(classes, labels[fold.train])
        if len(missing):
            left_out.append(LeftOut(None, k, f"the train part of fold {k + 1} lacks {len(missing)} of the classes"))
        elif len(np.unique(labels[fold.test])) < 2:
            left_out.append(LeftOut(None, k, f"the test part of fold {k + 1} holds a single class"))
        else:
            used.append(k)
    if not used:
        raise UserError(
            f"No fold can be measured: {left_out[0].reason}; label more images of each class in more groups."
        )
    return tuple(used), tuple(left_out)


def _refuse_nonsense(
    arms: Sequence[Arm], labels: np.ndarray, groups: np.ndarray, folds: Sequence[Fold],
    fractions: Sequence[float], metric: str,
) -> None:  # fmt: skip
    assert len({arm.name for arm in arms}) == len(arms), "two arms share a name"
    assert len(labels) == len(groups)
    assert all((labels[part] >= 0).all() for fold in folds for part in (fold.train, fold.test)), "unlabelled images"
    for fraction in fractions:
        if not 0 < fraction <= 1:
            raise UserError(f"fractions has {fraction}: a share of the labels lies in (0, 1]; write 0.1 for 10 %.")
    if metric not in SCORES:
        raise UserError(f"metric={metric!r}: not a score; choose one of {', '.join(SCORES)}.")
    for k, fold in enumerate(folds):
        shared = np.intersect1d(groups[fold.train], groups[fold.test])
        if len(shared):
            raise UserError(
                f"Fold {k + 1}: {len(shared)} group(s) stand in both train and test, so the score would flatter; "
                "keep each group on one side."
            )
