"""Health measures of an embedding say what they claim on embeddings whose answer is known."""

import numpy as np
import pytest

from beholder.metrics.embeddings import effective_rank, knn_accuracy, view_consistency


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_equal_directions_count_fully(random):
    directions, _ = np.linalg.qr(random.normal(size=(32, 32)))
    features = np.concatenate([directions[:8], -directions[:8]])  # eight orthogonal directions of equal variance
    assert effective_rank(features) == pytest.approx(8.0)


def test_a_collapsed_embedding_has_rank_one(random):
    assert effective_rank(np.ones((10, 4), np.float32)) == 1.0
    assert effective_rank(random.normal(size=(50, 1)) * np.ones((1, 6))) == pytest.approx(1.0)


def test_effective_rank_ignores_shift_scale_and_rotation(random):
    features = random.normal(size=(100, 6)) * [1, 2, 3, 4, 5, 6]
    rotation, _ = np.linalg.qr(random.normal(size=(6, 6)))
    assert effective_rank(3 * features @ rotation + 7) == pytest.approx(effective_rank(features))


def test_knn_equals_a_vote_among_the_nearest_by_cosine(random):
    train, test = random.normal(size=(90, 5)), random.normal(size=(40, 5)) * 9
    train_labels, test_labels = random.integers(0, 3, 90), random.integers(0, 3, 40)
    similarity = (test / np.linalg.norm(test, axis=1)[:, None]) @ (train / np.linalg.norm(train, axis=1)[:, None]).T
    votes = train_labels[np.argsort(-similarity, axis=1)[:, :7]]
    predicted = np.array([np.bincount(row, minlength=3).argmax() for row in votes])
    assert knn_accuracy(train, train_labels, test, test_labels, k=7) == pytest.approx((predicted == test_labels).mean())


def test_knn_with_more_neighbours_than_items_votes_among_all(random):
    train = random.normal(size=(5, 3))
    assert knn_accuracy(train, np.array([0, 0, 0, 1, 1]), train, np.zeros(5, int), k=20) == 1.0


def test_equal_views_are_fully_consistent(random):
    features = random.normal(size=(60, 16))
    np.testing.assert_array_equal(view_consistency(features, 5 * features), np.ones(60))


def test_unrelated_views_are_as_consistent_as_chance(random):
    values = view_consistency(random.normal(size=(300, 16)), random.normal(size=(300, 16)))
    assert values.shape == (300,)
    assert values.mean() == pytest.approx((1 / np.arange(1, 301)).mean(), abs=0.01)


def test_a_collapsed_embedding_is_not_consistent():
    assert view_consistency(np.ones((99, 4)), np.ones((99, 4))).max() == pytest.approx(1 / 50)


def test_consistency_is_the_mean_reciprocal_rank_of_both_directions():
    first = np.array([[1.0, 0.0], [0.0, 1.0]])
    second = np.array([[0.6, 0.8], [0.8, 0.6]])  # each nearest to the other's partner
    np.testing.assert_allclose(view_consistency(first, second), [0.5, 0.5])
