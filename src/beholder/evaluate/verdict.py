"""Did a change help, hurt, or make no difference that this data could show: one number, one interval, one sentence.

The number is fixed beforehand, so nothing is picked from many: the difference of two arms' scores, mean over all
measured fractions, folds and label seeds. Its variance has three parts:

- test groups: a paired bootstrap of the groups (Field and Welsh 2007), times G / (G - 1), where G counts the groups
  that weigh (Kish 1965) and is no more than hold the rarest class;
- which images were labelled: the variance between label seeds, over the number of seeds and folds;
- which images could be labelled at all. Every seed draws from the same pool, so no average over seeds removes this,
  and no bootstrap of test groups sees it. By sampling without replacement the variance between seeds at fraction f is
  (1 - f) of an independent set's, hence f / (1 - f) times it is the pool's part. Folds share it as their pools overlap.

An arm that picks its labels repeats nearly the same pick under every seed, so its luck is one draw however many seeds
there are; a random arm tells how large such a draw is. Arms with the same fit are served alike by the pool.

Measured by benchmarks/verdict_error_rates.py, 300 planted sets of each kind, five label seeds (a rate of 2.5 % is
known to about 0.9 points):

- nothing to find: "helped" 1.4 %, "hurt" 1.0 % (with two label seeds, 200 sets: 1.5 % and 0 %); a rotated copy: 0.3 %
  and 0 %; a pick that knows nothing: 0.3 % and 0.7 %;
- true gains: the interval covers the truth in 96.6 %, "hurt" 0.3 %; true losses: 98.0 %, "helped" 0 %;
- gains of 0.8 to 1.25 times the smallest gain told were called in 74 % (losses 78 %), of 1.25 to 2 times in 92 %
  (losses 100 %).

So it errs on the careful side. Tried on 600 other sets with nothing to find, before those were drawn and without the
cap by the rarest class; false calls and mean half width in points: test groups alone 8.0 %, 5.1; with the variance
between seeds 6.7 %, 5.3; with the pool's part over the number of folds 4.5 %, 6.0, but 6.0 to 6.5 % with several
folds; the larger of groups and seeds or the corrected variance of folds (Nadeau and Bengio 2003) 4.0 %, 6.0, but 5.5 %
with four folds; this one 2.7 %, 6.6, at most 4.5 % under each protocol; the larger of this one and the variance of
folds 2.2 %, 6.9.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import t as student

from beholder.evaluate.label_curve import Curve
from beholder.evaluate.resample import mean_over_folds, point_scores, resampled_scores, unit_weights, units_of

MIN_GROUPS = 5
"""With fewer test groups the error itself is unknown, and no interval is honest."""
MIN_EFFECTIVE = 1.5
"""Below, all but everything hangs on one group."""
METRIC_NAMES = {
    "auc": "AUC",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
}

Outcome = Literal["helped", "hurt", "no difference", "not judged"]


@dataclass(frozen=True)
class FractionDifference:
    """The difference at one fraction of labels: told beside the verdict, not judged by itself."""

    fraction: float
    count: int
    """Labelled images, mean over folds."""
    difference: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Verdict:
    """Candidate minus reference in units of the score (0.01 is one point)."""

    outcome: Outcome
    sentence: str
    metric: str
    num_groups: int
    """Test groups, over all folds."""
    difference: float | None = None
    interval: tuple[float, float] | None = None
    """95 %, two-sided."""
    smallest_gain: float | None = None
    """The true gain that data like this would call "helped" four times in five."""
    per_fraction: tuple[FractionDifference, ...] = ()
    standard_errors: tuple[float, float, float] | None = None
    """Of test groups, of the labelled subset, of the pool of labels: their squares add up."""


@dataclass(frozen=True)
class _Spread:
    """The parts of a difference's variance and the degrees of freedom of their sum."""

    groups: float
    subset: float
    pool: float
    freedom: float

    def half_width(self, probability: float) -> float:
        return float(student.ppf(probability, self.freedom)) * (self.groups + self.subset + self.pool) ** 0.5


@dataclass(frozen=True)
class _Measured:
    """Everything a spread is computed from, for one pair of arms."""

    reference: Float[np.ndarray, "F K S"]
    candidate: Float[np.ndarray, "F K S"]
    draws: Float[np.ndarray, "F R"]
    """Differences under redrawn test groups, without the draws that lack a class in every fold."""
    fractions: Float[np.ndarray, " F"]
    num_effective: float
    pool_overlap: float
    """Correlation of the folds' pools; 0 where both arms make the same of a pool."""
    picked_luck: Float[np.ndarray, "F K S"] | None
    """Scores of a random arm, where an arm picks."""


def judge(
    curve: Curve,
    reference: str,
    candidate: str,
    *,
    change: str = "adapting",
    num_resamples: int = 1000,
    seed: int = 0,
) -> Verdict:
    """Compare two arms of a curve; `change` names in the sentence what the candidate does that the reference does not.

    "not judged" with the reason and the remedy when there are fewer than five test groups, when a class stands in one
    of them only, or when the luck of labelling cannot be seen.
    """
    units = units_of(curve, seed)
    metric = METRIC_NAMES[curve.metric]
    num_groups = len(np.unique(curve.groups[units.of_image >= 0]))
    pair = (reference, candidate)
    reason = _why_not_judged(curve, pair, units.num_effective, num_groups)
    if reason is not None:
        return Verdict("not judged", f"Not judged: {reason}.", metric, num_groups)
    weights = unit_weights(units.num_units, num_resamples, seed)
    draws = resampled_scores(curve, candidate, units, weights) - resampled_scores(curve, reference, units, weights)
    draws = mean_over_folds(draws)
    measured = _Measured(
        point_scores(curve, reference), point_scores(curve, candidate), draws[:, np.isfinite(draws).all(0)],
        np.array(curve.fractions), units.num_effective, _pool_overlap(curve, pair), _picked_luck(curve, pair),
    )  # fmt: skip
    return _judge_measured(curve, measured, metric, num_groups, change)


def _judge_measured(curve: Curve, measured: _Measured, metric: str, num_groups: int, change: str) -> Verdict:
    difference, spread = _difference(measured, np.ones(len(curve.fractions), dtype=bool))
    half = spread.half_width(0.975)
    low, high = difference - half, difference + half
    outcome: Outcome = "helped" if low > 0 else "hurt" if high < 0 else "no difference"
    smallest_gain = half + spread.half_width(0.8)
    per_fraction = []
    for f, (fraction, count) in enumerate(zip(curve.fractions, curve.counts, strict=True)):
        here, around = _difference(measured, np.arange(len(curve.fractions)) == f)
        margin = around.half_width(0.975)
        per_fraction.append(FractionDifference(fraction, count, here, (here - margin, here + margin)))
    return Verdict(
        outcome, _sentence(outcome, change, metric, difference, (low, high), smallest_gain), metric, num_groups,
        difference, (low, high), smallest_gain, tuple(per_fraction),
        (spread.groups**0.5, spread.subset**0.5, spread.pool**0.5),
    )  # fmt: skip


def _difference(measured: _Measured, chosen: Bool[np.ndarray, " F"]) -> tuple[float, _Spread]:
    """Mean difference over the chosen fractions, and its spread."""
    between = measured.candidate - measured.reference  # F K S
    num_folds, num_seeds = between.shape[1:]
    most = measured.num_effective - 1
    groups = float(measured.draws[chosen].mean(0).var(ddof=1)) * measured.num_effective / most
    subset = float(between[chosen].mean(0).var(axis=1, ddof=1).mean()) / (num_seeds * num_folds)
    if measured.picked_luck is not None:
        subset += float(measured.picked_luck[chosen].mean(0).var(axis=1, ddof=1).mean()) / num_folds
    pool = measured.pool_overlap * float(_pool_variance(between, measured.fractions)[chosen].mean())
    total, luck = groups + subset + pool, subset + pool
    freedom = most
    if total > 0:  # Satterthwaite 1946
        freedom = min(most, total**2 / (groups**2 / most + luck**2 / (num_folds * (num_seeds - 1))))
    return float(between[chosen].mean()), _Spread(groups, subset, pool, freedom)


def _pool_variance(between: Float[np.ndarray, "F K S"], fractions: Float[np.ndarray, " F"]) -> Float[np.ndarray, " F"]:
    """Variance due to the pool at each fraction; with all labels, that of the largest fraction below."""
    partial = fractions < 1
    share = fractions[partial]
    estimates = share / (1 - share) * between[partial].var(axis=2, ddof=1).mean(1)
    return np.append(estimates, estimates[-1:] if not partial.all() else [])


def _pool_overlap(curve: Curve, pair: tuple[str, str]) -> float:
    """Correlation of the folds' pools, mean over pairs of folds: 1 for one fold, more than 1/K for overlapping ones."""
    if curve.arm(pair[0]).fit is curve.arm(pair[1]).fit:
        return 0.0
    pools = np.zeros((len(curve.used_folds), len(curve.labels)))
    for row, k in zip(pools, curve.used_folds, strict=True):
        row[curve.folds[k].train] = 1 / len(curve.folds[k].train) ** 0.5
    return float((pools @ pools.T).mean())


def _picked_luck(curve: Curve, pair: Sequence[str]) -> Float[np.ndarray, "F K S"] | None:
    """Scores of the random arm that varies most between seeds, or None where no arm of the pair picks."""
    if all(curve.arm(name).pick is None for name in pair):
        return None
    scores = [point_scores(curve, arm.name) for arm in curve.arms if arm.pick is None and arm.kind != "trivial"]
    return max(scores, key=lambda arm_scores: float(arm_scores.mean(0).var(axis=1).mean()))


def _why_not_judged(curve: Curve, pair: Sequence[str], num_effective: float, num_groups: int) -> str | None:
    if num_groups < MIN_GROUPS:
        return (
            f"the score rests on {num_groups} test groups and a fair interval needs at least {MIN_GROUPS}; "
            "label images of more groups, or test on more folds"
        )
    if num_effective < MIN_EFFECTIVE:
        return (
            "almost all test images, or all of one class, stand in a single group, so chance cannot be told from "
            "change; label images of more groups"
        )
    if curve.num_seeds < 2 or min(curve.fractions) == 1:
        return (
            f"with {curve.num_seeds} label seed(s) and {min(curve.fractions):.0%} as the smallest share of labels the "
            "luck of labelling cannot be seen; measure two seeds or more and one share below 100 %"
        )
    picks = any(curve.arm(name).pick is not None for name in pair)
    if picks and all(arm.pick is not None or arm.kind == "trivial" for arm in curve.arms):
        return "no arm learns from random labels, so the luck of picking cannot be seen; add such an arm"
    return None


def _sentence(
    outcome: Outcome, change: str, metric: str, difference: float, interval: tuple[float, float], smallest_gain: float
) -> str:
    around = f"95 % interval {_points(interval[0])} to {_points(interval[1])}"
    if outcome == "helped":
        return f"Helped: {change} raised the {metric} by {100 * difference:.1f} points ({around})."
    if outcome == "hurt":
        return f"Hurt: {change} lowered the {metric} by {-100 * difference:.1f} points ({around})."
    if interval == (0.0, 0.0):
        return f"No difference: {change} left the {metric} exactly as it was."
    return (
        f"No difference: {change} changed the {metric} by {_points(difference)} points ({around}); "
        f"this data could have shown a gain of {100 * smallest_gain:.1f} points."
    )


def _points(value: float) -> str:
    return f"{round(100 * value, 1) + 0.0:+.1f}"  # never "-0.0"
