"""Truths of the vision transformer."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
import torch

from beholder.config import from_json, to_json
from beholder.models.vit import PRESETS, ViT, ViTConfig

DEBUG = PRESETS["debug"]


def vit(config: ViTConfig = DEBUG) -> ViT:
    torch.manual_seed(0)
    return ViT(config)


@pytest.mark.parametrize("positions", ["learned", "fixed", "sine", "none"])
@pytest.mark.parametrize("size", [(16, 16), (8, 24), (32, 32)])
def test_it_reads_any_grid_and_says_its_shapes(
    positions: Literal["learned", "fixed", "sine", "none"], size: tuple[int, int]
) -> None:
    model = vit(replace(DEBUG, positions=positions))
    outputs = model(torch.randn(2, 3, *size))
    assert outputs.summary.shape == (2, model.summary_width)
    shapes = [tuple(features.shape) for features in outputs.maps]
    assert shapes == [
        (2, width, size[0] // stride, size[1] // stride)
        for width, stride in zip(model.map_widths, model.map_strides, strict=True)
    ]
    assert all(features.isfinite().all() for features in outputs.maps)


def test_maps_lie_where_the_patches_lie() -> None:
    model, pixels = vit().eval(), torch.randn(1, 3, 16, 16)
    changed = pixels.clone()
    changed[:, :, 4:8, 12:16] += 2.0
    moved = (model(changed).maps[0] - model(pixels).maps[0]).square().sum(1)[0]  # h w
    assert divmod(int(moved.argmax()), 4) == (1, 3)


def test_positions_tell_patches_apart_and_without_them_only_the_set_of_patches_counts() -> None:
    pixels = torch.randn(1, 3, 16, 16)
    mirrored = pixels.unflatten(3, (4, 4)).flip(3).flatten(3)  # patch columns in reverse, each patch unchanged
    blind, sighted = vit(replace(DEBUG, positions="none")).eval(), vit().eval()
    torch.testing.assert_close(blind(pixels).summary, blind(mirrored).summary, rtol=1e-4, atol=1e-5)
    assert (sighted(pixels).summary - sighted(mirrored).summary).abs().max() > 1e-3


def test_the_images_of_a_batch_do_not_see_each_other() -> None:
    model, pixels = vit().eval(), torch.randn(3, 3, 16, 16)
    torch.testing.assert_close(model(pixels).summary[1:2], model(pixels[1:2]).summary, rtol=1e-4, atol=1e-5)


def test_every_parameter_gets_a_gradient() -> None:
    model = vit(replace(DEBUG, positions="learned"))
    outputs = model(torch.randn(2, 3, 16, 16))
    (outputs.summary.pow(3).sum() + sum(features.pow(3).sum() for features in outputs.maps)).backward()
    silent = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []


def test_pixels_that_are_no_whole_patches_are_resampled_to_the_nearest() -> None:
    outputs = vit()(torch.zeros(1, 3, 18, 15))
    assert outputs.maps[0].shape[2:] == (4, 4)


def test_tables_meet_other_image_sizes_with_either_kernel() -> None:
    """Also where they are enlarged, and not at all where the size is their own."""
    plain, antialiased = (
        vit(replace(DEBUG, positions="learned", resampling=kind)).eval() for kind in ("plain", "antialiased")
    )
    plain.load_state_dict(antialiased.state_dict())
    for size, is_same in ((16, True), (8, False), (32, False)):
        pixels = torch.randn(1, 3, size, size)
        assert torch.equal(plain(pixels).summary, antialiased(pixels).summary) == is_same


def test_the_mask_token_hides_what_a_patch_shows() -> None:
    model, pixels = vit(replace(DEBUG, has_mask_token=True)).eval(), torch.randn(1, 3, 16, 16)
    is_hidden, changed = torch.arange(16)[None] == 7, pixels.clone()
    changed[:, :, 4:8, 12:16] += 2.0  # patch 7: row 1, column 3
    assert torch.equal(model.hidden(pixels, is_hidden).values, model.hidden(changed, is_hidden).values)
    assert not torch.equal(model.hidden(pixels).values, model.hidden(changed).values)


def test_a_checkpoint_s_heads_read_the_summary_and_leave_it() -> None:
    both = replace(
        DEBUG, pooler_width=5, classes=("dog", "cat", "cow"), classifier_reads="summary_and_mean", has_mask_token=True
    )
    model, pixels = vit(both).eval(), torch.randn(2, 3, 16, 16)
    outputs = model(pixels)
    assert model.pooled(outputs).shape == (2, 5) and model.pooled(outputs).abs().max() <= 1
    mean = outputs.maps[-1].mean((2, 3))
    expected = model.classifier(torch.cat([outputs.summary, mean], dim=1)) if model.classifier else None
    torch.testing.assert_close(model.classify(outputs), expected)
    assert from_json(ViTConfig, to_json(both)) == both
    with pytest.raises(AssertionError, match="no classifier"):
        vit().classify(outputs)


def test_a_preset_survives_json() -> None:
    for config in PRESETS.values():
        assert from_json(ViTConfig, to_json(config)) == config


def test_tiny_has_the_published_number_of_parameters() -> None:
    """DeiT-Ti without its classifier: 5,524,416 (Touvron et al. 2020, arXiv 2012.12877), positions of 197 included."""
    config = replace(PRESETS["tiny"], positions="learned")
    assert sum(value.numel() for value in ViT(config).parameters()) == 5_524_416 - 192  # no position for the class
