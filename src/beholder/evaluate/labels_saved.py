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
from sklearn.isotonic import isotonic_regression

from beholder.evaluate.label_curve import Curve
from beholder.evaluate.resample import mean_over_folds, point_scores, resampled_scores, unit_weights, units_of
from beholder.types import UserError


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
    """Savings of all arms, and which step of the ladder each part of the saving is owed to."""

    reference: str
    level: float
    """The reference's score with all labels."""
    rows: tuple[Saving, ...]
    shares: Mapping[str, float] | None
    """Step -> its part of the logarithm of the whole ratio; they add up to 1. None where nothing was saved."""
    sentence: str


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
        raise UserError(f"The largest --fractions is {curve.fractions[-1]:g}; labels saved need 1.0, all labels, too.")
    shares = {arm.name: _point_curve(curve, arm.name)[None] for arm in curve.arms}  # 1 F
    level = isotonic_regression(shares[reference][0])[-1:]
    needed = {name: float(_share_needed(scores, level, curve.fractions)[0]) for name, scores in shares.items()}
    ratios = _redrawn_ratios(curve, reference, num_resamples, seed)
    rows = tuple(
        _saving(curve, arm.name, needed[reference], needed[arm.name], ratios[arm.name])
        for arm in curve.arms
        if arm.name != reference
    )
    parts = _ladder_shares(needed, reference, ladder)
    return LabelsSaved(reference, float(level[0]), rows, parts, _ladder_sentence(needed, reference, ladder, parts))


def _point_curve(curve: Curve, name: str) -> Float[np.ndarray, " F"]:
    return point_scores(curve, name).mean((1, 2))


def _share_needed(
    scores: Float[np.ndarray, "R F"], levels: Float[np.ndarray, " R"], fractions: Sequence[float]
) -> Float[np.ndarray, " R"]:
    """Smallest share of labels whose smoothed score reaches the level; infinity where none does."""
    logs = np.log(fractions)
    needed = np.full(len(scores), np.inf)
    for row, (values, level) in enumerate(zip(scores, levels, strict=True)):
        smooth = isotonic_regression(values)
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
    levels = np.array([isotonic_regression(row)[-1] for row in scores[reference][whole]])
    needed = {name: _share_needed(values[whole], levels, curve.fractions) for name, values in scores.items()}
    return {name: needed[reference] / shares for name, shares in needed.items()}


def _saving(curve: Curve, name: str, reference_share: float, share: float, redrawn: Float[np.ndarray, " R"]) -> Saving:
    title = curve.arm(name).title
    if np.isinf(share):
        best = f"{title} does not reach that level with all {curve.counts[-1]:,} labels."
        return Saving(name, title, None, None, None, False, best)
    ratio, count = reference_share / share, round(share * curve.counts[-1])
    is_at_least = share == curve.fractions[0]
    low, high = np.percentile(redrawn, [2.5, 97.5], method="nearest") if len(redrawn) else (0.0, 0.0)
    interval = (float(low), float(high)) if low > 0 else None
    around = (
        f" (95 % interval {low:.1f} to {high:.1f} times)" if interval else " (not reached for some draws of groups)"
    )
    prefix = "at most " if is_at_least else ""
    if ratio > 1:
        gain = f"{'at least ' if is_at_least else ''}{ratio:.1f} times fewer{around}"
    else:
        gain = f"no fewer than the reference{around}"
    return Saving(
        name, title, ratio, interval, count, is_at_least, f"{title} needs {prefix}{count:,} labels for it, {gain}."
    )


def _ladder_shares(
    needed: Mapping[str, float], reference: str, ladder: Sequence[tuple[str, str]]
) -> dict[str, float] | None:
    rungs = [reference, *(name for _, name in ladder)]
    if not ladder or any(np.isinf(needed[name]) for name in rungs):
        return None
    total = np.log(needed[rungs[0]] / needed[rungs[-1]])
    if total < np.log(1.05):  # parts of next to nothing mean nothing
        return None
    steps = zip(ladder, rungs[:-1], rungs[1:], strict=True)
    return {what: float(np.log(needed[below] / needed[above]) / total) for (what, _), below, above in steps}


def _ladder_sentence(
    needed: Mapping[str, float], reference: str, ladder: Sequence[tuple[str, str]], shares: Mapping[str, float] | None
) -> str:
    if not ladder:
        return ""
    if shares is None:
        missing = [what for what, name in ladder if np.isinf(needed[name])]
        if missing:
            return f"The saving cannot be split: with {missing[0]} the level is not reached."
        return "No labels are saved, so there is nothing to split."
    whole = needed[reference] / needed[ladder[-1][1]]
    parts = ", ".join(f"{what} {share:.0%}" for what, share in shares.items())
    return f"Together {whole:.1f} times fewer labels; parts of the saving (in its logarithm): {parts}."
