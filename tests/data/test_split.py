"""Folds: whole groups, even classes, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beholder.data.components import merge, number
from beholder.data.split import can_judge, combine_groups, grouped_folds, random_folds
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


def held(labels, part):
    """Which of the classes a part holds."""
    return np.array([any(labels[i] == name for i in np.flatnonzero(part)) for name in sorted(set(labels))])


@pytest.mark.parametrize("seed", range(8))
def test_a_group_too_large_for_a_fair_share_is_learned_from(seed):
    groups = np.r_[np.zeros(100, int), np.arange(1, 31)]
    labels = ["good" if index % 3 else "bad" for index in range(130)]
    test = grouped_folds(labels, groups, 4, seed) == 0
    assert not test[:100].any()
    assert 8 <= test.sum() <= 12
    assert held(labels, test).all()


@settings(deadline=None, derandomize=True, max_examples=300)
@given(
    sizes=st.lists(st.integers(2, 30), min_size=4, max_size=12),
    extra=st.sampled_from([0, 0, 100, 400]),
    seed=st.integers(0, 3),
)
def test_the_test_part_is_at_most_half_and_holds_the_classes(sizes, extra, seed):
    """Every group here holds both classes, so any group may be on either side."""
    sizes = [sizes[0] + extra, *sizes[1:]]
    groups = np.repeat(np.arange(len(sizes)), sizes)
    labels = ["ab"[index % 2] for index in range(len(groups))]
    test = grouped_folds(labels, groups, 4, seed) == 0
    assert 0 < test.sum() <= len(groups) / 2
    assert held(labels, test).all() and held(labels, ~test).all()
    if 2 * sizes[0] > len(groups):
        assert not test[groups == 0].any()


@settings(deadline=None, derandomize=True, max_examples=300)
@given(sizes=st.lists(st.integers(1, 30), min_size=5, max_size=14), classes=st.integers(1, 3), seed=st.integers(0, 3))
def test_no_other_fold_would_judge_better_than_the_first(sizes, classes, seed):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    labels = ["abc"[i] for i in np.random.default_rng(seed).integers(0, classes, len(groups))]
    folds = grouped_folds(labels, groups, 4, seed)
    assert list(np.bincount(folds, minlength=4) > 0) == sorted(np.bincount(folds, minlength=4) > 0, reverse=True)
    fits = []
    for k in range(4):
        test = folds == k
        asked = held(labels, test)
        judges = bool(can_judge(asked, held(labels, ~test)))
        fits.append((judges, 2 * test.sum() <= len(test), asked.sum(), -abs(test.sum() - len(test) / 4)))
    assert fits[0] == max(fit for k, fit in enumerate(fits) if (folds == k).any())


def test_the_seed_draws_the_first_of_equal_folds():
    firsts = {tuple(np.flatnonzero(grouped_folds(["a"] * 8, np.arange(8), 4, seed) == 0)) for seed in range(12)}
    assert len(firsts) > 4


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
