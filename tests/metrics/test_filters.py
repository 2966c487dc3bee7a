"""The distance by fixed filters: what it calls alike."""

from __future__ import annotations

import torch

from beholder.metrics.filters import filter_distance


def texture(seed: int, count: int = 4, side: int = 32) -> torch.Tensor:
    """Grey noise of a fixed strength."""
    noise = torch.randn(count, 1, side, side, generator=torch.Generator().manual_seed(seed))
    return (0.5 + 0.15 * noise).clamp(0, 1).expand(-1, 3, -1, -1)


def test_equal_pictures_have_none_and_it_has_no_direction() -> None:
    one, two = texture(0), texture(1)
    assert torch.equal(filter_distance(one, one), torch.zeros(4))
    assert torch.allclose(filter_distance(one, two), filter_distance(two, one))
    assert ((filter_distance(one, two) > 0) & (filter_distance(one, two) < 1)).all()


def test_another_draw_of_the_same_texture_is_closer_than_none() -> None:
    """Where squared error says the reverse."""
    one, other, flat = texture(0), texture(1), torch.full((4, 3, 32, 32), 0.5)
    assert (filter_distance(one, other) < filter_distance(one, flat)).all()
    assert ((one - other).square().mean((1, 2, 3)) > (one - flat).square().mean((1, 2, 3))).all()


def test_another_tone_is_far_and_only_the_places_asked_for_count() -> None:
    one = texture(0, side=64)
    darker = one.clone()
    darker[:, :, :, 32:] -= 0.3
    left = torch.zeros(4, 64, 64, dtype=torch.bool)
    left[:, :, :6] = True
    assert (filter_distance(one, darker, left) == 0).all() and (filter_distance(one, darker, left.flip(2)) > 0.3).all()
