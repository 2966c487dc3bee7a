"""A run so small that it can be repeated in milliseconds: three tints, a small model, and a loss that draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from beholder.data.augment import AugmentConfig
from beholder.data.stream import ImageStream
from beholder.runtime.device import Device
from beholder.train.loop import Plan, TrainResult, train
from beholder.types import Batch, Losses

CPU = Device(torch.device("cpu"), torch.float32, 1, "CPU, 1 thread, float32")


class Dropout(nn.Module):
    """An objective with its own weights, its own random numbers and its own memory between steps."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 3)
        self.register_buffer("num_steps", torch.zeros((), dtype=torch.int64))

    def forward(self, model: Any, batch: Batch) -> Losses:
        features = model(batch["views"][0])
        features = features * (torch.rand_like(features) > 0.3)
        loss = nn.functional.cross_entropy(self.head(features), batch["indices"] % 3)
        return Losses(loss, {"num_steps": float(self.num_steps)})

    def after_step(self, model: Any, progress: float) -> None:
        self.num_steps += 1


def tiny_model(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def tiny_stream(seed: int = 0) -> ImageStream:
    images = np.random.default_rng(3).integers(0, 256, (12, 3, 8, 8), dtype=np.uint8)
    images[np.arange(12), np.arange(12) % 3] //= 4
    return ImageStream(images, batch_size=8, num_views=1, augmentation=AugmentConfig(size=8), seed=seed)


def tiny_run(folder: Path, plan: Plan, **options: Any) -> tuple[nn.Module, Dropout, TrainResult]:
    model = tiny_model()
    objective = Dropout()
    result = train(model, objective, tiny_stream(), plan=plan, device=CPU, folder=folder, **options)
    return model, objective, result


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Whether every parameter and buffer is equal to the bit."""
    mine, others = one.state_dict(), other.state_dict()
    return mine.keys() == others.keys() and all(torch.equal(value, others[name]) for name, value in mine.items())
