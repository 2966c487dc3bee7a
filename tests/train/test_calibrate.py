"""Truths of counting batch statistics afresh."""

from __future__ import annotations

import torch
from torch import nn

from beholder.train.calibrate import calibrate, has_running_statistics, keep_statistics
from tests.train.tiny import CPU, same_weights, tiny_model


def test_the_statistics_become_those_of_the_batches_whatever_they_were() -> None:
    model, pixels = tiny_model(), torch.randn(4, 32, 3, 8, 8) * 3 + 1
    norm = model.get_submodule("1")
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.fill_(100.0)
    calibrate(model, pixels, CPU)
    seen = model.get_submodule("0")(pixels.flatten(0, 1)).detach()
    torch.testing.assert_close(norm.running_mean, seen.mean((0, 2, 3)), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(norm.running_var, seen.var((0, 2, 3)), rtol=0.05, atol=0.01)


def test_weights_momentum_and_gradients_are_left_alone_and_evaluation_is_on() -> None:
    model = tiny_model().train()
    before = [value.detach().clone() for value in model.parameters()]
    calibrate(model, torch.randn(2, 8, 3, 8, 8), CPU)
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
    assert all(value.grad is None for value in model.parameters())
    assert model.get_submodule("1").momentum == 0.1
    assert not any(part.training for part in model.modules())


def test_a_model_without_batch_norm_is_left_alone() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(1, 4))
    before = nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(1, 4))
    before.load_state_dict(model.state_dict())
    calibrate(model, iter(()), CPU)
    assert not has_running_statistics(model) and same_weights(model, before)


def test_kept_statistics_are_used_and_unchanged_while_the_rest_trains() -> None:
    model = nn.Sequential(tiny_model(), nn.Dropout()).train()
    norm = model.get_submodule("0.1")
    before = norm.state_dict()["running_mean"].clone()
    keep_statistics(model)
    model(torch.randn(8, 3, 8, 8))
    assert torch.equal(norm.state_dict()["running_mean"], before)
    assert model.training and model[1].training
