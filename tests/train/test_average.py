"""Truths of the weights' moving average."""

from __future__ import annotations

import pytest
import torch

from beholder.train.average import WeightAverage
from tests.train.tiny import tiny_model


def test_it_converges_to_weights_that_stand_still() -> None:
    average, model = WeightAverage(tiny_model(0), 0.5), tiny_model(1)
    for step in range(80):
        average.update(model, step)
    for kept, new in zip(average.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(kept, new)


def test_it_is_the_weighted_mean_that_its_momentum_says() -> None:
    average, model = WeightAverage(tiny_model(0), 0.9), tiny_model(1)
    first = [value.detach().clone() for value in average.model.parameters()]
    average.update(model, step=10_000)
    for kept, old, new in zip(average.model.parameters(), first, model.parameters(), strict=True):
        torch.testing.assert_close(kept, 0.9 * old + 0.1 * new)


def test_it_never_learns_and_carries_the_running_statistics() -> None:
    model = tiny_model()
    average = WeightAverage(model, 0.9)
    model.train()(torch.randn(8, 3, 8, 8))
    average.update(model, 0)
    assert not any(value.requires_grad for value in average.model.parameters())
    assert torch.equal(average.model.get_buffer("1.running_mean"), model.get_buffer("1.running_mean"))


def test_the_momentum_of_a_fresh_average_is_small() -> None:
    average, model = WeightAverage(tiny_model(0), 0.999), tiny_model(1)
    average.update(model, 0)
    kept, new = next(average.model.parameters()), next(model.parameters())
    old = next(tiny_model(0).parameters())
    assert (kept - new).norm().item() == pytest.approx(0.1 * (old - new).norm().item(), rel=1e-4)
