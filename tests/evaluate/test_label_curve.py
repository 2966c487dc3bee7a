"""The curve treats all arms alike, counts labels honestly, and goes on where it was stopped."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beholder.evaluate.label_curve import Arm, Fold, label_curve, random_subset
from beholder.types import UserError


class Recorder:
    """A fit that remembers what it was given and predicts the class shares of its training labels."""

    def __init__(self, labels):
        self.labels, self.calls = labels, []

    def __call__(self, train, fold, seed):
        self.calls.append((tuple(train.tolist()), seed))
        shares = np.bincount(self.labels[train], minlength=self.labels.max() + 1) / len(train)
        return lambda test: np.tile(shares, (len(test), 1))


def make(num_groups=10, per_group=12, num_classes=3):
    groups = np.repeat(np.arange(num_groups), per_group)
    labels = np.arange(len(groups)) % num_classes
    is_test = groups % 5 == 0
    return labels, groups, [Fold(np.flatnonzero(~is_test), np.flatnonzero(is_test))]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 30), min_size=2, max_size=5), st.integers(0, 99))
def test_random_subsets_are_nested_stratified_and_hold_every_class(sizes, seed):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    pool = np.random.default_rng(seed).permutation(len(labels))
    before: set[int] = set()
    for count in range(len(sizes), len(pool) + 1):
        subset = random_subset(labels, pool, count, np.random.default_rng(seed))
        assert len(subset) == len(set(subset.tolist())) == count
        assert before <= set(subset.tolist())
        before = set(subset.tolist())
        drawn = np.bincount(labels[subset], minlength=len(sizes))
        assert drawn.min() >= 1
        assert np.abs(drawn - count * np.array(sizes) / len(labels)).max() <= len(sizes)


def test_random_arms_are_given_the_same_images_and_seeds():
    labels, groups, folds = make()
    first, second = Recorder(labels), Recorder(labels)
    arms = [Arm("a", "A", "generic", first), Arm("b", "B", "adapted", second)]
    label_curve(arms, labels, groups, folds, fractions=(0.1, 0.5, 1.0), num_seeds=3)
    assert first.calls == second.calls
    assert len({train for train, _ in first.calls}) == 7  # three seeds at two fractions, and all labels


def test_with_all_labels_only_a_random_fit_runs_every_seed():
    labels, groups, folds = make()
    steady, random = Recorder(labels), Recorder(labels)
    arms = [Arm("a", "A", "generic", steady), Arm("b", "B", "adapted", random, is_random=True)]
    label_curve(arms, labels, groups, folds, fractions=(1.0,), num_seeds=3)
    assert (len(steady.calls), len(random.calls)) == (1, 3)
    assert len({seed for _, seed in random.calls}) == 3


def test_a_picking_arm_is_trained_on_its_pick():
    labels, groups, folds = make()
    fit = Recorder(labels)
    arm = Arm("a", "A", "adapted", fit, pick=lambda pool, count, fold, seed: pool[:count])
    label_curve([arm], labels, groups, folds, fractions=(0.1,), num_seeds=1)
    assert fit.calls[0][0] == tuple(folds[0].train[:10])


def test_a_killed_run_goes_on_and_ends_like_an_unbroken_one():
    labels, groups, folds = make()

    def stop_after_four(done, total, note):
        if done == 4:
            raise KeyboardInterrupt

    def arms(fit):
        return [Arm("a", "A", "generic", fit), Arm("b", "B", "adapted", fit)]

    cache = {}
    settings = {"fractions": (0.1, 0.5, 1.0), "num_seeds": 2}
    with pytest.raises(KeyboardInterrupt):
        label_curve(arms(Recorder(labels)), labels, groups, folds, **settings, cache=cache, on_step=stop_after_four)
    resumed_fit, whole_fit, steps = Recorder(labels), Recorder(labels), []
    resumed = label_curve(
        arms(resumed_fit), labels, groups, folds, **settings, cache=cache, on_step=lambda *step: steps.append(step)
    )
    whole = label_curve(arms(whole_fit), labels, groups, folds, **settings)
    assert len(resumed_fit.calls) == len(whole_fit.calls) - 4
    assert [step[:2] for step in steps] == [(i, 10) for i in range(1, 11)]
    assert resumed.predictions.keys() == whole.predictions.keys()
    for key, predicted in whole.predictions.items():
        np.testing.assert_array_equal(resumed.predictions[key], predicted)


def test_a_fraction_with_fewer_labels_than_classes_is_left_out_with_the_reason():
    labels, groups, folds = make()
    curve = label_curve(
        [Arm("a", "A", "generic", Recorder(labels))], labels, groups, folds, fractions=(0.01, 0.5), num_seeds=1
    )
    assert curve.fractions == (0.5,)
    assert curve.counts == (48,)
    assert curve.left_out[0].fraction == 0.01
    assert "fewer than the 3 classes" in curve.left_out[0].reason


def test_a_fold_that_lacks_a_class_is_left_out_with_the_reason():
    labels, groups, folds = make()
    labels = np.where((labels == 2) & (groups != 5), 1, labels)  # class 2 only in the test group 5
    folds.append(Fold(np.flatnonzero(groups > 0), np.flatnonzero(groups == 0)))
    curve = label_curve([Arm("a", "A", "generic", Recorder(labels))], labels, groups, folds, fractions=(1.0,))
    assert curve.used_folds == (1,)
    assert "lacks 1 of the classes" in curve.left_out[0].reason


def test_predictions_of_another_shape_are_caught():
    labels, groups, folds = make()
    arm = Arm("a", "A", "generic", lambda train, fold, seed: lambda test: np.ones((len(test), 2)))
    with pytest.raises(AssertionError, match="predicted"):
        label_curve([arm], labels, groups, folds, fractions=(1.0,))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fractions": (1.5,)}, "lies in"),
        ({"metric": "beauty"}, "choose one of"),
        ({"fractions": (0.01,)}, "leaves one label per class; ask for larger ones"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_with_the_remedy(change, said):
    labels, groups, folds = make()
    with pytest.raises(UserError, match=said):
        label_curve([Arm("a", "A", "generic", Recorder(labels))], labels, groups, folds, **change)


def test_a_group_on_both_sides_of_a_fold_is_refused():
    labels, groups, _ = make()
    fold = Fold(np.arange(50), np.arange(50, 120))
    with pytest.raises(UserError, match="both train and test"):
        label_curve([Arm("a", "A", "generic", Recorder(labels))], labels, groups, [fold])
