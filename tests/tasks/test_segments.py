"""Parts of an image: what is alike and near is one part, and together they cover the image."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from beholder.pretrained.describer_folder import embedded_vision
from beholder.runtime.device import pick_device
from beholder.tasks.segments import cut, segments_of
from beholder.tokenizers.pixels import PixelConfig

CPU = pick_device("cpu", 1)


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    torch.manual_seed(0)
    yield


def test_what_is_alike_is_one_part() -> None:
    features = torch.randn(8, 12, 12) * 0.1
    features[0, :, :6] += 3  # left
    features[1, :6, 6:] += 3  # above right
    features[2, 6:, 6:] += 3
    masks = cut(features, 3)
    truth = [np.zeros((12, 12), bool) for _ in range(3)]
    truth[0][:, :6], truth[1][:6, 6:], truth[2][6:, 6:] = True, True, True
    assert {mask.tobytes() for mask in masks} == {mask.tobytes() for mask in truth}


def test_parts_cover_the_image_without_overlap_and_again_the_same() -> None:
    features = torch.randn(5, 9, 7)
    masks = cut(features, 4)
    assert (np.sum(masks, axis=0) == 1).all()
    assert all((one == other).all() for one, other in zip(masks, cut(features, 4), strict=True))


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (3, 3)])
def test_small_grids_and_one_colour_are_cut_too(size: tuple[int, int]) -> None:
    masks = cut(torch.zeros(4, *size), 6)
    assert (np.sum(masks, axis=0) == 1).all()


@pytest.mark.parametrize("shape", [(60, 90), (3, 200), (1, 1)])
def test_segments_of_an_image_lie_within_it_and_around_their_places(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)
    found = segments_of(image, embedded_vision(2), PixelConfig(size=128), CPU)
    assert 1 <= len(found) <= 6 and [one.area for one in found] == sorted((one.area for one in found), reverse=True)
    for one in found:
        box, (rows, columns) = one.box, np.nonzero(one.mask)
        assert 0 <= box.left < box.right <= 1 and 0 <= box.top < box.bottom <= 1
        assert box.top <= rows.min() / len(one.mask) and box.bottom >= (rows.max() + 1) / len(one.mask)
        assert box.left <= columns.min() / one.mask.shape[1]
        assert min(one.box.crop(image).shape) >= 1


def test_a_thing_on_a_plain_ground_is_a_part_of_its_own() -> None:
    image = np.full((224, 224, 3), 200, np.uint8)
    generator = np.random.default_rng(0)
    image[60:170, 70:180] = generator.integers(0, 255, (110, 110, 3))
    found = segments_of(image, embedded_vision(2), PixelConfig(), CPU, num_parts=2)
    truth = np.zeros((224, 224), bool)
    truth[60:170, 70:180] = True

    def overlap(mask: np.ndarray) -> float:
        large = np.kron(mask, np.ones((224 // len(mask) + 1,) * 2))[:224, :224] > 0
        return float((large & truth).sum() / (large | truth).sum())

    assert max(overlap(one.mask) for one in found) > 0.5
