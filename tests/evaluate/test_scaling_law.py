"""A law is found where one was planted, is not found where there is none, and the largest size is never looked at."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beholder.evaluate.scaling_law import Law, choose_floor, fit_law, judge_law
from beholder.types import UserError

SIZES = np.array([1e5, 2.3e5, 5e5, 1.1e6, 2.6e6, 6e6])


def planted(law: Law, num_pictures: int = 50, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """Losses of pictures that differ in how hard they are, the same for every size."""
    generator = np.random.default_rng(seed)
    hard = generator.normal(0, 0.3, num_pictures)
    hard -= hard.mean()
    luck = noise * generator.standard_normal(len(SIZES))
    return law.loss(SIZES)[:, None] + hard + luck[:, None]


@given(st.floats(0.02, 1.0), st.floats(0.5, 50.0))
@settings(max_examples=30, deadline=None)
def test_a_planted_power_is_recovered(exponent: float, scale: float) -> None:
    law = fit_law(SIZES, Law(0.0, scale, exponent).loss(SIZES), has_floor=False)
    assert law.exponent == pytest.approx(exponent, rel=1e-6) and law.scale == pytest.approx(scale, rel=1e-5)


@pytest.mark.parametrize("exponent", [0.1, 0.3, 0.8])
def test_a_planted_floor_is_recovered(exponent: float) -> None:
    truth = Law(2.5, 1.5 / 5e5**-exponent, exponent)
    law = fit_law(SIZES, truth.loss(SIZES), has_floor=True)
    assert law.exponent == pytest.approx(exponent, rel=0.02) and law.floor == pytest.approx(2.5, rel=0.02)
    assert np.allclose(law.loss(SIZES), truth.loss(SIZES), rtol=1e-4)


@pytest.mark.parametrize("has_floor", [True, False])
def test_losses_that_rise_have_no_power(has_floor: bool) -> None:
    law = fit_law(SIZES, [3.0, 3.1, 3.2, 3.3, 3.4, 3.5], has_floor)
    assert law.exponent <= 0 and np.isfinite(law.loss(SIZES)).all()


def test_the_form_is_told_from_the_other() -> None:
    assert choose_floor(SIZES, Law(2.5, 4e2, 0.5).loss(SIZES))[0]
    straight = Law(0.0, 10.0, 0.07).loss(SIZES) * np.exp([0, 1e-3, -1e-3, 1e-3, -1e-3, 0])
    assert not choose_floor(SIZES, straight)[0]


def test_the_form_is_chosen_without_the_largest() -> None:
    losses = Law(2.5, 4e2, 0.5).loss(SIZES)
    changed = np.array([*losses[:-1], 9.0])
    assert choose_floor(SIZES, losses) == choose_floor(SIZES, changed)
    chosen, reason = choose_floor(SIZES[:4], losses[:4])
    assert not chosen and "four sizes" in reason


def test_a_law_that_holds_foretells_the_largest() -> None:
    told = judge_law(SIZES.tolist(), planted(Law(0.0, 10.0, 0.07)), noise=0.004, num_draws=200)
    assert told.foretold.is_telling, "a largest no better than the one before would have missed"
    assert told.foretold.is_met and told.falls and not told.foretold.law.floor
    assert told.foretold.loss == pytest.approx(told.foretold.measured, abs=1e-6)
    assert told.intervals["exponent"][0] < 0.07 < told.intervals["exponent"][1]
    assert told.foretold.interval[0] < told.foretold.loss < told.foretold.interval[1]


def test_what_is_foretold_does_not_depend_on_the_largest() -> None:
    losses = planted(Law(0.0, 10.0, 0.07))
    broken = losses.copy()
    broken[-1] += 0.2
    right, wrong = (judge_law(SIZES.tolist(), some, noise=0.004, num_draws=200) for some in (losses, broken))
    assert right.foretold.law == wrong.foretold.law and right.curve == wrong.curve
    assert right.foretold.is_met and not wrong.foretold.is_met
    assert wrong.foretold.measured > wrong.foretold.interval[1]


def test_a_largest_that_does_not_learn_misses_what_was_foretold() -> None:
    losses = planted(Law(0.0, 10.0, 0.07))
    losses[-1] = losses[0]
    assert not judge_law(SIZES.tolist(), losses, noise=0.004, num_draws=200).foretold.is_met


def test_an_interval_that_admits_no_gain_at_all_is_called_no_test() -> None:
    told = judge_law(SIZES.tolist(), planted(Law(0.0, 10.0, 0.07)), noise=0.5, num_draws=200)
    assert told.foretold.is_met and not told.foretold.is_telling


def test_pictures_that_are_hard_for_all_sizes_do_not_blur_what_is_foretold() -> None:
    """Their difficulty is shared; the interval is of the law and not of the choice of pictures."""
    told = judge_law(SIZES.tolist(), planted(Law(0.0, 10.0, 0.07), num_pictures=12), num_draws=200)
    assert told.foretold.interval[1] - told.foretold.interval[0] < 0.02


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    truth = Law(0.0, 10.0, 0.07)
    four = SIZES[:4].tolist()
    told = [judge_law(four, planted(truth, noise=0.01, seed=seed)[:4], noise=0.01, num_draws=100) for seed in range(60)]
    assert sum(one.foretold.is_met for one in told) >= 50
    assert sum(one.intervals["exponent"][0] <= 0.07 <= one.intervals["exponent"][1] for one in told) >= 50


def test_losses_without_a_trend_do_not_fall() -> None:
    losses = 3.0 + np.random.default_rng(1).normal(0, 0.02, (len(SIZES), 1)) + np.zeros((1, 20))
    assert not judge_law(SIZES.tolist(), losses, noise=0.02, num_draws=200).falls


def test_three_sizes_are_refused_and_so_is_what_makes_no_sense() -> None:
    losses = planted(Law(0.0, 10.0, 0.07))
    with pytest.raises(UserError, match=r"3 sizes: .*at least 4"):
        judge_law(SIZES[:3].tolist(), losses[:3])
    with pytest.raises(UserError, match="do not rise"):
        judge_law([*SIZES[:4], SIZES[3], SIZES[5]], losses)
    with pytest.raises(UserError, match="not a positive number"):
        judge_law(SIZES.tolist(), losses * np.nan)
