"""Truths of precision and recall of samples: copies have both, one good sample has no recall, strangers have none."""

from __future__ import annotations

import numpy as np
import pytest

from beholder.metrics.coverage import Coverage, coverage

TRUE = np.random.default_rng(0).normal(size=(60, 4))


def test_a_set_looks_like_itself() -> None:
    assert coverage(TRUE, TRUE) == Coverage(1.0, 1.0)


def test_strangers_look_like_none() -> None:
    assert coverage(TRUE, TRUE + 100) == Coverage(0.0, 0.0)


def test_one_good_sample_again_and_again_is_precise_and_covers_little() -> None:
    found = coverage(TRUE, np.repeat(TRUE[:1], 60, axis=0) + 1e-6 * TRUE)
    assert found.precision == 1.0 and found.recall < 0.1


def test_all_of_the_true_ones_and_as_much_rubbish_is_half_precise() -> None:
    found = coverage(TRUE, np.concatenate([TRUE, np.arange(60)[:, None] * 50.0 + 1e4 + TRUE]))
    assert found.precision == 0.5 and found.recall == 1.0


def test_the_ball_reaches_the_neighbour_of_that_number() -> None:
    true = np.array([[0.0], [1.0], [3.0], [7.0]])  # with one neighbour, balls reach 1, 1, 2 and 4
    rows = np.array([[-1.5], [-0.9], [4.9], [11.0], [11.1]])
    assert coverage(true, rows, num_neighbours=1).precision == pytest.approx(3 / 5)
