"""Truths of the random views."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from beholder.data.augment import AugmentConfig, augment
from beholder.runtime.seed import torch_generator

STILL = AugmentConfig(
    size=16, crop_area=(1.0, 1.0), crop_ratio=(1.0, 1.0), horizontal_flip=0.0, jitter=0.0, grey=0.0, blur=0.0,
    mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0),
)  # fmt: skip


def pictures(count: int = 6, side: int = 16) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, side, side), generator=torch_generator(7), dtype=torch.uint8)


def views(config: AugmentConfig, images: torch.Tensor | None = None, seed: int = 0) -> torch.Tensor:
    return augment(pictures() if images is None else images, config, torch_generator(seed))


def test_with_everything_off_a_view_is_the_normalised_image() -> None:
    torch.testing.assert_close(views(STILL), pictures() / 255.0)
    normalised = views(replace(STILL, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0)))
    expected = (pictures() / 255.0 - torch.tensor([0.1, 0.2, 0.3])[:, None, None]) / torch.tensor([0.5, 0.25, 2.0])[
        :, None, None
    ]
    torch.testing.assert_close(normalised, expected)


def test_views_are_a_function_of_the_seed() -> None:
    config = AugmentConfig(size=12, vertical_flip=0.5, quarter_turn=0.5, blur=0.5)
    assert torch.equal(views(config, seed=1), views(config, seed=1))
    assert not torch.equal(views(config, seed=1), views(config, seed=2))


def test_the_images_given_are_left_as_they_were() -> None:
    images = pictures()
    views(AugmentConfig(size=16, vertical_flip=1.0, quarter_turn=1.0, blur=1.0), images)
    assert torch.equal(images, pictures())


def test_sure_flips_mirror_every_image() -> None:
    assert torch.equal(views(replace(STILL, horizontal_flip=1.0)), views(STILL).flip(3))
    assert torch.equal(views(replace(STILL, vertical_flip=1.0)), views(STILL).flip(2))


def test_a_turned_image_is_one_of_its_three_rotations() -> None:
    plain = views(STILL, pictures(40))
    for turned, image in zip(views(replace(STILL, quarter_turn=1.0), pictures(40)), plain, strict=True):
        assert any(torch.equal(turned, image.rot90(number, (1, 2))) for number in (1, 2, 3))


def test_crops_cover_the_share_that_was_asked_for() -> None:
    ramp = torch.arange(64, dtype=torch.uint8).expand(200, 3, 64, 64).contiguous()  # the column's number, as a level
    config = replace(STILL, size=32, crop_area=(0.25, 0.25))
    span = (views(config, ramp).amax((1, 2, 3)) - views(config, ramp).amin((1, 2, 3))) * 255
    assert span.min() > 28 and span.max() < 33  # half of the columns, blurred by half a pixel at the ends
    assert views(config, ramp).mean((1, 2, 3)).std() * 255 > 5  # and not always the same half


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
def test_each_colour_change_changes_colours_and_stays_in_range(name: str) -> None:
    off = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
    changed = views(replace(STILL, jitter=1.0, **{**off, name: 0.5}))
    assert (changed - views(STILL)).abs().amax((1, 2, 3)).min() > 1e-3
    assert changed.min() >= 0 and changed.max() <= 1


def test_saturation_and_hue_leave_grey_pictures_alone() -> None:
    grey = pictures()[:, :1].expand(-1, 3, -1, -1).contiguous()
    config = replace(STILL, jitter=1.0, brightness=0.0, contrast=0.0, saturation=0.9, hue=0.5, grey=0.5)
    torch.testing.assert_close(views(config, grey), grey / 255.0, rtol=0, atol=2e-3)


def test_contrast_keeps_the_mean_grey() -> None:
    images = (pictures().float() * 0.2 + 100).to(torch.uint8)  # far from both ends, so that nothing is cut
    config = replace(STILL, jitter=1.0, brightness=0.0, contrast=0.5, saturation=0.0, hue=0.0)
    luma = torch.tensor([0.299, 0.587, 0.114])
    before, after = (images / 255.0).mean((2, 3)) @ luma, views(config, images).mean((2, 3)) @ luma
    torch.testing.assert_close(after, before, rtol=0, atol=1e-4)


def test_grey_views_have_three_equal_channels() -> None:
    grey = views(replace(STILL, grey=1.0))
    torch.testing.assert_close(grey, grey[:, :1].expand(-1, 3, -1, -1))
    torch.testing.assert_close(grey[:, 0], (views(STILL) * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1))


def test_blur_smooths_but_keeps_flat_pictures() -> None:
    config = replace(STILL, blur=1.0, blur_sigma=(1.0, 1.0))
    assert (views(config).std((2, 3)) < 0.6 * views(STILL).std((2, 3))).all()
    flat = torch.full((2, 3, 16, 16), 90, dtype=torch.uint8)
    torch.testing.assert_close(views(config, flat), flat / 255.0)


def test_blur_is_the_gaussian_it_says() -> None:
    spot = torch.zeros(1, 3, 17, 17, dtype=torch.uint8)
    spot[..., 8, 8] = 255
    blurred = views(replace(STILL, size=17, blur=1.0, blur_sigma=(1.0, 1.0)), spot)[0, 0]
    weights = F.normalize(torch.exp(-0.5 * torch.arange(-2.0, 3.0) ** 2), p=1.0, dim=0)
    torch.testing.assert_close(blurred[6:11, 6:11], weights[:, None] * weights, rtol=1e-4, atol=1e-5)
