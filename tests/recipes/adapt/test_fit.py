"""Validation prefers another space where it knows more, and not where it only seems to."""

from __future__ import annotations

import numpy as np
from domains import make_domain, make_space

from beholder.recipes.adapt.fit import Choice, choose

NUM_GROUPS, EACH = 24, 12
GROUPS = np.repeat(np.arange(NUM_GROUPS), EACH)


def compare(labels: np.ndarray, before: np.ndarray, after: np.ndarray) -> Choice:
    count = len(labels)
    domain = make_domain(labels.tolist(), classes=("heads", "tails"), groups=GROUPS.tolist(), test=[count - 1])
    return choose(domain, domain.folds[0], make_space(before), [make_space(after, "adapted")], seed=0)


def test_a_space_that_knows_the_label_is_preferred() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, len(GROUPS))
    noise = generator.normal(size=(len(GROUPS), 8))
    telling = noise + 1.5 * labels[:, None]
    choice = compare(labels, noise, telling)
    assert choice.prefers_candidate
    assert choice.is_sure
    assert choice.gain > 0.3
    assert not compare(labels, telling, noise).prefers_candidate


def test_less_than_chance_is_no_worse_than_chance() -> None:
    """A coin with another bias in each group: a head that can tell nothing says for a left-out group what the others'
    mean is, which is low where the group's own share is high. One that falls for single groups seems to know more."""
    generator = np.random.default_rng(1)
    labels = (generator.random(len(GROUPS)) < generator.uniform(0.1, 0.9, NUM_GROUPS)[GROUPS]).astype(int)
    same = 1e-3 * generator.normal(size=(len(GROUPS), 2)) + 1
    own = generator.normal(size=(NUM_GROUPS, 12))[GROUPS] + 0.1 * generator.normal(size=(len(GROUPS), 12))
    choice = compare(labels, same, own)
    assert choice.candidate is not None
    assert choice.reference.validation + 0.05 < choice.candidate.validation < 0.5
    assert choice.gain == 0
    assert not choice.prefers_candidate


def test_a_little_more_is_preferred_and_not_called_sure() -> None:
    """What knows a little more is preferred nearly always, and seldom surely."""
    preferred = sure = 0
    for trial in range(20):
        generator = np.random.default_rng(trial)
        labels = generator.integers(0, 2, len(GROUPS))
        telling = generator.normal(size=(len(GROUPS), 8)) + 0.5 * labels[:, None]
        more = telling + 0.03 * labels[:, None] + 0.2 * generator.normal(size=telling.shape)
        there, back = compare(labels, telling, more), compare(labels, more, telling)
        assert there.gain == -back.gain and there.error == back.error
        preferred += there.prefers_candidate
        sure += there.is_sure
    assert preferred >= 14 and sure <= preferred - 5


def test_one_group_or_a_few_make_nothing_sure() -> None:
    labels = np.random.default_rng(7).integers(0, 2, 60)
    noise = np.random.default_rng(8).normal(size=(60, 8))
    telling = noise + 1.5 * labels[:, None]
    for num_groups, is_sure in ((1, False), (4, False), (12, True)):
        groups = (np.arange(61) % num_groups).tolist()
        domain = make_domain([*labels, 0], classes=("heads", "tails"), groups=[*groups[:60], 99], test=[60])
        spaces = [make_space(np.concatenate([rows, rows[:1]])) for rows in (noise, telling)]
        choice = choose(domain, domain.folds[0], spaces[0], spaces[1:], seed=0)
        assert choice.prefers_candidate and choice.is_sure == is_sure and (choice.error is None) != is_sure


def test_the_same_space_is_no_other() -> None:
    labels = np.random.default_rng(3).integers(0, 2, len(GROUPS))
    rows = np.random.default_rng(4).normal(size=(len(GROUPS), 8))
    choice = compare(labels, rows, rows)
    assert choice.gain == 0 and not choice.prefers_candidate


def test_a_space_that_costs_more_is_taken_only_where_it_is_surely_better_than_each() -> None:
    generator = np.random.default_rng(5)
    labels = generator.integers(0, 2, len(GROUPS))
    noise = generator.normal(size=(len(GROUPS), 8))
    domain = make_domain(labels.tolist(), classes=("heads", "tails"), groups=GROUPS.tolist(), test=[len(labels) - 1])

    def taken(before: np.ndarray, alone: np.ndarray, beside: np.ndarray) -> str:
        others = [make_space(alone, "alone"), make_space(beside, "beside")]
        choice = choose(domain, domain.folds[0], make_space(before), others, seed=0)
        assert choice.candidate is not None
        return choice.candidate.space.name

    def nearly(rows: np.ndarray) -> np.ndarray:
        return rows + 0.05 * generator.normal(size=rows.shape)

    telling, better = noise + 0.5 * labels[:, None], noise + 1.5 * labels[:, None]
    assert taken(noise, telling, better) == "beside"
    assert taken(noise, better, telling) == "alone"
    a_little = nearly(telling)
    assert taken(noise, telling, a_little) == taken(noise, a_little, telling) == "alone"  # one of them is better
    assert taken(better, noise, nearly(better)) == "alone"  # surely better than alone, and not than before


def test_without_others_there_is_no_candidate() -> None:
    domain = make_domain([0, 1] * 12, classes=("heads", "tails"), groups=list(range(24)), test=[23])
    before = make_space(np.random.default_rng(6).normal(size=(24, 4)))
    choice = choose(domain, domain.folds[0], before, [], seed=0)
    assert choice.candidate is None and not choice.prefers_candidate and not choice.is_sure
