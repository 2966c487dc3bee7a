"""Truths of one optimisation step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from beholder.runtime.device import Device
from beholder.train.step import Diverged, split_batch, take_step
from beholder.types import Batch, Losses
from tests.train.tiny import CPU, tiny_model, tiny_stream


class Bias(nn.Module):
    """Mean squared outputs of a model, times a factor."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, model: Any, batch: Batch) -> Losses:
        loss = model(batch["views"][0]).square().mean() * self.factor
        return Losses(loss, {"half": float(loss.detach()) / 2})


def step(model: nn.Module, objective: nn.Module, device: Device = CPU, num_micro_batches: int = 1, lr: float = 0.1):  # type: ignore[no-untyped-def]
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    return take_step(
        model, objective, optimizer, tiny_stream().batch(0),
        step=7, device=device, num_micro_batches=num_micro_batches, max_gradient_norm=1.0,
    )  # fmt: skip


def test_a_step_makes_the_loss_smaller_and_tells_its_parts() -> None:
    model = tiny_model().eval()
    first, second = step(model, Bias()), step(model, Bias())
    assert second.losses["total"] < first.losses["total"]
    assert first.losses["half"] == pytest.approx(first.losses["total"] / 2)
    assert (first.step, first.lr) == (7, 0.1)


def test_micro_batches_give_the_gradient_of_the_whole_batch() -> None:
    whole, parts = tiny_model().eval(), tiny_model().eval()
    one, many = step(whole, Bias()), step(parts, Bias(), num_micro_batches=4)
    assert many.losses["total"] == pytest.approx(one.losses["total"], rel=1e-5)
    for mine, others in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(mine, others)


def test_splitting_loses_no_image() -> None:
    batch = tiny_stream().batch(0)
    parts = list(split_batch(batch, 4))
    assert torch.equal(torch.cat([part["views"] for part in parts], dim=1), batch["views"])
    assert torch.equal(torch.cat([part["indices"] for part in parts]), batch["indices"])


def test_clipping_bounds_how_far_the_weights_move() -> None:
    model = tiny_model().eval()
    before = torch.cat([value.detach().flatten() for value in model.parameters()])
    report = step(model, Bias(factor=1e4), lr=0.1)
    after = torch.cat([value.detach().flatten() for value in model.parameters()])
    assert report.gradient_norm > 1
    assert (after - before).norm().item() == pytest.approx(0.1, rel=1e-3)


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_a_broken_loss_stops_the_run_with_weights_untouched(factor: float) -> None:
    model = tiny_model().eval()
    with pytest.raises(Diverged, match=r"step 7.*half") as caught:
        step(model, Bias(factor))
    assert caught.value.step == 7 and set(caught.value.parts) == {"total", "half"}
    for mine, fresh in zip(model.parameters(), tiny_model().parameters(), strict=True):
        assert torch.equal(mine, fresh)


def test_a_broken_gradient_stops_the_run_too() -> None:
    class Kink(Bias):
        def forward(self, model: Any, batch: Batch) -> Losses:
            return Losses((model(batch["views"][0]) * 0.0).sum().sqrt())  # finite, with an infinite slope

    with pytest.raises(Diverged, match="gradient_norm"):
        step(tiny_model().eval(), Kink())


def test_reduced_precision_keeps_weights_in_float32() -> None:
    model = tiny_model().eval()
    step(model, Bias(), Device(torch.device("cpu"), torch.bfloat16, 1, "CPU, bfloat16"))
    assert {value.dtype for value in model.parameters()} == {torch.float32}
