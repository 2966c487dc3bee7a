"""Stage: say what the long work will cost before it begins, from a few timed samples, and compare afterwards."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import nn

from beholder.data.decode import decode
from beholder.recipes.adapt.domain import Domain
from beholder.recipes.adapt.features import BATCH_SIZE, prepare, see
from beholder.recipes.adapt.pace import Timed
from beholder.recipes.adapt.session import Session
from beholder.recipes.adapt.settings import AdaptConfig
from beholder.runtime.energy import peak_memory_bytes
from beholder.runtime.log import duration, size

_SECONDS_PER_FIT = 2.6e-7
"""Of one readout, times the labels squared: measured, rounded up; small fits take about 30 ms."""


@dataclass(frozen=True)
class Estimate:
    """Expected seconds of each stage, and what the machine must have."""

    seconds: dict[str, float]
    memory_bytes: int
    disk_bytes: int

    @property
    def total_seconds(self) -> float:
        return sum(self.seconds.values())

    @property
    def sentence(self) -> str:
        parts = ", ".join(f"{name} {duration(seconds)}" for name, seconds in self.seconds.items() if seconds >= 0.5)
        need = f"{size(self.memory_bytes)} of memory, {size(self.disk_bytes)} of disk"
        return f"about {duration(self.total_seconds)} ({parts}), {need}"


def estimate(session: Session, domain: Domain, backbone: nn.Module, pretraining: Timed, tuning: Timed) -> Estimate:
    """Time a batch of the domain's own images through the generic backbone and scale it up."""
    config = session.config
    seconds_per_image, width = _time_images(session, domain, backbone)
    num_images, num_folds, has_pretraining = len(domain.samples), len(domain.folds), pretraining.steps > 0
    seconds = {"features": seconds_per_image * num_images}
    if has_pretraining:
        seconds["pretraining"] = pretraining.seconds * num_folds
        seconds["adapted features"] = seconds_per_image * num_images * num_folds
    if domain.is_judged:
        seconds["curve"] = _curve_seconds(config, len(domain.folds[0].train), has_pretraining) * num_folds
    if tuning.steps:
        seconds["fine-tuning"] = tuning.seconds + seconds_per_image * num_images
    seconds["report"] = 10.0 + seconds_per_image * 500
    num_tables = 1 + num_folds * has_pretraining + (tuning.steps > 0)
    cached = has_pretraining * min(num_images, 50_000) * 3 * 160 * 160
    disk_bytes = num_tables * num_images * width * 2 + cached + 60_000_000
    memory_bytes = peak_memory_bytes() + 500_000_000 + num_images * config.embedding_width * 4 * 3
    return Estimate({name: round(value, 1) for name, value in seconds.items()}, memory_bytes, int(disk_bytes))


def _time_images(session: Session, domain: Domain, backbone: nn.Module) -> tuple[float, int]:
    """Seconds for one image, decoding included, and the width of its descriptor."""
    ready = prepare(backbone, session.device)
    resolutions = session.config.resolutions
    count = min(len(domain.samples), BATCH_SIZE)
    samples = domain.samples[:: len(domain.samples) // count][:count]
    seconds, width = 0.0, 0
    for _ in range(2):  # the first round warms up caches and kernels
        began = time.perf_counter()
        images = [decode(sample, session.limits, at_least=max(resolutions)) for sample in samples]
        width = see(ready, images, resolutions, session.pixels, session.device)[0].shape[1]
        if session.device.torch_device.type == "cuda":
            torch.cuda.synchronize()
        seconds = (time.perf_counter() - began) / len(images)
    return seconds, width


def _curve_seconds(config: AdaptConfig, num_labels: int, has_pretraining: bool) -> float:
    num_arms = 6 if has_pretraining else 4
    total = 0.0
    for fraction in config.fractions:
        num_seeds = config.num_label_seeds if fraction < 1 else 1
        total += num_seeds * (0.03 + _SECONDS_PER_FIT * (fraction * num_labels) ** 2)
    return total * num_arms
