"""Intervals: what errs together is drawn together."""

from __future__ import annotations

import numpy as np
import pytest

from beholder.evaluate.resample import grouped_interval, mean_interval


def interval(values: np.ndarray, groups: np.ndarray | None = None) -> list[float]:
    if groups is None:
        return mean_interval(values, np.random.default_rng(0))
    found = grouped_interval(values, groups, np.random.default_rng(0))
    assert found is not None
    return found


def test_values_that_come_twice_say_no_more_than_once() -> None:
    values = np.random.default_rng(1).normal(size=40)
    twice, groups = np.repeat(values, 2), np.repeat(np.arange(40), 2)
    assert interval(twice, groups) == pytest.approx(interval(values))
    low, high = interval(twice)
    assert high - low < 0.8 * (interval(values)[1] - interval(values)[0])


def test_groups_of_one_are_no_groups() -> None:
    values = np.random.default_rng(1).normal(size=30)
    assert interval(values, np.arange(30)[::-1] * 7) == pytest.approx(interval(values), abs=0.1)


def test_one_group_alone_says_nothing() -> None:
    assert grouped_interval(np.arange(9.0), np.zeros(9, int), np.random.default_rng(0)) is None


def test_groups_count_by_their_size() -> None:
    values, groups = np.array([0.0, 0.0, 0.0, 1.0]), np.array([5, 5, 5, 2])
    low, high = interval(values, groups)
    assert (low, high) == (0.0, 1.0)


def test_it_holds_the_truth_as_often_as_it_says() -> None:
    """With groups of four that err alike, 95 % intervals hold the true mean in most of 200 draws."""
    generator, groups = np.random.default_rng(2), np.repeat(np.arange(40), 4)
    held, alone = 0, 0
    for _ in range(200):
        values = np.repeat(generator.normal(size=40), 4) + 0.3 * generator.normal(size=160)
        for count, told in ((0, interval(values, groups)), (1, interval(values))):
            is_held = told[0] <= 0 <= told[1]
            held, alone = held + is_held * (count == 0), alone + is_held * count
    assert held >= 180 and alone < 160
