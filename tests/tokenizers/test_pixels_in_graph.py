"""Preprocessing inside a graph: what Pillow does, whatever the size, and a refusal where graphs cannot follow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from beholder.tokenizers.pixels import PixelConfig, prepare
from beholder.tokenizers.pixels_in_graph import PixelsInGraph
from beholder.types import UserError

CONFIGS = (
    PixelConfig(size=32),
    PixelConfig(size=(24, 40), resampling="bilinear"),
    PixelConfig(size=32, fit="shortest", crop=32, mean=(0.48, 0.45, 0.4), std=(0.27, 0.26, 0.28)),
    PixelConfig(size=40, fit="shortest", crop=(24, 32), resampling="bilinear"),
    PixelConfig(size=32, is_rounded=False, divisor=1.0, mean=(0.0, 1.0, 2.0), std=(1.0, 2.0, 3.0)),
)


def smooth(height: int, width: int, seed: int) -> np.ndarray:
    """As photos are: neighbours alike."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.sampled_from(CONFIGS), st.booleans(), st.integers(20, 190), st.integers(20, 190), st.integers(0, 99))
def test_it_is_within_two_grey_levels_of_pillow(
    config: PixelConfig, by_products: bool, height: int, width: int, seed: int
) -> None:
    picture = smooth(height, width, seed)
    ours = PixelsInGraph(config, by_products)(torch.from_numpy(picture.copy())[None])
    expected = prepare([picture], config)
    assert ours.shape == expected.shape
    grey_level = 1 / (config.divisor * torch.tensor(config.std)).view(1, 3, 1, 1)
    assert float(((ours - expected).abs() / grey_level).max()) <= 2.001


@pytest.mark.parametrize("by_products", [False, True])
@pytest.mark.parametrize("config", CONFIGS)
def test_one_exported_program_takes_every_size_and_number(config: PixelConfig, by_products: bool) -> None:
    dynamic = torch.export.Dim.DYNAMIC
    plain = PixelsInGraph(config, by_products)
    example = torch.zeros(2, 96, 80, 3, dtype=torch.uint8)
    sizes = {"pictures": {0: dynamic, 1: dynamic, 2: dynamic}}
    program = torch.export.export(plain, (example,), dynamic_shapes=sizes).module()
    for count, height, width in ((1, 50, 120), (3, 120, 50), (2, 64, 64), (1, 33, 32)):
        pictures = torch.from_numpy(np.stack([smooth(height, width, seed) for seed in range(count)]))
        assert torch.allclose(program(pictures), plain(pictures), atol=1e-5)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (PixelConfig(resampling="lanczos"), "'lanczos'"),
        (PixelConfig(fit="none", crop=24), "fit='none'"),
        (PixelConfig(size=24, crop=32), "crop=32"),
    ],
)
def test_what_graphs_cannot_do_is_refused(config: PixelConfig, told: str) -> None:
    with pytest.raises(UserError, match=told):
        PixelsInGraph(config)
