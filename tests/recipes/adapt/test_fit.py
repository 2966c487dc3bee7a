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
