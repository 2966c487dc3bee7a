"""A space is fitted on training images alone, and the model that is shipped embeds as the space that was judged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bundles import CPU, random_network
from pictures import draw

from beholder.models.embedder import Projection
from beholder.recipes.adapt.features import Features, in_range, see
from beholder.recipes.adapt.ship import build_bundle
from beholder.recipes.adapt.spaces import Space, fit_space, projection_tensors
from beholder.tasks.embed import embed_arrays
from beholder.tokenizers.pixels import PixelConfig


def features(count: int = 60, width: int = 20, seed: int = 0) -> Features:
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(count, width)) @ generator.normal(size=(width, width)) * 3 + 5
    return Features(rows.astype(np.float16), np.zeros((count, 2), np.float16))


def fit(parts: list[Features], train: np.ndarray, width: int = 8, seed: int = 0) -> Space:
    return fit_space("generic", parts, train, width=width, seed=seed)


def test_the_stored_projection_gives_the_embedding() -> None:
    parts = [features(), features(seed=1)]
    space = fit(parts, np.arange(40))
    projection = Projection(40, 8)
    projection.load_state_dict(projection_tensors(space))
    rows = np.concatenate([part.descriptor.astype(np.float32) for part in parts], axis=1)
    np.testing.assert_allclose(projection(torch.from_numpy(rows)).numpy(), space.embedding, atol=1e-4)


def test_training_rows_become_centred_uncorrelated_and_ordered() -> None:
    space = fit([features(200)], np.arange(150), width=20)
    rows = space.embedding[:150].astype(np.float64)
    np.testing.assert_allclose(rows.mean(0), 0, atol=1e-4)
    covariance = np.cov(rows.T)
    variances = np.diag(covariance).copy()
    assert np.abs(covariance - np.diag(variances)).max() < 1e-3 * variances.max()
    assert (np.diff(variances) <= 1e-6).all()
    assert variances.sum() == pytest.approx(20 * 150 / 149, rel=1e-3)  # standardised: one per value, nothing lost


def test_other_rows_have_no_say() -> None:
    one, train = features(), np.arange(0, 60, 2)
    changed = Features(one.descriptor.copy(), one.summary)
    changed.descriptor[1::2] = 1000
    first, second = fit([one], train), fit([changed], train)
    for name in ("mean", "scale", "components"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    assert np.array_equal(first.embedding[train], second.embedding[train])


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_rows_give_few_directions(count: int) -> None:
    space = fit([features()], np.arange(count))
    assert space.embedding.shape == (60, max(1, count - 1))
    assert np.isfinite(space.embedding).all()


def test_rows_that_do_not_differ_give_one_finite_direction() -> None:
    same = Features(np.ones((30, 7), np.float16), np.zeros((30, 2), np.float16))
    space = fit([same], np.arange(20))
    assert space.embedding.shape == (30, 1)
    assert not space.embedding.any()


def test_a_value_that_never_varies_does_not_matter() -> None:
    plain = features()
    wider = Features(np.concatenate([plain.descriptor, np.full((60, 1), 7, np.float16)], axis=1), plain.summary)
    first, second = fit([plain], np.arange(50)), fit([wider], np.arange(50))
    np.testing.assert_allclose(np.abs(first.embedding), np.abs(second.embedding), atol=2e-2)


def test_values_beyond_half_precision_are_kept_as_the_largest() -> None:
    rows = np.array([[np.nan, np.inf, -np.inf, 1e9, 3.5]], np.float32)
    kept = in_range(rows).astype(np.float16)
    assert kept.tolist() == [[0.0, 65504.0, -65504.0, 65504.0, 3.5]]


@pytest.mark.parametrize("num_backbones", [1, 2])
def test_the_shipped_model_embeds_like_the_judged_space(num_backbones: int) -> None:
    generator = np.random.default_rng(0)
    images, resolutions = [draw(generator, index % 3) for index in range(24)], (32, 48)
    networks, pixels = [random_network(seed) for seed in range(num_backbones)], PixelConfig()
    parts = [
        Features(see(network.folded(), images, resolutions, pixels, CPU)[0], np.zeros((24, 2))) for network in networks
    ]
    space = fit(parts, np.arange(20))
    bundle = build_bundle(networks, space, resolutions, None, None, (), pixels, {}, "")
    told = embed_arrays(bundle, images, CPU).numpy()
    spread = space.embedding.std()
    np.testing.assert_allclose(told, space.embedding, atol=1e-3 * spread)
    assert np.abs(told[0] - told[1]).max() > spread, "images that look alike prove nothing"
