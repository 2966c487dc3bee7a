"""Truths of self-distillation."""

from __future__ import annotations

import pytest
import torch

from beholder.models.vit import PRESETS, ViT
from beholder.objectives.teacher import SelfDistillation
from beholder.types import UserError


def test_one_view_is_refused() -> None:
    model = ViT(PRESETS["debug"])
    with pytest.raises(UserError, match="at least 2"):
        SelfDistillation(model)(model, {"views": torch.zeros(1, 4, 3, 16, 16)})


def test_the_order_of_the_images_does_not_matter() -> None:
    torch.manual_seed(0)
    model, views = ViT(PRESETS["debug"]), torch.randn(2, 6, 3, 16, 16)
    objective, order = SelfDistillation(model), torch.randperm(6)
    straight = objective(model, {"views": views}).total
    shuffled = objective(model, {"views": views[:, order]}).total
    torch.testing.assert_close(straight, shuffled, rtol=1e-4, atol=1e-5)


def test_three_views_are_compared_pair_by_pair() -> None:
    torch.manual_seed(0)
    model = ViT(PRESETS["debug"])
    losses = SelfDistillation(model)(model, {"views": torch.randn(3, 4, 3, 16, 16)})
    assert losses.total.ndim == 0 and losses.total.isfinite()
