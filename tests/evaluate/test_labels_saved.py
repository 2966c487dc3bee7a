"""Labels saved are read off the curves, never extrapolated, and the ladder's parts add up."""

import numpy as np
import pytest

from beholder.evaluate.label_curve import Arm, Fold, label_curve
from beholder.evaluate.labels_saved import labels_saved
from beholder.types import UserError

FRACTIONS = (0.1, 0.25, 0.5, 1.0)


def arm_with_scores(name, labels, accuracies, pool_size):
    """An arm whose accuracy on any test part is exactly the given one at each fraction."""
    by_count = {round(f * pool_size): a for f, a in zip(FRACTIONS, accuracies, strict=True)}

    def fit(train, fold, seed):
        accuracy = by_count[len(train)]

        def predict(test):
            place = np.arange(len(test)) % 100
            is_right = place < round(100 * accuracy)
            said = np.where(is_right, labels[test], 1 - labels[test])
            return np.eye(2)[said]

        return predict

    return Arm(name, name.title(), "generic", fit)


def curve_of(fractions=FRACTIONS, **accuracies):
    groups = np.repeat(np.arange(20), 100)
    labels = np.arange(len(groups)) % 2
    fold = Fold(np.flatnonzero(groups < 10), np.flatnonzero(groups >= 10))
    arms = [arm_with_scores(name, labels, values, 1000) for name, values in accuracies.items()]
    return label_curve(arms, labels, groups, [fold], fractions=fractions, num_seeds=1, metric="accuracy")


def test_the_level_is_the_references_score_with_all_labels():
    found = labels_saved(curve_of(plain=(0.6, 0.7, 0.75, 0.8), better=(0.7, 0.8, 0.85, 0.9)), "plain")
    assert found.level == pytest.approx(0.8)
    (row,) = found.rows
    assert row.ratio == pytest.approx(4.0)
    assert row.count == 250
    assert not row.is_at_least
    assert row.interval == pytest.approx((4.0, 4.0))  # every group alike
    assert row.sentence == "Better needs 250 labels for it, 4.0 times fewer (95 % interval 4.0 to 4.0 times)."


def test_between_measured_fractions_the_curve_is_linear_in_the_logarithm():
    found = labels_saved(curve_of(plain=(0.6, 0.7, 0.75, 0.8), better=(0.7, 0.76, 0.84, 0.9)), "plain")
    assert found.rows[0].ratio == pytest.approx(1 / (0.25 * 2**0.5))  # half way from 0.76 to 0.84


def test_a_level_never_reached_is_told_so():
    (row,) = labels_saved(curve_of(plain=(0.6, 0.7, 0.75, 0.8), worse=(0.5, 0.5, 0.6, 0.7)), "plain").rows
    assert (row.ratio, row.interval, row.count) == (None, None, None)
    assert "does not reach" in row.sentence


def test_a_level_reached_at_the_smallest_share_is_at_least():
    (row,) = labels_saved(curve_of(plain=(0.6, 0.7, 0.75, 0.8), best=(0.9, 0.9, 0.9, 0.9)), "plain").rows
    assert row.ratio == pytest.approx(10.0)
    assert row.is_at_least
    assert "at most 100 labels for it, at least 10.0 times fewer" in row.sentence


def test_a_flat_reference_gives_no_saving_to_an_equal_arm():
    (row,) = labels_saved(curve_of(plain=(0.6, 0.8, 0.8, 0.8), same=(0.6, 0.8, 0.8, 0.8)), "plain").rows
    assert row.ratio == pytest.approx(1.0)
    assert "no fewer" in row.sentence


def test_a_dip_in_a_curve_is_smoothed():
    (row,) = labels_saved(curve_of(plain=(0.6, 0.7, 0.75, 0.8), dips=(0.7, 0.86, 0.74, 0.9)), "plain").rows
    assert row.ratio == pytest.approx(4.0)  # 0.86 and 0.74 make two times 0.80


LADDER = (("readout", "strong"), ("adapting", "adapted"), ("picking", "picked"))


def test_the_parts_of_the_ladder_add_up_and_the_factors_multiply():
    curve = curve_of(
        last=(0.60, 0.65, 0.70, 0.80), strong=(0.65, 0.70, 0.80, 0.85), adapted=(0.70, 0.80, 0.85, 0.90),
        picked=(0.76, 0.84, 0.90, 0.95),
    )  # fmt: skip
    found = labels_saved(curve, "last", LADDER)
    last_step = 2.5**0.5  # half way from 0.76 at a tenth to 0.84 at a quarter
    assert found.shares is not None
    assert sum(found.shares.values()) == pytest.approx(1.0)
    logs = np.log([2, 2, last_step])
    assert list(found.shares.values()) == pytest.approx(list(logs / logs.sum()))
    assert found.sentence == (
        "'Picked' needs about 158 labels for the score that 'Last' reaches with all 1,000 labels: 6.3 times fewer "
        "(95 % interval 6.3 to 6.3 times). Its factors are 2.0 by reading the network at several depths and "
        "resolutions, 2.0 by adapting it to the images and 1.6 by picking which images to label."
    )


@pytest.mark.parametrize(
    ("reason", "strong", "adapted", "picked"),
    [
        ("a step loses labels", (0.6, 0.7, 0.75, 0.8), (0.7, 0.8, 0.85, 0.9), (0.65, 0.7, 0.8, 0.9)),
        ("a rung misses the level", (0.5, 0.5, 0.6, 0.7), (0.7, 0.75, 0.8, 0.9), (0.7, 0.8, 0.85, 0.9)),
        ("a rung is there with the fewest labels", (0.65, 0.7, 0.8, 0.9), (0.8, 0.85, 0.9, 0.95), (0.8, 0.85, 0.9, 1)),
    ],
)
def test_where_parts_mean_nothing_none_are_told(reason, strong, adapted, picked):
    curve = curve_of(last=(0.6, 0.65, 0.7, 0.8), strong=strong, adapted=adapted, picked=picked)
    found = labels_saved(curve, "last", LADDER)
    assert found.shares is None
    assert found.sentence.startswith("'Picked' needs")
    assert found.sentence.endswith("times). This data cannot tell how the saving is shared.")


def test_a_saving_that_other_test_groups_might_not_show_is_not_shared():
    """Half of the test groups save, the others lose: the interval holds 1."""
    groups = np.repeat(np.arange(20), 100)
    labels = np.arange(len(groups)) % 2
    fold = Fold(np.flatnonzero(groups < 10), np.flatnonzero(groups >= 10))

    def arm(name, accuracies_of):
        def fit(train, fold, seed):
            index = [100, 250, 500, 1000].index(len(train))

            def predict(test):
                accuracy = np.array([accuracies_of(group)[index] for group in groups[test]])
                return np.eye(2)[np.where(np.arange(len(test)) % 100 < 100 * accuracy, labels[test], 1 - labels[test])]

            return predict

        return Arm(name, name.title(), "generic", fit)

    arms = [
        arm("last", lambda group: (0.6, 0.65, 0.7, 0.8)),
        arm("strong", lambda group: (0.7, 0.99, 0.99, 0.99) if group % 2 else (0.5, 0.63, 0.66, 0.67)),
    ]
    curve = label_curve(arms, labels, groups, [fold], fractions=FRACTIONS, num_seeds=1, metric="accuracy")
    found = labels_saved(curve, "last", (("readout", "strong"),))
    (row,) = found.rows
    assert row.ratio is not None and row.ratio > 1
    assert row.interval is None or row.interval[0] <= 1
    assert found.shares is None
    assert (
        "With other test groups it might be none, so this data cannot tell how the saving is shared." in found.sentence
    )


def test_a_ladder_whose_last_rung_misses_the_level_saves_nothing_that_could_be_told():
    curve = curve_of(last=(0.6, 0.65, 0.7, 0.8), strong=(0.5, 0.5, 0.6, 0.7))
    found = labels_saved(curve, "last", (("readout", "strong"),))
    assert found.shares is None
    assert found.sentence == "With all 1,000 labels 'Strong' does not reach the score that 'Last' reaches with them."


def test_a_ladder_without_a_saving_says_so():
    curve = curve_of(last=(0.6, 0.65, 0.7, 0.8), strong=(0.6, 0.65, 0.7, 0.8))
    found = labels_saved(curve, "last", (("readout", "strong"),))
    assert found.shares is None
    assert found.sentence == (
        "No labels are saved: 'Strong' needs about 1,000 for the score that 'Last' reaches with all 1,000 labels."
    )


def test_a_reference_that_needs_fewer_labels_than_there_are_is_told_with_its_own_number():
    curve = curve_of(last=(0.6, 0.7, 0.8, 0.8), strong=(0.7, 0.8, 0.85, 0.9))
    found = labels_saved(curve, "last", (("readout", "strong"),))
    assert found.sentence == (
        "'Strong' needs about 250 labels for the score that 'Last' reaches with 500 labels: 2.0 times fewer "
        "(95 % interval 2.0 to 2.0 times)."
    )
    assert found.shares == {"readout": pytest.approx(1.0)}


def test_a_curve_without_all_labels_is_refused():
    with pytest.raises(UserError, match="all labels"):
        labels_saved(curve_of(fractions=(0.1, 0.5), plain=(0.6, 0.7, 0.75, 0.8)), "plain")
