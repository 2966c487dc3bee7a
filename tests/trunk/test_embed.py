"""Truths of the patch embedding."""

from __future__ import annotations

import pytest
import torch

from beholder.trunk.embed import PatchEmbedding
from beholder.types import UserError


def test_a_patch_is_one_linear_projection_in_row_major_order() -> None:
    torch.manual_seed(0)
    embed, pixels = PatchEmbedding(4, 10), torch.randn(2, 3, 8, 12)
    tokens = embed(pixels)
    assert tokens.grid == (2, 3)
    by_hand = pixels[:, :, 4:8, 8:12].flatten(1) @ embed.project.weight.flatten(1).T + embed.project.bias
    torch.testing.assert_close(tokens.values[:, 5], by_hand, rtol=1e-4, atol=1e-5)


def test_an_image_of_broken_patches_is_refused_with_the_rule() -> None:
    with pytest.raises(UserError, match=r"10 x 8 pixels.*multiple of 4"):
        PatchEmbedding(4, 10)(torch.zeros(1, 3, 8, 10))
