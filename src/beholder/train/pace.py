"""How long a training step takes on this machine: the same step, on noise, timed before the long work."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from torch import nn

from beholder.data.stream import Stream
from beholder.runtime.device import Device
from beholder.runtime.log import counted, duration
from beholder.train.optimizer import build_optimizer, named_parameters
from beholder.train.step import move_batch, take_step


@dataclass(frozen=True)
class Timed:
    """So many steps, and what each takes on this machine."""

    steps: int = 0
    seconds_per_step: float = 0.0

    @property
    def seconds(self) -> float:
        return self.steps * self.seconds_per_step

    def told(self, more: str = "") -> str:
        """346 steps of 2.04 s, 11 min 46 s of training, and what they do not hold."""
        steps = f"{counted(self.steps, 'step')} of {self.seconds_per_step:.2f} s"
        on_top = "looks at held-out pictures on the way, and judging, come on top"
        return f"{steps}, {duration(self.seconds)} of training{more}; {on_top}"


def seconds_per_step(
    backbone: nn.Module, objective: nn.Module, stream: Stream, device: Device, num_timed: int
) -> float:
    """Median seconds of so many steps after a first that warms up; the weights are spoilt, so hand in copies."""
    backbone.to(device.torch_device).train()
    objective.to(device.torch_device).train()
    optimizer = build_optimizer(named_parameters(backbone, objective), lr=1e-6, weight_decay=0.0)
    seconds = []
    for step in range(1 + num_timed):
        began = time.perf_counter()
        batch = move_batch(stream.batch(step), device)
        report = take_step(
            backbone, objective, optimizer, batch, step=step, device=device, num_micro_batches=1, max_gradient_norm=1.0
        )
        objective.after_step(backbone, 0.5)  # type: ignore[operator]
        assert np.isfinite(report.losses["total"])
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds[1:]))


def noise_pictures(count: int, size: int) -> np.ndarray:
    """Bytes count 3 size size."""
    return np.random.default_rng(0).integers(0, 256, (count, 3, size, size), np.uint8)
