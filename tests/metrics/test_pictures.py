"""Figures of pictures: equal to what others compute, and at their ends where the ends are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from beholder.metrics.filters import NUM_FEATURES, filter_features
from beholder.metrics.pictures import frechet_distance, perplexity, psnr, share_used, ssim


def pair(side: tuple[int, int] = (24, 37)) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    one = torch.rand(3, 3, *side, generator=generator)
    noise = torch.randn(3, 3, *side, generator=generator)
    return one, (one + torch.tensor([0.02, 0.1, 0.4])[:, None, None, None] * noise).clamp(0, 1)


def test_psnr_and_ssim_are_those_of_torchmetrics() -> None:
    one, other = pair()
    for row in range(len(one)):
        a, b = one[row : row + 1], other[row : row + 1]
        assert float(psnr(a, b)) == pytest.approx(float(peak_signal_noise_ratio(b, a, data_range=1.0)), abs=1e-4)
        theirs = structural_similarity_index_measure(b, a, data_range=1.0)
        mirrored = [torch.nn.functional.pad(each, (5, 5, 5, 5), mode="reflect") for each in (a, b)]
        assert float(ssim(*mirrored)) == pytest.approx(float(theirs), abs=1e-5)  # theirs goes over the rim


def test_equal_pictures_are_at_the_top_and_more_noise_is_worse() -> None:
    one, other = pair((16, 16))
    assert psnr(one, one).tolist() == [100.0] * 3 and ssim(one, one).tolist() == pytest.approx([1.0] * 3)
    for measure in (psnr, ssim):
        values = measure(one, other).tolist()
        assert values == sorted(values, reverse=True)


def test_pictures_smaller_than_the_window_have_an_ssim() -> None:
    one, other = pair((8, 16))
    assert torch.isfinite(ssim(one, other)).all()


def test_the_frechet_distance_is_that_of_the_matrix_root() -> None:
    generator = np.random.default_rng(0)
    one = generator.normal(size=(200, 7)) @ generator.normal(size=(7, 7))
    other = generator.normal(size=(150, 7)) @ generator.normal(size=(7, 7)) + 0.5
    cov1, cov2 = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    difference = one.mean(0) - other.mean(0)
    wanted = difference @ difference + np.trace(cov1 + cov2 - 2 * sqrtm(cov1 @ cov2).real)
    assert frechet_distance(one, other) == pytest.approx(wanted, rel=1e-9)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)


def test_fewer_rows_than_features_have_a_distance() -> None:
    rows = np.random.default_rng(0).normal(size=(5, 40))
    assert np.isfinite(frechet_distance(rows, rows[:3])) and frechet_distance(rows, rows) < 1e-6


def test_codes_are_counted() -> None:
    codes = np.array([[0, 1], [1, 3]])
    assert share_used(codes, 8) == 3 / 8
    assert perplexity(np.repeat(np.arange(5), 3)) == pytest.approx(5)
    assert perplexity(np.zeros(9, int)) == pytest.approx(1)
    assert perplexity(codes) == pytest.approx(2 * 2**0.5)


def test_filters_see_blur_direction_and_colour_but_not_half_a_turn() -> None:
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand(1, 3, 32, 32, generator=generator) * torch.tensor([1.0, 0.5, 0.2])[:, None, None]
    seen = filter_features(picture)
    assert seen.shape == (1, NUM_FEATURES)
    blurred = torch.nn.functional.avg_pool2d(picture, 3, 1, 1)
    for changed in (blurred, picture.flip(1), picture * torch.linspace(0, 1, 32)):
        assert (filter_features(changed) - seen).abs().max() > 0.02
    assert (filter_features(picture.rot90(2, (2, 3))) - seen).abs().max() < 1e-5
    stripes = (torch.arange(32) % 4 < 2).float().expand(1, 3, 32, 32)
    across, along = filter_features(stripes)[0, :4], filter_features(stripes.transpose(2, 3))[0, :4]
    assert across.argmax() != along.argmax()
