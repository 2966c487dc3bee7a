"""Without labels that judge, the verdict is about embeddings and names what is missing."""

from __future__ import annotations

import numpy as np
import pytest
from domains import make_domain

from beholder.recipes.adapt.domain import Domain
from beholder.recipes.adapt.embedding_verdict import judge_embeddings
from beholder.recipes.adapt.health import Health


def health(title: str, consistency: np.ndarray) -> Health:
    return Health(title, 3.0, 8, consistency, None)


def unlabelled(count: int = 40) -> Domain:
    return make_domain([-1] * count)


def confined() -> Domain:
    """Each class is one group."""
    labels = [index // 20 for index in range(40)]
    return make_domain(labels, classes=("a", "b"), groups=labels, test=[*range(20, 40)])


@pytest.mark.parametrize(
    ("domain", "reason"),
    [(unlabelled(), "there are no labels to judge by"), (confined(), "each of the classes 'a', 'b' lies in one group")],
)
def test_what_is_missing_is_named(domain: Domain, reason: str) -> None:
    verdict = judge_embeddings(domain, [health("generic", np.ones(40))], seed=0)
    assert verdict.outcome == "not judged"
    assert verdict.sentence.startswith("Not judged: there is no pretraining to compare (--budget 0), and " + reason)


@pytest.mark.parametrize(("gain", "outcome"), [(0.2, "helped"), (-0.2, "hurt"), (0.0, "no difference")])
def test_the_outcome_follows_the_paired_difference(gain: float, outcome: str) -> None:
    generator = np.random.default_rng(0)
    before = generator.uniform(0.3, 0.6, 40)
    after = before + gain + generator.normal(0, 0.02, 40)
    verdict = judge_embeddings(unlabelled(), [health("generic", before), health("adapted", after)], seed=0)
    assert verdict.outcome == outcome
    assert verdict.interval is not None and verdict.difference is not None
    assert verdict.interval[0] < verdict.difference < verdict.interval[1]
    assert verdict.sentence.endswith("nothing more can be said, because there are no labels to judge by.")


def test_too_few_groups_are_counted() -> None:
    sides = [health("generic", np.ones(40)), health("adapted", np.ones(40))]
    labels = [index // 20 for index in range(40)]
    verdict = judge_embeddings(make_domain([-1] * 40, groups=labels), sides, seed=0)
    assert verdict.outcome == "not judged"
    assert "images of at least 5 groups, and the judged images belong to 2; add images" in verdict.sentence
