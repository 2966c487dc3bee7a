"""Picks are distinct, unlabelled, repeatable and spread over the clusters that exist."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beholder.evaluate import pick
from beholder.evaluate.pick import kmeans_pick


def blobs(num_blobs: int = 8, per_blob: int = 25, seed: int = 0):
    random = np.random.default_rng(seed)
    centres = 20 * random.normal(size=(num_blobs, 12))
    return np.repeat(centres, per_blob, axis=0) + random.normal(size=(num_blobs * per_blob, 12))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 70), st.integers(0, 5), st.integers(0, 20), st.integers(1, 6))
def test_picks_are_distinct_unlabelled_and_as_many_as_asked(count, seed, num_labelled, num_distinct):
    random = np.random.default_rng(seed)
    features = random.integers(0, num_distinct, (60, 5)).astype(np.float32)  # many images are exactly alike
    already = random.choice(60, num_labelled, replace=False)
    picked = kmeans_pick(features, count, seed, already)
    assert len(picked) == min(count, 60 - num_labelled)
    assert len(set(picked.tolist())) == len(picked)
    assert not set(picked.tolist()) & set(already.tolist())


def test_each_blob_gets_one_label():
    assert sorted(kmeans_pick(blobs(), 8, seed=1) // 25) == list(range(8))


def test_blobs_without_a_label_are_served_before_those_with_one():
    picked = kmeans_pick(blobs(), 3, seed=1, already=np.array([0, 30, 60, 80, 110]))
    assert sorted(picked // 25) == [5, 6, 7]


def test_equal_seeds_give_equal_picks():
    features = np.random.default_rng(0).normal(size=(300, 100)).astype(np.float32)
    np.testing.assert_array_equal(kmeans_pick(features, 20, seed=3), kmeans_pick(features, 20, seed=3))


def test_asking_for_all_returns_all():
    np.testing.assert_array_equal(np.sort(kmeans_pick(blobs(2, 5), 99, seed=0)), np.arange(10))


def test_asking_for_all_begins_with_the_middle_of_the_largest_cluster():
    random = np.random.default_rng(2)
    sizes, centres = (5, 40, 15), 50 * random.normal(size=(3, 6))
    features = np.concatenate([c + random.normal(size=(n, 6)) for n, c in zip(sizes, centres, strict=True)])
    shuffled = random.permutation(60)
    picked = shuffled[kmeans_pick(features[shuffled], 60, seed=0)]
    distance = np.linalg.norm(features[5:45] - features[5:45].mean(0), axis=1)
    large = [image - 5 for image in picked if 5 <= image < 45]
    assert distance[large[:5]].mean() < distance[large[-5:]].mean()
    assert 5 <= picked[0] < 45  # not the first of the folder, which is of the smallest cluster


def test_images_like_labelled_ones_come_last_when_all_are_asked_for():
    picked = kmeans_pick(blobs(5, 5), 99, seed=0, already=np.array([7]))
    assert len(picked) == 24
    assert set(picked[-4:]) == {5, 6, 8, 9}


def test_a_strong_direction_is_not_drowned_by_many_weak_ones():
    """Rows that are principal components already: bringing them to one scale would lose five clusters in noise."""
    random = np.random.default_rng(4)
    for num_weak in (60, 100):  # fewer directions than are kept, and more
        strong = np.repeat(10.0 * np.arange(5), 20) + random.normal(0, 0.3, 100)
        features = np.column_stack([strong, random.normal(0, 0.5, (100, num_weak))])
        assert sorted(kmeans_pick(features, 5, seed=0) // 20) == list(range(5))


def test_picks_depend_on_distances_alone():
    """Turning and shifting all rows changes nothing."""
    random = np.random.default_rng(5)
    features = blobs(6, 10, seed=5)
    turned = features @ np.linalg.qr(random.normal(size=(12, 12)))[0] + random.normal(size=12)
    np.testing.assert_array_equal(kmeans_pick(features, 6, seed=1), kmeans_pick(turned, 6, seed=1))


def test_many_images_are_read_in_batches_with_the_same_contract(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pick, "MANY_IMAGES", 100)
    assert sorted(kmeans_pick(blobs(), 8, seed=1) // 25) == list(range(8))
