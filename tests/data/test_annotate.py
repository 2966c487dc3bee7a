"""Truths of the pictures that are made of pictures."""

from __future__ import annotations

import numpy as np
import pytest

from beholder.data.annotate import ANNOTATIONS, edges, grey, hole, noise, rotate

GENERATOR = np.random.default_rng(0)
PICTURE = GENERATOR.integers(0, 256, (32, 32, 3), np.uint8)


def half(left: int, right: int) -> np.ndarray:
    picture = np.full((32, 32, 3), left, np.uint8)
    picture[:, 16:] = right
    return picture


@pytest.mark.parametrize("name", sorted(ANNOTATIONS))
def test_bytes_come_in_and_bytes_of_the_same_shape_go_out(name: str) -> None:
    before = PICTURE.copy()
    made = ANNOTATIONS[name].change(PICTURE, np.random.default_rng(1))
    assert made.shape == PICTURE.shape and made.dtype == np.uint8
    assert np.array_equal(PICTURE, before) and not np.array_equal(made, before)


@pytest.mark.parametrize("name", sorted(ANNOTATIONS))
def test_the_same_draw_makes_the_same_picture(name: str) -> None:
    change = ANNOTATIONS[name].change
    assert np.array_equal(change(PICTURE, np.random.default_rng(1)), change(PICTURE, np.random.default_rng(1)))


def test_an_edge_is_where_brightness_steps_and_nowhere_else() -> None:
    found = edges(half(20, 200), GENERATOR)[..., 0]
    assert (found[:, 15:17] == 255).all() and not found[:, :14].any() and not found[:, 18:].any()


def test_a_flat_picture_has_no_edges() -> None:
    assert not edges(half(90, 90), GENERATOR).any()


def test_a_faint_step_is_no_full_edge() -> None:
    assert edges(half(90, 93), GENERATOR).max() < 100


def test_grey_has_three_equal_colours_and_keeps_grey_as_it_is() -> None:
    made = grey(PICTURE, GENERATOR)
    assert (made == made[..., :1]).all()
    assert np.array_equal(grey(made, GENERATOR), made)


def test_four_quarter_turns_are_none() -> None:
    made = PICTURE
    for _ in range(4):
        made = rotate(made, GENERATOR)
    assert np.array_equal(made, PICTURE)


def test_noise_is_around_the_picture() -> None:
    difference = noise(half(120, 130), GENERATOR).astype(float) - half(120, 130)
    assert abs(difference.mean()) < 3 and 30 < difference.std() < 45


@pytest.mark.parametrize("seed", range(8))
def test_a_hole_is_a_rectangle_and_the_rest_stays(seed: int) -> None:
    made = hole(half(20, 200), np.random.default_rng(seed))
    changed = (made != half(20, 200)).any(2)
    rows, columns = changed.any(1).nonzero()[0], changed.any(0).nonzero()[0]
    assert changed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    assert 0.1 < changed.mean() < 0.4
