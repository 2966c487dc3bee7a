"""The deletion test tells true heat from false heat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from beholder.evaluate.deletion import Deletion, deletion_test

GRID = 28
SHAPE = (56, 84)


def planted(generator: np.random.Generator, row: int, column: int) -> np.ndarray:
    """A checkered patch of 14 x 21 pixels on smooth grey."""
    image = np.full((*SHAPE, 3), int(generator.integers(90, 160)), np.uint8)
    y, x = np.mgrid[:14, :21]
    image[row : row + 14, column : column + 21] = (120 + 100 * ((x // 2 + y // 2) % 2))[..., None]
    return image


def predict(images: Sequence[np.ndarray]) -> np.ndarray:
    """Class 1 is the share of pixels that differ from their neighbours: what blurring takes away."""
    edges = np.array([np.abs(np.diff(image[..., 0].astype(float), axis=1)).mean() / 10 for image in images])
    first = np.clip(edges, 0, 1)
    return np.stack([1 - first, first], axis=1)


PLACES = [(0, 0), (40, 0), (20, 30), (0, 60), (40, 60)]


@pytest.fixture
def images() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [planted(generator, *place) for place in PLACES]


def heat_near(places: Sequence[tuple[int, int]]) -> np.ndarray:
    """Hot at the middle of each patch, colder the farther away."""
    y, x = np.mgrid[:GRID, :GRID]
    return np.stack([-np.hypot(y - row / 2 - 3, x - column / 3 - 3) for row, column in places])


def delete(images: Sequence[np.ndarray], heat: np.ndarray, classes: np.ndarray | None = None) -> Deletion:
    classes = np.ones(len(images), np.int64) if classes is None else classes
    return deletion_test(images, heat, classes, predict, np.random.default_rng(1))


def test_true_evidence_costs_the_answer_and_random_places_cost_less(images: list[np.ndarray]) -> None:
    found = delete(images, heat_near(PLACES))
    before = predict(images)[:, 1].mean()
    assert found.important_drop > 0.75 * before
    assert found.random_drop < 0.5 * found.important_drop
    assert (found.share_better, found.num_images) == (1.0, 5)


def test_false_evidence_costs_less_than_random_places(images: list[np.ndarray]) -> None:
    found = delete(images, -heat_near(PLACES))
    assert abs(found.important_drop) < 0.02
    assert found.random_drop > found.important_drop + 0.02
    assert found.share_better < 0.5


def test_evidence_against_a_class_makes_it_more_probable_when_deleted(images: list[np.ndarray]) -> None:
    found = delete(images, heat_near(PLACES), np.zeros(len(images), np.int64))
    assert found.important_drop < found.random_drop < 0


def test_where_there_is_nothing_to_delete_nothing_is_lost() -> None:
    blank = [np.full((*SHAPE, 3), 120, np.uint8)] * 3
    found = delete(blank, heat_near(PLACES[:3]))
    assert (found.important_drop, found.random_drop, found.share_better) == (0.0, 0.0, 0.0)


def test_only_the_order_of_the_heat_matters_and_the_images_stay_as_they_are(images: list[np.ndarray]) -> None:
    before = [image.copy() for image in images]
    heat = np.random.default_rng(2).random((5, GRID, GRID))
    assert delete(images, heat) == delete(images, heat**3 / 7)
    assert all(np.array_equal(image, own) for image, own in zip(images, before, strict=True))


def test_a_random_fifth_is_deleted_in_the_same_amount_as_the_hottest() -> None:
    """On even texture no place matters more than another."""
    checkered = (120 + 8 * (np.indices(SHAPE).sum(0) // 2 % 2)).astype(np.uint8)
    textured = [np.repeat(checkered[..., None], 3, axis=2)] * 6
    centre = np.zeros((6, GRID, GRID))
    centre[:, 8:20, 8:20] = np.random.default_rng(0).random((6, 12, 12)) + 1
    found = delete(textured, centre)
    assert found.important_drop > 0
    assert found.random_drop == pytest.approx(found.important_drop, rel=0.35)
