"""The notion of the usual keeps its promise on normals that nobody has seen, and learns from normals alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from domains import make_domain, make_space

from beholder.recipes.adapt.unusual import FALSE_ALARM_RATE, MIN_LEVELS, MIN_NORMALS, find_unusual

CLASSES = ("good", "odd")
MIXING = np.random.default_rng(5).normal(size=(6, 6))


def normal_rows(generator: np.random.Generator, count: int) -> np.ndarray:
    """Correlated, of unequal variance, far from the origin."""
    return generator.normal(size=(count, 6)) @ MIXING + 10


@pytest.mark.parametrize("count", [60, 300])
def test_normal_images_are_called_unusual_no_more_often_than_promised(count: int) -> None:
    num_rounds, num_fresh = 60, 200
    shares, small = [], []
    for seed in range(num_rounds):
        generator = np.random.default_rng(seed)
        rows = normal_rows(generator, count + num_fresh)
        found = find_unusual(make_domain([-1] * len(rows)), np.arange(count), make_space(rows), seed)
        assert found is not None
        shares.append(float((found.distance[count:] > found.threshold).mean()))
        small.append(float((found.p_value[count:] <= 0.2).mean()))
    num_levels = max(MIN_LEVELS, count // 3)
    for values, rate in ((shares, FALSE_ALARM_RATE), (small, 0.2)):
        # Given its levels a share is Beta distributed (about `rate`), and counted on `num_fresh` images.
        spread = np.sqrt(rate * (1 - rate) * (1 / (num_levels + 2) + 1 / num_fresh) / num_rounds)
        assert np.mean(values) <= rate + 3 * spread
        assert np.mean(values) >= rate / 3, "a promise that is kept by never saying anything"


def test_what_lies_off_the_normal_directions_is_found_though_it_is_not_far() -> None:
    generator, spread = np.random.default_rng(0), np.array([9, 9, 9, 9, 9, 0.5])
    flat = generator.normal(size=(300, 6)) * spread
    odd = generator.normal(size=(20, 6)) * spread + [0, 0, 0, 0, 0, 12]  # five normal directions reach 20
    rows = np.concatenate([flat, odd])
    domain = make_domain([0] * 300 + [1] * 20, classes=CLASSES, normal="good", test=[*range(250, 320)])
    found = find_unusual(domain, np.arange(250), make_space(rows), 0)
    assert found is not None
    assert (found.distance[300:] > found.threshold).all()
    assert found.p_value[300:].max() <= FALSE_ALARM_RATE
    assert found.auroc is not None and found.auroc > 0.95
    assert 0.5 < np.median(found.distance[:250]) < 1.5


def test_only_normal_training_images_are_learned_from() -> None:
    generator = np.random.default_rng(1)
    rows = normal_rows(generator, 120)
    labels = [0] * 70 + [1] * 30 + [0] * 20
    domain = make_domain(labels, classes=CLASSES, normal="good", test=[*range(90, 120)])
    train = np.arange(90)
    first = find_unusual(domain, train, make_space(rows), 3)
    changed = rows.copy()
    changed[70:] = generator.normal(size=(50, 6)) * 100  # abnormal ones, and the test part
    second = find_unusual(domain, train, make_space(changed), 3)
    assert first is not None and second is not None
    assert first.num_reference == 70
    for name, value in first.usual.state_dict().items():
        assert torch.equal(value, second.usual.state_dict()[name])


def test_where_no_class_is_normal_all_training_images_are() -> None:
    rows = normal_rows(np.random.default_rng(2), 60)
    domain = make_domain([0, 1] * 30, classes=("cat", "dog"))
    found = find_unusual(domain, np.arange(50), make_space(rows), 0)
    assert found is not None
    assert found.num_reference == 50
    assert found.auroc is None


def test_too_few_normals_make_no_promise() -> None:
    rows = normal_rows(np.random.default_rng(2), 60)
    domain = make_domain([0] * (MIN_NORMALS - 1) + [1] * 21, classes=CLASSES, normal="good")
    assert find_unusual(domain, np.arange(60), make_space(rows), 0) is None


@pytest.mark.parametrize(
    "groups",
    [
        [*range(8)] + [99] * 92,  # one film among single pictures
        [index // 20 for index in range(100)],
        [0] * 30 + [1] * 30 + [2] * 30 + [3] * 5 + [4] * 5,
        [0] * 100,
        [*range(100)],
    ],
    ids=["one giant", "five equal", "three large", "one", "all single"],
)
def test_groups_of_any_size_leave_enough_to_fit_and_enough_to_calibrate(groups: list[int]) -> None:
    rows = normal_rows(np.random.default_rng(3), 100)
    domain = make_domain([-1] * 100, groups=groups)
    for seed in range(12):
        found = find_unusual(domain, np.arange(100), make_space(rows), seed)
        assert found is not None
        assert MIN_LEVELS <= len(found.usual.levels) <= 60
        assert np.isfinite(found.distance).all()
        assert found.threshold < 20


def test_levels_come_from_groups_that_the_fit_has_not_seen() -> None:
    """Each group has a place of its own: levels of seen groups would be small."""
    generator = np.random.default_rng(4)
    groups = np.repeat(np.arange(12), 10)
    rows = generator.normal(size=(12, 6))[groups] * 50 + generator.normal(size=(120, 6))
    grouped = find_unusual(make_domain([-1] * 120, groups=groups.tolist()), np.arange(120), make_space(rows), 0)
    mixed = find_unusual(make_domain([-1] * 120), np.arange(120), make_space(rows), 0)
    assert grouped is not None and mixed is not None
    assert float(grouped.usual.levels.median()) > 1.3 * float(mixed.usual.levels.median())
