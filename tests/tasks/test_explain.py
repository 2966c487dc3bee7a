"""Heat maps light up where the evidence was planted, for the class that is asked about."""

from __future__ import annotations

import numpy as np
import pytest
from bundles import CPU, random_bundle

from beholder.evaluate.deletion import deletion_test
from beholder.pretrained.bundle import Bundle
from beholder.pretrained.catalogue import efficientnet_lite0
from beholder.recipes.adapt.features import Features, see
from beholder.recipes.adapt.ship import build_bundle
from beholder.recipes.adapt.spaces import fit_space
from beholder.tasks.embed import embed_arrays
from beholder.tasks.explain import GRID, heat_maps
from beholder.tokenizers.pixels import PixelConfig
from beholder.train.readout import fit_readout
from beholder.types import UserError

SIDE, PATCH = 84, 21
RESOLUTIONS = (128,)


def planted(generator: np.random.Generator, is_marked: bool) -> tuple[np.ndarray, np.ndarray]:
    """Noise on grey, with a chequered patch (class 1) or without (class 0), and where on the grid the patch lies."""
    image = generator.normal(120, 12, (SIDE, SIDE))
    where = np.zeros((GRID, GRID), bool)
    row, column = generator.integers(0, SIDE - PATCH, 2)
    if is_marked:
        image[row : row + PATCH, column : column + PATCH] += 70 * (np.indices((PATCH, PATCH)).sum(0) // 3 % 2) - 35
        top, left, size = round(row * GRID / SIDE), round(column * GRID / SIDE), PATCH * GRID // SIDE
        where[top : top + size, left : left + size] = True
    return np.repeat(image.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2), where


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """ImageNet features and a head that was fitted to tell marked images; random features saturate the head."""
    generator = np.random.default_rng(0)
    images, labels = [planted(generator, index % 2 == 1)[0] for index in range(40)], np.arange(40) % 2
    network, pixels = efficientnet_lite0(), PixelConfig()
    descriptor, summary = see(network.folded(), images, RESOLUTIONS, pixels, CPU)
    space = fit_space("generic", [Features(descriptor, summary)], np.arange(40), width=16, seed=0)
    readout = fit_readout(space.embedding, labels, np.arange(40), 2)
    return build_bundle([network], space, RESOLUTIONS, readout, None, ("plain", "marked"), pixels, {}, "")


@pytest.fixture(scope="module")
def marked() -> tuple[list[np.ndarray], np.ndarray]:
    generator = np.random.default_rng(1)
    pairs = [planted(generator, True) for _ in range(8)]
    return [image for image, _ in pairs], np.stack([where for _, where in pairs])


def probabilities(bundle: Bundle, images: list[np.ndarray]) -> np.ndarray:
    return bundle.model.classify(embed_arrays(bundle, images, CPU).clone()).numpy()


def test_the_heat_is_where_the_patch_is(bundle: Bundle, marked: tuple[list[np.ndarray], np.ndarray]) -> None:
    images, where = marked
    assert (probabilities(bundle, images)[:, 1] > 0.9).all(), "the head does not know the patch"
    heat = heat_maps(bundle, images, [1] * 8, CPU)
    assert heat.shape == (8, GRID, GRID)
    assert heat.min() >= 0
    np.testing.assert_allclose(heat.max((1, 2)), 1, rtol=1e-6)
    inside = np.array([map_[own].mean() for map_, own in zip(heat, where, strict=True)])
    outside = np.array([map_[~own].mean() for map_, own in zip(heat, where, strict=True)])
    assert (inside > 2 * outside).all()
    hottest = [where[index].reshape(-1)[heat[index].argmax()] for index in range(8)]
    assert np.mean(hottest) > 0.8  # by chance: the patch's share of the picture, 6 %


def test_deleting_the_heat_costs_the_answer(bundle: Bundle, marked: tuple[list[np.ndarray], np.ndarray]) -> None:
    images, _ = marked
    heat = heat_maps(bundle, images, [1] * 8, CPU)
    ones = np.ones(8, np.int64)
    found = deletion_test(
        images, heat, ones, lambda batch: probabilities(bundle, list(batch)), np.random.default_rng(0)
    )
    assert found.important_drop > found.random_drop + 0.4
    assert found.share_better == 1.0


def test_the_other_class_has_its_evidence_elsewhere(
    bundle: Bundle, marked: tuple[list[np.ndarray], np.ndarray]
) -> None:
    images, where = marked
    for_it, against = (heat_maps(bundle, images, [index] * 8, CPU) for index in (1, 0))
    assert for_it[where].mean() > 10 * against[where].mean()


def test_neighbours_in_a_batch_do_not_matter(bundle: Bundle, marked: tuple[list[np.ndarray], np.ndarray]) -> None:
    images, _ = marked
    together = heat_maps(bundle, images[:3], [1, 0, 1], CPU)
    for index, one in enumerate([1, 0, 1]):
        (alone,) = heat_maps(bundle, images[index : index + 1], [one], CPU)
        np.testing.assert_allclose(together[index], alone, atol=1e-3)


def test_explaining_changes_nothing(bundle: Bundle, marked: tuple[list[np.ndarray], np.ndarray]) -> None:
    images, _ = marked
    before = probabilities(bundle, images)
    heat_maps(bundle, images, [1] * 8, CPU)
    np.testing.assert_array_equal(probabilities(bundle, images), before)
    assert all(parameter.grad is None for parameter in bundle.model.parameters())


def test_without_classes_there_is_nothing_to_explain() -> None:
    with pytest.raises(UserError, match="made without labels"):
        heat_maps(random_bundle(labels=()), [np.zeros((30, 30, 3), np.uint8)], [0], CPU)
