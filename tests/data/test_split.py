"""Folds: whole groups, even classes, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beholder.data.components import merge, number
from beholder.data.split import combine_groups, grouped_folds, random_folds
from beholder.types import UserError

some_ids = st.lists(st.integers(0, 12), min_size=1, max_size=60)


def labelled(size: int, seed: int) -> list[str | None]:
    choices = ["a", "b", None]
    return [choices[index] for index in np.random.default_rng(seed).integers(0, 3, size)]


@settings(deadline=None, derandomize=True)
@given(ids=some_ids, num_folds=st.integers(1, 8), seed=st.integers(0, 3))
def test_a_group_never_straddles_and_every_sample_has_one_fold(ids, num_folds, seed):
    groups, labels = np.array(ids), labelled(len(ids), seed)
    folds = grouped_folds(labels, groups, num_folds, seed)
    assert folds.shape == groups.shape and set(folds) <= set(range(num_folds))
    assert all(len(set(folds[groups == group])) == 1 for group in set(ids))
    assert np.array_equal(folds, grouped_folds(labels, groups, num_folds, seed))


def test_no_fold_is_empty_when_there_are_enough_groups():
    for seed in range(20):
        folds = grouped_folds(labelled(40, seed), np.repeat(np.arange(10), 4), 5, seed)
        assert set(folds) == set(range(5))


def test_fewer_groups_than_folds_leaves_folds_empty():
    assert len(set(grouped_folds(["a"] * 6, np.array([0, 0, 0, 1, 1, 1]), 5, 0))) == 2


def test_classes_and_sizes_are_balanced():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 60, 1200)
    positive = rng.random(60) < 0.25
    labels: list[str | None] = ["defect" if positive[group] else "good" for group in groups]
    folds = grouped_folds(labels, groups, 5, 0)
    sizes = np.bincount(folds, minlength=5)
    shares = [np.mean([labels[i] == "defect" for i in np.flatnonzero(folds == fold)]) for fold in range(5)]
    assert sizes.max() < 1.15 * sizes.min()
    assert max(shares) - min(shares) < 0.06


def test_unlabelled_samples_are_balanced_by_count():
    groups = np.repeat(np.arange(30), np.arange(1, 31))
    sizes = np.bincount(grouped_folds([None] * len(groups), groups, 5, 0))
    assert sizes.max() - sizes.min() <= 5


def test_the_seed_changes_the_folds():
    groups = np.arange(50)
    assert not np.array_equal(grouped_folds(["a"] * 50, groups, 5, 0), grouped_folds(["a"] * 50, groups, 5, 1))


@settings(deadline=None, derandomize=True)
@given(size=st.integers(0, 60), num_folds=st.integers(1, 7), seed=st.integers(0, 3))
def test_random_folds_are_even_in_size_and_class(size, num_folds, seed):
    labels = labelled(size, seed)
    folds = random_folds(labels, num_folds, seed)
    for label in {"all", *labels}:
        members = folds if label == "all" else folds[[known == label for known in labels]]
        counts = np.bincount(members, minlength=num_folds)
        assert counts.max() - counts.min() <= 1


@settings(deadline=None, derandomize=True)
@given(pairs=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=50))
def test_combined_groups_are_the_finest_equivalence_that_keeps_both(pairs):
    first, second = np.array([a for a, _ in pairs]), np.array([b for _, b in pairs])
    combined = combine_groups(first, second)
    parent = {("a", a): ("a", a) for a in first} | {("b", b): ("b", b) for b in second}

    def top(node):
        while parent[node] != node:
            node = parent[node]
        return node

    for a, b in pairs:
        parent[top(("a", a))] = top(("b", b))
    expected = [top(("a", a)) for a in first]
    for i in range(len(pairs)):
        for j in range(len(pairs)):
            assert (combined[i] == combined[j]) == (expected[i] == expected[j])
    assert combined[0] == 0 and set(combined) == set(range(combined.max() + 1))
    assert np.array_equal(combine_groups(combined, first), combined)


def test_a_long_chain_is_one_component():
    order = np.random.default_rng(0).permutation(20_000)
    root = merge(np.arange(20_000), order[:-1], order[1:])
    assert not root.any() and not number(root).any()


def test_no_folds_is_refused():
    with pytest.raises(UserError, match="at least 1"):
        grouped_folds(["a"], np.array([0]), 0, 0)
