"""Exponential moving average of a model's weights over the steps, often better than the last weights."""

from __future__ import annotations

import copy

import torch
from torch import nn

from beholder.objectives.recognition import follow


class WeightAverage:
    """Holds `model`, a frozen copy that follows the trained one; for evaluation and export."""

    def __init__(self, model: nn.Module, momentum: float) -> None:
        assert 0.0 <= momentum < 1.0, momentum
        self.momentum = momentum
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Call after step number `step` (from 0). Running statistics are copied, for the average is never run.

        The first steps are forgotten faster, so that a short run's average holds little of the first weights: the
        momentum is at most (1 + step) / (10 + step).
        """
        follow(self.model, model, min(self.momentum, (1 + step) / (10 + step)))
        for kept, new in zip(self.model.buffers(), model.buffers(), strict=True):
            kept.copy_(new)
