"""What is shipped: the generic model, unless left-out groups prefer another and nothing speaks against it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from domains import make_space
from torch import nn

from beholder.evaluate.verdict import Verdict
from beholder.recipes.adapt.decide import Shipped, decide
from beholder.recipes.adapt.fit import Choice, Fitted
from beholder.recipes.adapt.pretrain import Candidate
from beholder.recipes.adapt.spaces import Seen, Space
from beholder.train.readout import fit_readout

GENERIC, ADAPTED = nn.Linear(1, 1), nn.Linear(1, 1)
ROWS = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
NO_DIFFERENCE = Verdict("no difference", "No difference.", "AUC", 8)


def fitted(space: Space) -> Fitted:
    return Fitted(space, fit_readout(ROWS, np.arange(8) % 2, np.arange(8), 2), 0.8)


def ship(
    gain: float,
    *,
    error: float | None = 0.01,
    outcome: Verdict = NO_DIFFERENCE,
    name: str = "adapted",
    stopped: str | None = None,
) -> Shipped:
    generic, other = make_space(ROWS), make_space(ROWS, name)
    seen = Seen(generic, (other,), Candidate(ADAPTED, stopped, {}))
    return decide(GENERIC, seen, Choice(fitted(generic), fitted(other), gain, error), outcome)


def test_any_gain_ships_the_adapted_features_and_says_how_sure_it_is() -> None:
    little, much = ship(0.0004), ship(0.03)
    for shipped in (little, much):
        assert shipped.space.name == "adapted" and shipped.backbones == (ADAPTED,)
    assert "leans to it" in little.reason and "+0.04 points, standard error 1" in little.reason
    assert "surely prefers it" in much.reason and "+3 points, standard error 1" in much.reason


def test_a_hair_is_told_as_one_and_few_groups_are_told() -> None:
    assert "+0.004 points" in ship(0.00004).reason
    few = ship(0.03, error=None)
    assert few.space.name == "adapted" and "leans to it" in few.reason and "fewer than 5 groups" in few.reason
    assert "one class alone" in ship(float("nan")).reason


def test_side_by_side_takes_both_backbones() -> None:
    assert ship(0.03, name="generic + adapted").backbones == (GENERIC, ADAPTED)


@pytest.mark.parametrize("gain", [0.0, -0.02, float("nan")])
def test_a_tie_a_loss_and_what_cannot_be_compared_keep_the_generic_ones(gain: float) -> None:
    shipped = ship(gain)
    assert shipped.space.name == "generic" and shipped.backbones == (GENERIC,)
    assert shipped.fitted is not None and shipped.fitted.space is shipped.space
    assert "does not prefer" in shipped.reason and "the verdict" not in shipped.reason


def test_what_speaks_against_it_keeps_the_generic_ones_whatever_validation_says() -> None:
    hurt = ship(0.03, outcome=replace(NO_DIFFERENCE, outcome="hurt"))
    collapsed = ship(0.03, stopped="the features collapsed")
    for shipped, reason in ((hurt, "hurt"), (collapsed, "the features collapsed")):
        assert shipped.space.name == "generic" and reason in shipped.reason


def test_beside_a_verdict_of_helped_the_generic_ones_are_explained() -> None:
    assert (
        "the verdict is about fewer labels, too" in ship(0.0, outcome=replace(NO_DIFFERENCE, outcome="helped")).reason
    )


def test_without_pretraining_there_is_nothing_to_prefer() -> None:
    generic = make_space(ROWS)
    shipped = decide(GENERIC, Seen(generic, (), None), Choice(fitted(generic), None, 0.0, None), NO_DIFFERENCE)
    assert shipped.space is generic and "no pretraining" in shipped.reason


def test_without_labels_nothing_is_preferred() -> None:
    generic = make_space(ROWS)
    seen = Seen(generic, (make_space(ROWS, "adapted"),), Candidate(ADAPTED, None, {}))
    shipped = decide(GENERIC, seen, None, NO_DIFFERENCE)
    assert shipped.fitted is None and shipped.space is generic and "two labelled classes" in shipped.reason
