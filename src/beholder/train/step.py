"""One optimisation step: forward and backward in micro-batches, clip, update; a broken loss stops the run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from beholder.runtime.device import Device
from beholder.train.optimizer import Optimizer
from beholder.types import Batch, Losses, UserError


class Diverged(UserError):
    """The loss or the gradient is no longer a number; the message tells the step and the loss's parts."""

    def __init__(self, step: int, parts: Mapping[str, float]) -> None:
        told = ", ".join(f"{name} {value:g}" for name, value in parts.items())
        super().__init__(f"Training diverged at step {step} ({told}); lower the learning rate or lengthen the warm-up.")
        self.step = step
        self.parts = dict(parts)


@dataclass(frozen=True)
class StepReport:
    """What one step measured."""

    step: int
    """From 0."""
    losses: Mapping[str, float]
    """ "total" and the objective's parts, averaged over micro-batches."""
    gradient_norm: float
    """Euclidean norm over all parameters, before clipping."""
    lr: float
    """Learning rate of the fastest group."""


def take_step(
    model: nn.Module,
    objective: Any,
    optimizer: Optimizer,
    batch: Batch,
    *,
    step: int,
    device: Device,
    num_micro_batches: int = 1,
    max_gradient_norm: float = 1.0,
) -> StepReport:
    """Update the weights once and report. Raises Diverged, with weights untouched, when loss or gradient is not finite.

    Micro-batches save memory; objectives that compare images within a batch compare fewer then.
    """
    optimizer.zero_grad()
    means: dict[str, float] = {}
    for part in split_batch(batch, num_micro_batches):
        with device.autocast():
            losses: Losses = objective(model, part)
        told = {"total": float(losses.total.detach()), **losses.parts}
        if not math.isfinite(told["total"]):
            raise Diverged(step, told)
        (losses.total / num_micro_batches).backward()
        for name, value in told.items():
            means[name] = means.get(name, 0.0) + value / num_micro_batches
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    norm = float(nn.utils.clip_grad_norm_(parameters, max_gradient_norm))
    if not math.isfinite(norm):
        raise Diverged(step, {**means, "gradient_norm": norm})
    optimizer.step()
    return StepReport(step, means, norm, max(group["lr"] for group in optimizer.param_groups))


def split_batch(batch: Batch, count: int) -> Iterator[Batch]:
    """`count` batches of consecutive images; "views" is split along its image axis, all else along the first."""
    if count == 1:
        yield batch
        return
    parts = {name: tensor.chunk(count, dim=1 if name == "views" else 0) for name, tensor in batch.items()}
    for index in range(count):
        yield {name: chunks[index] for name, chunks in parts.items()}


def move_batch(batch: Batch, device: Device) -> Batch:
    """The batch on the device."""
    return {name: tensor.to(device.torch_device, non_blocking=True) for name, tensor in batch.items()}
