"""Truths of masked prediction."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from beholder.models.conv import PRESETS as CONV
from beholder.models.conv import EfficientNetLite
from beholder.models.vit import PRESETS, ViT
from beholder.objectives.masked import MaskedPrediction, MaskedPredictionConfig
from beholder.types import UserError


def masked(**settings: Any) -> MaskedPrediction:
    torch.manual_seed(0)
    return MaskedPrediction(ViT(PRESETS["debug"]), MaskedPredictionConfig(**settings))


@settings(deadline=None, max_examples=25)
@given(ratio=st.floats(0.05, 0.95), cell=st.integers(1, 3), seed=st.integers(0, 99))
def test_every_image_hides_the_share_that_was_asked_for_in_whole_cells(ratio: float, cell: int, seed: int) -> None:
    objective = masked(ratio=ratio, cell=cell)
    torch.manual_seed(seed)
    hidden = objective.hide(torch.zeros(5, 3, 4 * 6, 4 * 12))
    assert hidden.shape == (5, 1, 6, 12)
    cells = hidden.unflatten(3, (-1, cell)).unflatten(2, (-1, cell))  # R 1 tall cell wide cell
    assert torch.equal(cells.any(5).any(3), cells.all(5).all(3))
    num_cells = (6 // cell) * (12 // cell)
    assert (cells[:, :, :, 0, :, 0].sum((1, 2, 3)) == min(max(round(ratio * num_cells), 1), num_cells - 1)).all()


def test_hiding_is_drawn_anew_for_each_image_and_step() -> None:
    objective, images = masked(), torch.zeros(8, 3, 32, 32)
    first, second = objective.hide(images), objective.hide(images)
    assert len(torch.unique(first, dim=0)) > 1 and not torch.equal(first, second)


def test_the_model_never_sees_what_lies_under_the_paint() -> None:
    seen = []

    class Watched(ViT):
        def forward(self, pixels: torch.Tensor):  # type: ignore[no-untyped-def]
            seen.append(pixels.clone())
            return super().forward(pixels)

    torch.manual_seed(0)
    model = ViT(PRESETS["debug"])
    objective = MaskedPrediction(model)
    watched = Watched(PRESETS["debug"])
    images = torch.rand(1, 4, 3, 16, 16) + 1.0  # nowhere the paint's zero
    objective(watched, {"views": images})
    is_painted = (seen[0] == 0).all(1)
    assert 0.4 < is_painted.float().mean().item() < 0.6
    untouched = ~is_painted[:, None].expand(-1, 3, -1, -1)
    assert torch.equal(seen[0][untouched], images[0][untouched])


def test_predicting_nothing_costs_one_and_flat_patches_cost_nothing() -> None:
    objective = masked()
    torch.nn.init.zeros_(objective.pixels.weight)
    torch.nn.init.zeros_(objective.pixels.bias)  # type: ignore[arg-type]
    model, noise = ViT(PRESETS["debug"]), torch.randn(4, 3, 16, 16) * 2
    assert objective.pixel_error(model(noise), noise).mean().item() == pytest.approx(1, abs=0.05)
    flat = torch.ones(4, 3, 16, 16)
    assert objective.pixel_error(model(flat), flat).abs().max().item() < 1e-6


def test_images_that_are_no_whole_number_of_strides_work_for_convolutions() -> None:
    torch.manual_seed(0)
    model = EfficientNetLite(CONV["debug"])
    losses = MaskedPrediction(model)(model, {"views": torch.randn(1, 4, 3, 45, 38)})
    assert losses.total.isfinite()


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.5])
def test_hiding_nothing_or_all_is_refused(ratio: float) -> None:
    with pytest.raises(UserError, match="between 0 and 1"):
        masked(ratio=ratio)


def test_an_image_of_one_cell_is_refused() -> None:
    with pytest.raises(UserError, match="too small"):
        masked().hide(torch.zeros(2, 3, 4, 4))
