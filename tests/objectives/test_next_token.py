"""Truths of foretelling tokens: what counts is learned, what does not is not, and nothing is foretold from itself."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from beholder.models.gpt import GPT, PRESETS
from beholder.objectives.next_token import NextToken, NextTokenConfig
from beholder.types import Objective

TOKENS = torch.randint(0, 64, (3, 20), generator=torch.Generator().manual_seed(0))


class Said(nn.Module):
    """Says the same scores whatever it reads."""

    def __init__(self, scores: torch.Tensor) -> None:
        super().__init__()
        self.scores = nn.Parameter(scores)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.scores.expand(*tokens.shape, -1)


def paid(level: float, objective: NextToken) -> float:
    """By who gives all tokens the same score."""
    return objective(Said(torch.full((64,), level)), {"tokens": TOKENS}).total.item()


def test_it_follows_the_protocol() -> None:
    assert isinstance(NextToken(), Objective)


def test_who_knows_nothing_pays_the_logarithm_of_the_vocabulary() -> None:
    assert paid(0.0, NextToken()) == pytest.approx(math.log(64), abs=1e-5)


def test_what_does_not_count_has_no_gradient() -> None:
    torch.manual_seed(0)
    model, weights = GPT(replace(PRESETS["debug"], is_tied=False)), torch.zeros(3, 20)
    weights[:, 7] = 1.0
    changed = TOKENS.clone()
    changed[:, 8:] = (changed[:, 8:] + 1) % 64  # targets and context after the only one that counts
    losses = [NextToken()(model, {"tokens": one, "weights": weights}).total for one in (TOKENS, changed)]
    assert torch.allclose(*losses)
    changed[:, 7] = (changed[:, 7] + 1) % 64
    assert not torch.allclose(losses[0], NextToken()(model, {"tokens": changed, "weights": weights}).total)


def test_weights_are_shares() -> None:
    torch.manual_seed(0)
    model, weights = GPT(PRESETS["debug"]), torch.rand(3, 20)
    first, second = (NextToken()(model, {"tokens": TOKENS, "weights": scale * weights}).total for scale in (1.0, 5.0))
    assert torch.allclose(first, second)


def test_drifting_scores_cost_something_with_a_z_weight() -> None:
    objective = NextToken(NextTokenConfig(z_weight=1e-2))
    assert paid(-math.log(64), objective) == pytest.approx(math.log(64), abs=1e-4)  # the scores' sum is 1
    assert paid(9.0, objective) > math.log(64) + 0.5
