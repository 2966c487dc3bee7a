"""The verdict calls planted gains by name, calls equal arms equal, and refuses to judge what it cannot see."""

import numpy as np
import pytest

from beholder.evaluate import resample
from beholder.evaluate.label_curve import Arm, Fold, label_curve
from beholder.evaluate.resample import (
    arm_lines,
    mean_over_folds,
    point_scores,
    resampled_scores,
    unit_weights,
    units_of,
)
from beholder.evaluate.verdict import judge
from beholder.metrics.classification import auc
from beholder.runtime.seed import numpy_generator


def noisy_fit(labels, strength, name, by_seed=0.0):
    """Predictions that know the label with the given strength; noise is fixed per (name, image), plus luck per fit."""
    noise = numpy_generator(0, name).normal(size=len(labels))

    def fit(train, fold, seed):
        luck = by_seed * numpy_generator(int(train.sum()), name).normal(size=len(labels))
        score = 1 / (1 + np.exp(-(strength * (2 * labels - 1) + noise + luck)))
        return lambda test: np.stack([1 - score[test], score[test]], 1)

    return fit


def make(num_groups=30, per_group=20, num_folds=3):
    random = np.random.default_rng(1)
    groups = np.repeat(np.arange(num_groups), per_group)
    labels = random.integers(0, 2, len(groups))
    folds = [Fold(np.flatnonzero(groups % 3 != k), np.flatnonzero(groups % 3 == k)) for k in range(num_folds)]
    return labels, groups, folds


def curve_of(arms, num_seeds=3, fractions=(0.25, 0.5, 1.0), **data):
    labels, groups, folds = make(**data)
    built = [Arm(name, name, "generic", fit(labels), *rest) for name, fit, *rest in arms]
    return label_curve(built, labels, groups, folds, fractions=fractions, num_seeds=num_seeds)


def arm(name, strength, by_seed=0.1):
    return name, lambda labels: noisy_fit(labels, strength, name, by_seed)


def test_a_large_gain_helped_and_its_reverse_hurt_by_as_much():
    curve = curve_of([arm("weak", 0.3), arm("strong", 0.8)])
    gain, loss = judge(curve, "weak", "strong"), judge(curve, "strong", "weak")
    assert (gain.outcome, loss.outcome) == ("helped", "hurt")
    assert gain.difference == pytest.approx(-loss.difference)
    assert gain.interval == pytest.approx((-loss.interval[1], -loss.interval[0]))
    assert gain.sentence.startswith(f"Helped: adapting raised the AUC by {100 * gain.difference:.1f} points (95 %")
    assert loss.sentence.startswith("Hurt: adapting lowered the AUC by")


def test_equally_good_arms_show_no_difference_and_tell_what_could_have_been_seen():
    verdict = judge(curve_of([arm("one", 0.5), arm("two", 0.5)]), "one", "two", change="the new lens")
    assert verdict.outcome == "no difference"
    assert verdict.interval[0] < 0 < verdict.interval[1]
    assert verdict.sentence.startswith("No difference: the new lens changed the AUC by")
    assert f"could have shown a gain of {100 * verdict.smallest_gain:.1f} points." in verdict.sentence


def test_an_identical_candidate_is_no_difference_exactly():
    twin = lambda labels: noisy_fit(labels, 0.5, "same", 0.1)  # noqa: E731
    verdict = judge(curve_of([("one", twin), ("two", twin)]), "one", "two")
    assert verdict.outcome == "no difference"
    assert verdict.interval == (0.0, 0.0)
    assert verdict.sentence == "No difference: adapting left the AUC exactly as it was."


def test_the_difference_is_the_mean_over_fractions_folds_and_seeds():
    curve = curve_of([arm("weak", 0.3), arm("strong", 0.8)], num_seeds=2)
    verdict = judge(curve, "weak", "strong")
    by_fraction = []
    for fraction in curve.fractions:
        scores = []
        for k, fold in enumerate(curve.folds):
            for seed in range(1 if fraction == 1 else 2):
                ones = np.ones((1, len(fold.test)))
                both = [
                    auc(curve.predictions[name, k, fraction, seed], curve.labels[fold.test], ones)[0]
                    for name in ("weak", "strong")
                ]
                scores.append(both[1] - both[0])
        by_fraction.append(np.mean(scores))
    assert verdict.difference == pytest.approx(np.mean(by_fraction))
    assert [row.difference for row in verdict.per_fraction] == pytest.approx(by_fraction)
    assert [row.count for row in verdict.per_fraction] == [100, 200, 400]


def test_luck_of_labelling_widens_the_interval():
    calm = judge(curve_of([arm("one", 0.5, 0.0), arm("two", 0.5, 0.0)]), "one", "two")
    lucky = judge(curve_of([arm("one", 0.5, 1.0), arm("two", 0.5, 1.0)]), "one", "two")
    assert calm.standard_errors[1:] == (0.0, 0.0)
    assert min(lucky.standard_errors[1:]) > 0
    assert lucky.smallest_gain > calm.smallest_gain


def test_few_groups_of_many_images_say_less_than_many_groups_of_few():
    """Images of one group share their error, so copies of images add nothing."""
    labels, groups, folds = make()
    fits = [noisy_fit(labels, 0.5, "one"), noisy_fit(labels, 0.5, "two")]
    wide = np.repeat(np.arange(len(labels)), 4)  # every image four times

    def copied(fit):
        return lambda train, fold, seed: lambda test: fit(train, fold, seed)(wide[test])

    arms = [Arm(str(i), str(i), "generic", fit) for i, fit in enumerate(fits)]
    copies = [Arm(str(i), str(i), "generic", copied(fit)) for i, fit in enumerate(fits)]
    wide_folds = [Fold(np.flatnonzero(np.isin(wide, f.train)), np.flatnonzero(np.isin(wide, f.test))) for f in folds]
    few = judge(label_curve(arms, labels, groups, folds, fractions=(0.5, 1.0), num_seeds=2), "0", "1")
    many = judge(
        label_curve(copies, labels[wide], groups[wide], wide_folds, fractions=(0.5, 1.0), num_seeds=2), "0", "1"
    )
    assert many.interval == pytest.approx(few.interval)


def test_fewer_than_five_test_groups_are_not_judged_and_the_remedy_is_told():
    verdict = judge(curve_of([arm("weak", 0.1), arm("strong", 2.0)], num_groups=12, num_folds=1), "weak", "strong")
    assert verdict.outcome == "not judged"
    assert verdict.num_groups == 4
    assert verdict.difference is None
    assert "label images of more groups" in verdict.sentence


@pytest.mark.parametrize("change", [{"num_seeds": 1}, {"fractions": (1.0,)}])
def test_hidden_luck_is_not_judged(change):
    verdict = judge(curve_of([arm("weak", 0.1), arm("strong", 2.0)], **change), "weak", "strong")
    assert verdict.outcome == "not judged"
    assert "luck of labelling" in verdict.sentence


def test_a_class_that_one_test_group_holds_is_not_judged():
    labels, groups, folds = make()
    labels = np.where((groups == 0) | (groups % 3 == 1), labels, 0)
    arms = [Arm(name, name, "generic", noisy_fit(labels, 0.5, name)) for name in ("one", "two")]
    verdict = judge(label_curve(arms, labels, groups, folds[:1], fractions=(0.5, 1.0), num_seeds=2), "one", "two")
    assert verdict.outcome == "not judged"
    assert "all of one class, stand in a single group" in verdict.sentence


def test_units_that_weigh_are_no_more_than_hold_the_rarest_class():
    labels, groups, folds = make()
    labels = np.where(groups % 2 == 0, labels, 0)
    arms = [Arm("one", "one", "generic", noisy_fit(labels, 0.5, "one"))]
    by_metric = [
        units_of(label_curve(arms, labels, groups, folds, fractions=(1.0,), metric=metric)).num_effective
        for metric in ("auc", "accuracy")
    ]
    assert by_metric == pytest.approx([15, 30])


def test_a_fixed_pick_owes_its_luck_to_one_draw_however_many_seeds():
    def picker(name, strength):
        return name, lambda labels: noisy_fit(labels, strength, "x", 1.0), lambda pool, count, fold, seed: pool[:count]

    def plain(name):
        return name, lambda labels: noisy_fit(labels, 0.5, "x", 1.0)

    errors = [
        judge(curve_of([plain("random"), picker("picked", 0.5)], num_seeds=n), "random", "picked").standard_errors[1]
        for n in (3, 12)
    ]
    assert errors[1] > 0.6 * errors[0]  # an average over seeds would have halved it
    only_picks = judge(curve_of([picker("one", 0.5), picker("two", 0.5)]), "one", "two")
    assert only_picks.outcome == "not judged"


def test_unit_weights_draw_as_many_groups_as_there_are():
    weights = unit_weights(12, 50, seed=0)
    assert weights.shape == (50, 12)
    assert (weights.sum(1) == 12).all()
    assert len(np.unique(weights, axis=0)) == 50


def test_redrawn_scores_under_equal_weights_are_the_plain_scores(monkeypatch: pytest.MonkeyPatch):
    curve = curve_of([arm("one", 0.5), arm("two", 0.5)])
    monkeypatch.setattr(resample, "_WEIGHTS_AT_ONCE", 700)  # several chunks
    units = units_of(curve)
    assert units.num_units == 30
    redrawn = resampled_scores(curve, "one", units, np.ones((5, 30)))
    np.testing.assert_allclose(redrawn, np.repeat(point_scores(curve, "one").mean(2)[..., None], 5, 2))


def test_the_lines_of_the_chart_are_the_mean_scores_inside_their_bands():
    curve = curve_of([arm("one", 0.3), arm("two", 0.8)])
    lines = arm_lines(curve, num_resamples=200)
    assert [line.name for line in lines] == ["one", "two"]
    for line in lines:
        np.testing.assert_allclose(line.values, point_scores(curve, line.name).mean((1, 2)))
        assert all(low < value < high for low, value, high in zip(line.low, line.values, line.high, strict=True))


def test_very_many_groups_are_joined_in_blocks(monkeypatch: pytest.MonkeyPatch):
    curve = curve_of([arm("one", 0.5), arm("two", 0.5)])
    monkeypatch.setattr(resample, "MAX_UNITS", 10)
    units = units_of(curve)
    assert units.num_units == 10
    assert units.num_effective == pytest.approx(10)
    assert all(len(np.unique(units.of_image[curve.groups == g])) == 1 for g in range(30))


def test_a_fold_without_a_score_is_left_out_of_the_mean():
    scores = np.array([[[0.5, np.nan, np.nan], [0.7, 0.9, np.nan]]])
    np.testing.assert_allclose(mean_over_folds(scores), [[0.6, 0.9, np.nan]])


@pytest.mark.slow
def test_nothing_is_called_something_in_at_most_one_of_ten_draws():
    """Eighty planted sets without a difference: at a level of 5 %, nine or more false calls come once in fifty runs."""
    calls = 0
    for trial in range(80):
        arms = [arm(f"one {trial}", 0.5, 0.3), arm(f"two {trial}", 0.5, 0.3)]
        verdict = judge(curve_of(arms, num_seeds=3), *(name for name, _ in arms), num_resamples=300)
        calls += verdict.outcome != "no difference"
    assert calls <= 8
