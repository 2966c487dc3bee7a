from __future__ import annotations

import numpy as np
import torch

from beholder.tokenizers.pixels import PixelConfig, normalise, resize, to_batch


def test_an_image_of_the_right_size_is_left_alone() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    assert resize(image, 32) is image


def test_resizing_stretches_any_shape_to_a_square_and_keeps_its_mean() -> None:
    generator = np.random.default_rng(0)
    for height, width in ((1, 1), (1, 500), (333, 77), (40, 41)):
        image = generator.integers(0, 256, (height, width, 3), np.uint8)
        square = resize(image, 64)
        assert square.shape == (64, 64, 3)
        assert abs(float(square.mean()) - float(image.mean())) < 6


def test_what_lies_at_the_edge_is_still_seen() -> None:
    image = np.zeros((50, 400, 3), np.uint8)
    image[:, :20] = 255
    assert resize(image, 40)[:, 0].min() > 200


def test_normalising_maps_mean_to_zero_and_one_std_to_one() -> None:
    config = PixelConfig(mean=(0.2, 0.4, 0.6), std=(0.1, 0.2, 0.4))
    image = np.zeros((2, 2, 3), np.uint8)
    image[:] = [51, 102, 153]
    image[0, 0] = [51, 153, 255]
    pixels = normalise(to_batch([image]), config)
    assert torch.allclose(pixels[0, :, 1, 1], torch.zeros(3), atol=1e-6)
    assert torch.allclose(pixels[0, :, 0, 0], torch.tensor([0.0, 1.0, 1.0]), atol=1e-6)
