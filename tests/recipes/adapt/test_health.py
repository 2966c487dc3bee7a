"""Health measures of a space on spaces whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bundles import CPU, random_network
from domains import make_domain, make_space
from pictures import draw
from torch import Tensor, nn

from beholder.recipes.adapt import health
from beholder.recipes.adapt.health import cluster, consistency_of, examine, viewed_images
from beholder.tokenizers.pixels import PixelConfig
from beholder.types import Outputs

PIXELS = PixelConfig()


def images(count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [draw(generator, index % 3) for index in range(count)]


class Constant(nn.Module):
    """Sees nothing."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, pixels: Tensor) -> Outputs:
        features = torch.full((len(pixels), 4), self.value)
        return Outputs((features[:, :, None, None],), features)


class TestConsistency:
    def test_it_is_one_where_the_two_views_are_identical(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(health, "augment", lambda batch, config, generator: batch.float() / 255)
        found = consistency_of([random_network()], images(12), PIXELS, CPU, 0)
        np.testing.assert_array_equal(found, np.ones(12))

    def test_views_differ_and_are_the_same_each_time(self) -> None:
        first, second, other = (consistency_of([random_network()], images(12), PIXELS, CPU, seed) for seed in (0, 0, 1))
        np.testing.assert_array_equal(first, second)
        assert (first > 0).all()
        assert first.min() < 1
        assert not np.array_equal(first, other)

    @pytest.mark.parametrize("value", [3.0, 0.0, torch.nan, torch.inf, 1e20])
    def test_a_network_that_sees_nothing_is_as_consistent_as_ties_allow(self, value: float) -> None:
        found = consistency_of([Constant(value)], images(9), PIXELS, CPU, 0)
        np.testing.assert_allclose(found, 1 / 5)  # the middle of nine

    def test_a_second_network_that_sees_nothing_takes_nothing_away(self) -> None:
        alone = consistency_of([random_network()], images(9), PIXELS, CPU, 0)
        beside = consistency_of([random_network(), Constant(3.0)], images(9), PIXELS, CPU, 0)
        np.testing.assert_array_equal(alone, beside)


class TestExamine:
    def test_rank_and_neighbours_of_a_space_that_knows_the_classes(self) -> None:
        generator, labels = np.random.default_rng(0), np.arange(80) % 2
        rows = generator.normal(size=(80, 4))
        rows[:, 0] += 40 * labels - 20
        domain = make_domain(labels.tolist(), classes=("a", "b"), test=[*range(60, 80)])
        told = examine(domain, make_space(rows, "adapted"), np.array([1.0, 0.5]), 0)
        assert (told.title, told.dimensions, told.knn_accuracy) == ("adapted", 4, 1.0)
        assert 1 <= told.effective_rank < 2
        assert told.as_json()["knn_consistency"] == 0.75

    def test_neighbours_are_asked_of_the_test_part_only(self) -> None:
        """Labels are noise: only an image that may ask itself could know them."""
        generator = np.random.default_rng(1)
        labels = generator.integers(0, 2, 400)
        domain = make_domain(labels.tolist(), classes=("a", "b"), test=[*range(200, 400)])
        told = examine(domain, make_space(generator.normal(size=(400, 6))), np.ones(1), 0)
        assert told.knn_accuracy == pytest.approx(0.5, abs=0.11)  # three standard errors
        assert told.effective_rank == pytest.approx(6, abs=0.2)

    def test_without_labels_there_is_no_accuracy(self) -> None:
        domain = make_domain([-1] * 20, test=[1, 2])
        assert examine(domain, make_space(np.eye(20)), np.ones(1), 0).knn_accuracy is None


def test_viewed_images_are_of_the_test_part_where_it_is_large_enough() -> None:
    large, small = make_domain([-1] * 900, test=[*range(500, 900)]), make_domain([-1] * 50, test=[*range(31)])
    viewed = viewed_images(large, 0)
    assert len(np.unique(viewed)) == len(viewed) == health.NUM_VIEWED
    assert viewed.min() >= 500
    np.testing.assert_array_equal(viewed, viewed_images(large, 0))
    np.testing.assert_array_equal(viewed_images(small, 0), np.arange(50))


class TestClusters:
    def test_planted_clusters_are_found_with_their_labels_and_their_middles(self) -> None:
        generator, own = np.random.default_rng(0), np.repeat(np.arange(8), 10)
        rows = 30 * np.eye(8)[own] + generator.normal(size=(80, 8)) * np.linspace(0.01, 1, 10)[np.arange(80) % 10, None]
        domain = make_domain((own % 2).tolist(), classes=("even", "odd"))
        found = cluster(domain, make_space(rows), 0)
        assert [one["size"] for one in found] == [10] * 8
        for one in found:
            (name,) = {own[index] for index in one["images"]}
            assert sorted(one["images"])[0] == 10 * name  # the one with the least noise is shown
            assert len(set(one["images"])) == 6
            assert one["labels"] == {("even", "odd")[name % 2]: 10}

    def test_the_largest_comes_first_and_none_is_lost(self) -> None:
        rows = np.random.default_rng(1).normal(size=(200, 3))
        found = cluster(make_domain([-1] * 200), make_space(rows), 0)
        sizes = [one["size"] for one in found]
        assert sizes == sorted(sizes, reverse=True)
        assert sum(sizes) == 200
        assert all(one["labels"] is None for one in found)

    def test_there_are_no_more_clusters_than_different_images(self) -> None:
        three = np.eye(3)[np.arange(30) % 3]
        assert [one["size"] for one in cluster(make_domain([-1] * 30), make_space(three), 0)] == [10] * 3
        assert cluster(make_domain([-1] * 30), make_space(np.ones((30, 3))), 0) == []
