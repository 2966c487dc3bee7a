"""How many labels each arm saves: where its curve reaches the level that the reference reaches with all labels.

Curves are made monotone (isotonic regression: more labels cannot truly hurt) and read off linearly in the logarithm of
the number of labels. A level that is never reached is told as "not reached", never extrapolated; a level that is
reached with the smallest number of labels measured is told as "at least".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import isotonic_regression

from beholder.evaluate.label_curve import Curve
from beholder.evaluate.resample import mean_over_folds, point_scores, resampled_scores, unit_weights, units_of
from beholder.types import UserError

_LEAST_RATIO = 1.05
"""Below, next to nothing is saved."""
_STEPS = {
    "readout": "reading the network at several depths and resolutions",
    "adapting": "adapting it to the images",
    "picking": "picking which images to label",
}


@dataclass(frozen=True)
class Saving:
    """What one arm saves against the reference."""

    name: str
    title: str
    ratio: float | None
    """Labels that the reference needs for each one that this arm needs; above 1 saves. None: level not reached."""
    interval: tuple[float, float] | None
    """95 %, over redrawn test groups only; None where an end lies beyond what was measured."""
    count: int | None
    """Labels this arm needs for the level."""
    is_at_least: bool
    """The smallest share measured already reaches the level, so the true ratio may be larger."""
    sentence: str


@dataclass(frozen=True)
class LabelsSaved:
    """Savings of all arms, and which step of the ladder each part of the last rung's saving is owed to."""

    reference: str
    level: float
    """The reference's score with all labels."""
    rows: tuple[Saving, ...]
    shares: Mapping[str, float] | None
    """Step -> its part of the logarithm of the last rung's ratio; they add up to 1. None where the data cannot tell:
    see `_shares`."""
    sentence: str
    """What the last rung of the ladder saves, and by which steps; empty without a ladder."""


def labels_saved(
    curve: Curve,
    reference: str,
    ladder: Sequence[tuple[str, str]] = (),
    *,
    num_resamples: int = 1000,
    seed: int = 0,
) -> LabelsSaved:
    """Savings of every arm but the reference, at the level the reference reaches with all labels.

    `ladder` splits the whole saving into steps from the reference upwards, such as
    `(("readout", "generic"), ("adapting", "adapted"), ("picking", "adapted, picked"))`: each step names what is added
    and the arm that has it. Raises UserError when the curve was not measured with all labels.
    """
    if curve.fractions[-1] != 1:
        raise UserError(
            f"The largest of the fractions is {curve.fractions[-1]:g}; labels saved need 1.0, all labels, too."
        )
    shares = {arm.name: _point_curve(curve, arm.name)[None] for arm in curve.arms}  # 1 F
    level = monotone(shares[reference][:1])[:, -1]
    needed = {name: float(share_needed(scores, level, curve.fractions)[0]) for name, scores in shares.items()}
    ratios = _redrawn_ratios(curve, reference, num_resamples, seed)
    rows = tuple(
        _saving(curve, arm.name, needed[reference], needed[arm.name], ratios[arm.name])
        for arm in curve.arms
        if arm.name != reference
    )
    rungs = [row for _, name in ladder for row in rows if row.name == name]
    parts = _shares([what for what, _ in ladder], rungs)
    sentence = _ladder_sentence(curve, reference, needed[reference], rungs, parts)
    return LabelsSaved(reference, float(level[0]), rows, parts, sentence)


def _point_curve(curve: Curve, name: str) -> Float[np.ndarray, " F"]:
    return point_scores(curve, name).mean((1, 2))


def monotone(scores: Float[np.ndarray, "R F"]) -> Float[np.ndarray, "R F"]:
    """Each row's nearest one in least squares that never falls."""
    return np.array([isotonic_regression(row).x for row in scores]).reshape(scores.shape)


def share_needed(
    scores: Float[np.ndarray, "R F"], levels: Float[np.ndarray, " R"], fractions: Sequence[float]
) -> Float[np.ndarray, " R"]:
    """Smallest share of labels whose smoothed score reaches the level; infinity where none does."""
    logs = np.log(fractions)
    needed = np.full(len(scores), np.inf)
    for row, (smooth, level) in enumerate(zip(monotone(scores), levels, strict=True)):
        reached = np.flatnonzero(smooth >= level - 1e-12)
        if not len(reached):
            continue
        f = reached[0]
        if f == 0:
            needed[row] = fractions[0]
            continue
        part = (level - smooth[f - 1]) / (smooth[f] - smooth[f - 1])
        needed[row] = np.exp(logs[f - 1] + min(1.0, part) * (logs[f] - logs[f - 1]))
    return needed


def _redrawn_ratios(curve: Curve, reference: str, num_resamples: int, seed: int) -> dict[str, Float[np.ndarray, " R"]]:
    """Per arm the ratio under each redrawn set of test groups; 0 where the level is not reached."""
    units = units_of(curve, seed)
    weights = unit_weights(units.num_units, num_resamples, seed)
    scores = {arm.name: mean_over_folds(resampled_scores(curve, arm.name, units, weights)).T for arm in curve.arms}
    whole = np.isfinite(scores[reference]).all(1)
    levels = monotone(scores[reference][whole])[:, -1]
    needed = {name: share_needed(values[whole], levels, curve.fractions) for name, values in scores.items()}
    return {name: needed[reference] / shares for name, shares in needed.items()}


def _times(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.1f} to {interval[1]:.1f} times"


def _saving(curve: Curve, name: str, reference_share: float, share: float, redrawn: Float[np.ndarray, " R"]) -> Saving:
    title = curve.arm(name).title
    if np.isinf(share):
        best = f"{title} does not reach that level with all {curve.counts[-1]:,} labels."
        return Saving(name, title, None, None, None, False, best)
    ratio, count = reference_share / share, round(share * curve.counts[-1])
    is_at_least = share == curve.fractions[0]
    low, high = np.percentile(redrawn, [2.5, 97.5], method="nearest") if len(redrawn) else (0.0, 0.0)
    interval = (float(low), float(high)) if low > 0 else None
    around = f" (95 % interval {_times(interval)})" if interval else " (not reached for some draws of groups)"
    prefix = "at most " if is_at_least else ""
    if ratio > 1:
        gain = f"{'at least ' if is_at_least else ''}{ratio:.1f} times fewer{around}"
    else:
        gain = f"no fewer than the reference{around}"
    return Saving(
        name, title, ratio, interval, count, is_at_least, f"{title} needs {prefix}{count:,} labels for it, {gain}."
    )


def _shares(steps: Sequence[str], rungs: Sequence[Saving]) -> dict[str, float] | None:
    """Each step's part, or None where parts would mean nothing.

    That is so when a rung does not reach the level, or reaches it with the smallest share measured (its ratio is not
    known then), when the interval of the whole saving does not lie above 1, and when a step loses labels.
    """
    if not rungs or rungs[-1].interval is None or rungs[-1].interval[0] <= 1:
        return None
    ratios = [1.0, *(rung.ratio for rung in rungs if rung.ratio is not None and not rung.is_at_least)]
    if len(ratios) <= len(rungs):
        return None
    if ratios[-1] < _LEAST_RATIO:
        return None
    parts = np.diff(np.log(ratios)) / np.log(ratios[-1])
    return dict(zip(steps, parts.tolist(), strict=True)) if parts.min() >= -1e-9 else None


def _ladder_sentence(
    curve: Curve,
    reference: str,
    reference_share: float,
    rungs: Sequence[Saving],
    shares: Mapping[str, float] | None,
) -> str:
    if not rungs:
        return ""
    whole, all_labels = rungs[-1], curve.counts[-1]
    with_labels = f"all {all_labels:,}" if reference_share == 1 else f"{round(reference_share * all_labels):,}"
    same = f"the score that {curve.arm(reference).title!r} reaches with {with_labels} labels"
    if whole.ratio is None or whole.count is None:
        them = "them" if reference_share == 1 else with_labels
        ours, theirs = repr(whole.title), repr(curve.arm(reference).title)
        return f"With all {all_labels:,} labels {ours} does not reach the score that {theirs} reaches with {them}."
    if whole.ratio < _LEAST_RATIO:
        return f"No labels are saved: {whole.title!r} needs about {whole.count:,} for {same}."
    at_most, at_least = ("at most", "at least ") if whole.is_at_least else ("about", "")
    ends = f" (95 % interval {_times(whole.interval)})" if whole.interval else ""
    told = (
        f"{whole.title!r} needs {at_most} {whole.count:,} labels for {same}: "
        f"{at_least}{whole.ratio:.1f} times fewer{ends}."
    )
    if whole.interval is None or whole.interval[0] <= 1:
        return f"{told} With other test groups it might be none, so this data cannot tell how the saving is shared."
    if len(rungs) == 1:
        return told
    if shares is None:
        return f"{told} This data cannot tell how the saving is shared."
    *factors, last = (f"{whole.ratio**share:.1f} by {_STEPS.get(step, step)}" for step, share in shares.items())
    return f"{told} Its factors are {', '.join(factors)} and {last}."
