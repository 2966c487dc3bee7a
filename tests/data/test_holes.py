"""Holes: how large they are, and what is put into them."""

from __future__ import annotations

import numpy as np
import pytest

from beholder.data.holes import cells_of, draw_blots, draw_rectangle, fill_bending, fill_smoothly, patch_in


@pytest.mark.parametrize("draw", [draw_rectangle, draw_blots])
def test_drawn_holes_cover_a_quarter_to_a_half(draw) -> None:
    shares = [draw(32, np.random.default_rng(seed)).mean() for seed in range(40)]
    assert min(shares) >= 0.25 and max(shares) <= 0.55 and np.ptp(shares) > 0.1


def plane(side: int = 16) -> np.ndarray:
    y, x = np.mgrid[:side, :side].astype(float)
    return np.stack([3 * x + y, 10 - x, np.full_like(x, 4.0)], axis=2)


def test_a_plane_goes_on_as_a_plane() -> None:
    hole = np.zeros((16, 16), bool)
    hole[4:11, 5:12] = True
    broken = np.where(hole[..., None], 99.0, plane())
    for fill in (fill_smoothly, fill_bending):
        assert np.allclose(fill(broken, hole), plane(), atol=1e-6)


def test_a_membrane_stays_between_what_holds_it() -> None:
    values = np.random.default_rng(0).uniform(0, 1, (16, 16, 1))
    hole = draw_blots(16, np.random.default_rng(1))
    filled = fill_smoothly(values, hole)
    assert np.array_equal(filled[~hole], values[~hole])
    assert filled[hole].min() >= values[~hole].min() and filled[hole].max() <= values[~hole].max()


def test_a_cell_with_one_unknown_pixel_is_unknown() -> None:
    hole = np.zeros((16, 16), bool)
    hole[5, 9] = True
    assert np.flatnonzero(cells_of(hole, (4, 4))).tolist() == [6]


def test_what_is_patched_in_has_no_seam_and_leaves_the_rest() -> None:
    square = np.clip(plane(16) * 3 + 60, 0, 255).astype(np.uint8)
    hole = np.zeros((16, 16), bool)
    hole[3:13, 3:13] = True
    darker = (square.astype(int) - 30).clip(0).astype(np.uint8)  # the same, but for the light
    patched = patch_in(square, darker, hole)
    assert np.array_equal(patched[~hole], square[~hole])
    assert np.abs(patched.astype(int) - square).max() <= 1
