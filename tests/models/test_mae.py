"""Truths of the masked autoencoder."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import Tensor

from beholder.config import from_json, to_json
from beholder.models.mae import MAE, PRESETS, MAEConfig
from beholder.types import UserError

DEBUG = PRESETS["debug"]


def mae(config: MAEConfig = DEBUG) -> MAE:
    torch.manual_seed(0)
    return MAE(config).eval()


def stored(positions: Literal["learned", "fixed"]) -> MAEConfig:
    return replace(DEBUG, encoder=replace(DEBUG.encoder, positions=positions, has_class_position=True))


def draw(rows: int = 20, columns: int = 24) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(2, 3, rows, columns, generator=generator)
    return pixels, torch.rand(2, rows // 4 * (columns // 4), generator=generator)


@pytest.mark.parametrize("config", [DEBUG, stored("learned"), stored("fixed")])
def test_it_paints_every_patch_of_any_grid(config: MAEConfig) -> None:
    model = mae(config)
    for size in ((16, 16), (20, 24), (8, 32)):
        painted, is_hidden = model(*draw(*size))
        num_patches = size[0] * size[1] // 16
        assert painted.shape == (2, num_patches, 48) and painted.isfinite().all()
        assert (is_hidden.sum(1) == num_patches - int(num_patches * 0.25)).all()


def test_what_is_hidden_is_not_seen() -> None:
    model, (pixels, noise) = mae(), draw()
    painted, is_hidden = model(pixels, noise)
    places = is_hidden.view(2, 1, 5, 6).repeat_interleave(4, 2).repeat_interleave(4, 3)
    torch.testing.assert_close(model(torch.where(places, 9.0, pixels), noise)[0], painted)
    assert (model(torch.where(places, pixels, 9.0), noise)[0] - painted).abs().max() > 1e-3


def test_the_least_noise_is_kept_and_its_order_does_not_matter() -> None:
    model, (pixels, noise) = mae(), draw()
    painted, is_hidden = model(pixels, noise)
    threshold = noise.sort(dim=1).values[:, 6:7]
    assert torch.equal(is_hidden, noise > threshold)
    mirrored = torch.where(is_hidden, noise, threshold - noise)  # the same patches in reverse order
    torch.testing.assert_close(model(pixels, mirrored)[0], painted, rtol=1e-4, atol=1e-5)


def test_a_generator_decides_like_the_noise_that_it_draws() -> None:
    model, (pixels, _) = mae(), draw()
    noise = torch.rand(2, 30, generator=torch.Generator().manual_seed(5))
    for again in range(2):
        drawn = model(pixels, generator=torch.Generator().manual_seed(5 + again))[1]
        assert torch.equal(drawn, model(pixels, noise)[1]) == (again == 0)


def test_a_picture_undoes_patches() -> None:
    model, (pixels, _) = mae(), draw()
    patches = model.patches(pixels)
    assert torch.equal(model.picture(patches, (5, 6)), pixels)
    assert torch.equal(patches[1, 8].view(4, 4, 3)[1, 2], pixels[1, :, 4 + 1, 8 + 2])  # patch 8: row 1, column 2


@pytest.mark.parametrize("is_normalised", [False, True])
def test_only_hidden_patches_are_asked_for(is_normalised: bool) -> None:
    model, (pixels, noise) = mae(replace(DEBUG, has_normalised_target=is_normalised)), draw()
    is_hidden = model(pixels, noise)[1]
    target = model.patches(pixels)
    if is_normalised:
        target = (target - target.mean(2, keepdim=True)) / target.std(2, keepdim=True)
    assert float(model.loss(pixels, torch.where(is_hidden[:, :, None], target, 9.0), is_hidden)) < 1e-8
    off = torch.where(is_hidden[:, :, None], target + 2.0, target)
    torch.testing.assert_close(model.loss(pixels, off, is_hidden), torch.tensor(4.0), rtol=1e-4, atol=1e-4)


def test_a_normalised_target_does_not_know_brightness() -> None:
    model, (pixels, noise) = mae(replace(DEBUG, has_normalised_target=True)), draw()
    painted, is_hidden = model(pixels, noise)
    brighter = model.loss(3 * pixels + 5, painted, is_hidden)
    torch.testing.assert_close(brighter, model.loss(pixels, painted, is_hidden), rtol=1e-4, atol=1e-4)


def test_noise_and_images_of_a_wrong_size_are_refused() -> None:
    model, (pixels, noise) = mae(), draw()
    with pytest.raises(UserError, match=r"one number for each of 30 patches of 2 images; give \(2, 30\)"):
        model(pixels, noise[:, 1:])
    with pytest.raises(UserError, match="22 x 20 pixels do not divide into patches of 4"):
        model.patches(pixels[:, :, :, :22])


def test_fixed_tables_are_stored_but_not_trained_and_begin_as_the_sines() -> None:
    config = stored("fixed")
    fixed, made, draws = mae(config), mae(), draw(16, 16)
    tables = {"encoder.positions", "positions"}
    assert tables <= fixed.state_dict().keys() and not tables & dict(fixed.named_parameters()).keys()
    made.load_state_dict({name: value for name, value in fixed.state_dict().items() if name not in tables})
    torch.testing.assert_close(fixed(*draws)[0], made(*draws)[0])


@pytest.mark.parametrize("config", [DEBUG, stored("learned")])
def test_every_parameter_gets_a_gradient(config: MAEConfig) -> None:
    model, (pixels, noise) = mae(config), draw(16, 16)
    model.loss(pixels, *model(pixels, noise)).backward()
    silent = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []


def test_it_learns_to_paint() -> None:
    model, (pixels, noise) = mae().train(), draw(16, 16)
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=3e-3), []
    for _ in range(30):
        loss = model.loss(pixels, *model(pixels, noise))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]


def test_an_encoder_alone_still_encodes() -> None:
    model = mae(replace(DEBUG, decoder=None))
    assert not [name for name, _ in model.named_parameters() if not name.startswith("encoder.")]
    assert model.encode(*draw()).tokens.values.shape == (2, 1 + 7, 32)


def test_a_preset_survives_json() -> None:
    for config in (*PRESETS.values(), stored("fixed"), replace(DEBUG, decoder=None)):
        assert from_json(MAEConfig, to_json(config)) == config


def test_base_has_the_published_number_of_parameters() -> None:
    """ViT-B/16 and its decoder: 111,907,840 with two tables of 197 positions, which sines need not be."""
    with torch.device("meta"):
        model = MAE(PRESETS["base"])
    assert sum(value.numel() for value in model.parameters()) == 111_907_840 - 197 * (768 + 512)
