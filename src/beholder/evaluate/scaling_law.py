"""Whether losses of models of growing size follow a law that foretells the largest.

    L(N) = E + A / N^alpha, or without the floor E        (Kaplan et al. 2020, arXiv 2001.08361; Hoffmann et al. 2022,
                                                           arXiv 2203.15556)

The judging knows no model: it is given counts of parameters and losses. The law is fitted to all sizes but the largest
and has to foretell that one. Which form it has is decided without the largest too, so that the judge is never asked
twice: both forms are fitted to all but the two largest and foretell the second largest, and the nearer one is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize_scalar, nnls

from beholder.runtime.seed import numpy_generator
from beholder.types import UserError

FEWEST_SIZES = 4
"""Three to fit and one to foretell; from five on a floor can be told from none."""
_EXPONENTS = (0.005, 3.0)
_NUM_STARTS = 12
Ends = tuple[float, float]


@dataclass(frozen=True)
class Law:
    """E + A / N^alpha."""

    floor: float
    """E, nats: what no size would remove. 0 for a law without one."""
    scale: float
    """A, nats at N = 1."""
    exponent: float
    """alpha; not above 0 where losses do not fall."""

    def loss(self, sizes: Float[np.ndarray, " S"] | Sequence[float]) -> Float[np.ndarray, " S"]:
        """The losses of models of those sizes."""
        return self.floor + self.scale * np.asarray(sizes, np.float64) ** -self.exponent


@dataclass(frozen=True)
class Foretold:
    """What the fit without the largest says of the largest; intervals hold 95 % of the redraws."""

    law: Law
    loss: float
    interval: Ends
    measured: float
    is_met: bool
    """Whether the measured loss lies in the interval."""
    is_telling: bool
    """Whether a largest model no better than the one before it would have missed the interval: else it was no test."""
    by_form: dict[str, float]
    """The same by either form, "floor" and "no floor": told, not chosen from."""


@dataclass(frozen=True)
class Judged:
    """The law of all sizes, and the test of it."""

    has_floor: bool
    chosen_by: str
    """Why the law has a floor, or none, in words."""
    law: Law
    intervals: dict[str, Ends]
    """Of "floor", "scale" and "exponent"."""
    foretold: Foretold
    curve: dict[str, list[float]]
    """Of the fit without the largest, at "sizes": "loss", "low" and "high"."""

    @property
    def falls(self) -> bool:
        """Whether the loss falls as sizes grow, beyond the noise."""
        return self.intervals["exponent"][0] > 2 * _EXPONENTS[0]


def fit_law(sizes: Sequence[float] | np.ndarray, losses: Sequence[float] | np.ndarray, has_floor: bool) -> Law:
    """The law nearest to the losses, by least squares of relative errors.

    Without a floor it is a straight line of logarithms. With one, floor and scale are solved for (not below 0) at each
    exponent, and the best exponent between 0.005 and 3 is searched.
    """
    sizes, losses = np.asarray(sizes, np.float64), np.asarray(losses, np.float64)
    middle = float(np.exp(np.log(sizes).mean()))  # sizes of about 1 keep the numbers tame
    places = np.log(sizes / middle)
    if not has_floor:
        slope, height = np.polyfit(places, np.log(losses), 1)
        return Law(0.0, float(np.exp(height) * middle**-slope), float(-slope))

    def solve(exponent: float) -> tuple[np.ndarray, float]:
        design = np.stack([np.ones_like(places), np.exp(-exponent * places)], axis=1) / losses[:, None]
        return nnls(design, np.ones_like(losses))

    starts = np.geomspace(*_EXPONENTS, _NUM_STARTS)
    best = int(np.argmin([solve(exponent)[1] for exponent in starts]))
    around = (np.log(starts[max(best - 1, 0)]), np.log(starts[min(best + 1, _NUM_STARTS - 1)]))
    found = minimize_scalar(lambda logarithm: solve(np.exp(logarithm))[1], bounds=around, method="bounded")
    exponent = float(np.exp(found.x))
    (floor, scale), _ = solve(exponent)
    if scale == 0.0:  # what does not fall has no exponent
        return Law(float(floor), 0.0, 0.0)
    return Law(float(floor), float(scale * middle**exponent), exponent)


def choose_floor(sizes: np.ndarray, losses: np.ndarray) -> tuple[bool, str]:
    """Whether the law has a floor, with the reason; the largest size is not looked at."""
    if len(sizes) <= FEWEST_SIZES:
        return False, "with four sizes a floor cannot be tested: three losses fit any law that has one"
    errors = {}
    for has_floor in (True, False):
        law = fit_law(sizes[:-2], losses[:-2], has_floor)
        errors[has_floor] = abs(float(law.loss(sizes[-2:-1])[0] - losses[-2]))
    told = (
        "fitted without the two largest, the law with a floor missed the second largest by "
        f"{errors[True]:.4f} nats and the law without by {errors[False]:.4f}"
    )
    return errors[True] < errors[False], told


def judge_law(
    sizes: Sequence[float],
    losses: Float[np.ndarray, "S Q"],
    *,
    noise: float = 0.0,
    num_draws: int = 1000,
    num_places: int = 60,
    seed: int = 0,
) -> Judged:
    """Fit and test the law. `sizes` rise; `losses` are of each size on each of the same held-out pictures, in nats.

    Each redraw takes other held-out pictures, the same for all sizes, and moves each size's loss by chance as much as
    another seed would have (`noise`: standard deviation in nats, normal). The interval of what is foretold is therefore
    that of the loss which this training run would show on these very pictures. Raises UserError for fewer than four
    sizes, sizes that do not rise, and losses that are no positive numbers.
    """
    grown = _checked(sizes, losses)
    means = losses.mean(1)
    has_floor, chosen_by = choose_floor(grown, means)
    without = fit_law(grown[:-1], means[:-1], has_floor)
    whole = fit_law(grown, means, has_floor)
    places = np.geomspace(grown[0], grown[-1], num_places)
    generator = numpy_generator(seed, "scaling law")
    laws, ahead, curves = [], [], []
    for _ in range(num_draws):
        pictures = generator.integers(0, losses.shape[1], losses.shape[1])
        drawn = losses[:, pictures].mean(1)
        shifted = np.maximum(drawn + noise * generator.standard_normal(len(grown)), 1e-9)
        laws.append(fit_law(grown, shifted, has_floor))
        apart = fit_law(grown[:-1], shifted[:-1], has_floor)
        # the pictures' own difficulty is known of the largest as well, its seed's luck is not
        ahead.append(float(apart.loss(grown[-1:])[0]) - (drawn[-1] - means[-1]) + (shifted[-1] - drawn[-1]))
        curves.append(apart.loss(places))
    measured, low_high = float(means[-1]), _ends(ahead)
    foretold = Foretold(
        without, float(without.loss(grown[-1:])[0]), low_high, measured, low_high[0] <= measured <= low_high[1],
        low_high[1] < float(means[-2]),
        {name: float(fit_law(grown[:-1], means[:-1], is_floor).loss(grown[-1:])[0])
         for name, is_floor in (("floor", True), ("no floor", False))},
    )  # fmt: skip
    low, high = np.percentile(curves, [2.5, 97.5], axis=0)
    intervals = {name: _ends([getattr(law, name) for law in laws]) for name in ("floor", "scale", "exponent")}
    curve = {"sizes": places, "loss": without.loss(places), "low": low, "high": high}
    return Judged(
        has_floor, chosen_by, whole, intervals, foretold, {name: values.tolist() for name, values in curve.items()}
    )


def _checked(sizes: Sequence[float], losses: np.ndarray) -> np.ndarray:
    grown = np.asarray(sizes, np.float64)
    if len(grown) < FEWEST_SIZES:
        raise UserError(
            f"{len(grown)} sizes: a law is fitted to all but the largest and has to foretell that one, which takes at "
            f"least {FEWEST_SIZES}; give more."
        )
    if (np.diff(grown) <= 0).any() or grown[0] <= 0:
        raise UserError(f"Sizes {[int(size) for size in grown]} do not rise; give each once, the smallest first.")
    assert losses.shape[0] == len(grown), (losses.shape, len(grown))
    if not np.isfinite(losses).all() or (losses.mean(1) <= 0).any():
        raise UserError("A loss is not a positive number: training has come apart; try a lower learning rate.")
    return grown


def _ends(values: Sequence[float]) -> Ends:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
