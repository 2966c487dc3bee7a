"""Truths of the position tables."""

from __future__ import annotations

import pytest
import torch

from beholder.trunk.position import resample_positions, sine_positions


@pytest.mark.parametrize("grid", [(1, 1), (4, 4), (3, 7)])
def test_sine_positions_differ_from_place_to_place_and_stay_within_one(grid: tuple[int, int]) -> None:
    table = sine_positions(*grid, 32)[0]
    assert table.shape == (grid[0] * grid[1], 32)
    assert table.abs().max() <= 1
    assert len(torch.unique(table, dim=0)) == len(table)


def test_the_first_half_of_a_sine_position_tells_the_row_only() -> None:
    table = sine_positions(3, 5, 16)[0].unflatten(0, (3, 5))
    torch.testing.assert_close(table[:, :1, :8].expand(-1, 5, -1), table[:, :, :8])
    torch.testing.assert_close(table[:1, :, 8:].expand(3, -1, -1), table[:, :, 8:])


def test_a_larger_grid_begins_with_the_smaller_one() -> None:
    small, large = sine_positions(2, 2, 8)[0], sine_positions(4, 4, 8)[0].unflatten(0, (4, 4))
    torch.testing.assert_close(small, large[:2, :2].flatten(0, 1))


def test_resampling_to_the_same_grid_changes_nothing() -> None:
    table = torch.randn(1, 12, 8)
    assert resample_positions(table, (3, 4), (3, 4)) is table


def test_resampling_keeps_a_constant_table_constant_and_a_slope_rising() -> None:
    constant = resample_positions(torch.full((1, 16, 4), 2.0), (4, 4), (7, 5))
    torch.testing.assert_close(constant, torch.full((1, 35, 4), 2.0))
    slope = torch.arange(4.0).repeat(4)[None, :, None].expand(1, 16, 4)  # grows along the columns
    resampled = resample_positions(slope, (4, 4), (8, 8))[0, :, 0].unflatten(0, (8, 8))
    assert (resampled.diff(dim=1) > 0).all()
    torch.testing.assert_close(resampled, resampled[:1].expand(8, -1))
