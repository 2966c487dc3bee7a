"""Stage: say what the long work will cost before it begins, from a few timed samples, and compare afterwards."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from beholder.data.decode import decode
from beholder.evaluate.pick import kmeans_pick
from beholder.recipes.adapt.domain import Domain
from beholder.recipes.adapt.features import BATCH_SIZE, Look, look_at_batches, prepare, see
from beholder.recipes.adapt.health import NUM_VIEWED, VIEW_SIZE
from beholder.recipes.adapt.pretrain import METHODS, diet_of
from beholder.recipes.adapt.sentences import Sentences
from beholder.recipes.adapt.session import Session
from beholder.recipes.adapt.settings import AdaptConfig
from beholder.runtime.device import release_freed_memory
from beholder.runtime.energy import peak_memory_bytes
from beholder.runtime.log import duration, size
from beholder.train.pace import Timed
from beholder.train.readout import fit_readout

_NUM_TIMED_LABELS = 400
_FIT_POWER = 1.3
"""A readout's seconds grow about so with its labels: choosing looks at a bounded number, the rest is cubic."""
_SECONDS_OF_PAGE = 6.0
_NUM_PICTURES_EXPLAINED = 300
"""Looks that heat maps, their deletion test and the galleries take, at the most."""


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


def estimate(
    session: Session,
    domain: Domain,
    backbone: nn.Module,
    pretraining: Timed,
    tuning: Timed,
    sentences: Sentences | None = None,
) -> Estimate:
    """Time a batch of the domain's own images through the generic backbone and scale it up."""
    config = session.config
    release_freed_memory()  # of the timed steps
    ready, resolutions = prepare(backbone, session.device), config.resolutions

    def look(batch: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        return see(ready, batch, resolutions, session.pixels, session.device)

    seconds_per_image, width = _time_images(session, domain, look, max(resolutions))
    num_images, num_folds, has_pretraining = len(domain.samples), len(domain.folds), pretraining.steps > 0
    seconds = {"features": seconds_per_image * num_images}
    if has_pretraining:
        seconds["pretraining"] = pretraining.seconds * num_folds
        seconds["adapted features"] = seconds_per_image * num_images * num_folds
    if sentences is not None:
        seconds["sentence features"] = _time_images(session, domain, sentences.look, sentences.side)[0] * num_images
    num_spaces = 4 if has_pretraining else 1  # generic, adapted, and the two side by side
    per_view = seconds_per_image * VIEW_SIZE**2 / sum(side**2 for side in config.resolutions)
    seconds["embeddings"] = per_view * 2 * min(NUM_VIEWED, num_images) * num_spaces
    if domain.is_judged:
        seconds["curve"] = num_folds * _curve_seconds(
            config, len(domain.folds[0].train), has_pretraining, sentences is not None
        )
    if tuning.steps:
        seconds["fine-tuning"] = tuning.seconds + seconds_per_image * num_images
    seconds["report"] = _SECONDS_OF_PAGE + seconds_per_image * min(_NUM_PICTURES_EXPLAINED, 2 * num_images)
    num_tables = 1 + num_folds * has_pretraining + (tuning.steps > 0)
    cached = has_pretraining * min(num_images, METHODS[config.method].most_images) * 3 * diet_of(config).cache_size ** 2
    disk_bytes = num_tables * num_images * width * 2 + cached + 60_000_000
    memory_bytes = peak_memory_bytes() + 500_000_000 + num_images * config.embedding_width * 4 * 3
    return Estimate({name: round(value, 1) for name, value in seconds.items()}, memory_bytes, int(disk_bytes))


def _time_images(session: Session, domain: Domain, look: Look, at_least: int) -> tuple[float, int]:
    """Seconds for one image, decoding included, and the width of its descriptor."""
    device = session.device
    count = min(len(domain.samples), BATCH_SIZE * device.num_threads)
    samples = domain.samples[:: len(domain.samples) // count][:count]
    seconds, width = 0.0, 0
    for _ in range(2):  # the first round warms up caches and kernels
        began = time.perf_counter()
        images = [decode(sample, session.limits, at_least=at_least) for sample in samples]
        batches = [images[first : first + BATCH_SIZE] for first in range(0, count, BATCH_SIZE)]
        seen = list(look_at_batches(look, batches, device))
        seconds, width = (time.perf_counter() - began) / count, seen[0][0].shape[1]
    return seconds, width


def _curve_seconds(config: AdaptConfig, num_labels: int, has_pretraining: bool, has_sentences: bool) -> float:
    """One fold's curve, from one readout and one pick of labels timed on noise."""
    random, width = np.random.default_rng(0), config.embedding_width
    count = min(num_labels, _NUM_TIMED_LABELS)
    rows, labels = random.normal(size=(num_labels, width)).astype(np.float32), np.arange(count) % 2
    began = time.perf_counter()
    fit_readout(rows[:count], labels, np.arange(count), 2)
    fitted = time.perf_counter()
    kmeans_pick(rows, count // 2, seed=0)
    seconds_fit, seconds_pick = fitted - began, time.perf_counter() - fitted
    num_arms, num_picked = (6, 2) if has_pretraining else (4, 1)
    num_arms += 2 * has_sentences
    total = 0.0
    for fraction in config.fractions:
        num_seeds = config.num_label_seeds if fraction < 1 else 1
        share = fraction * num_labels / count
        total += num_seeds * (num_arms * seconds_fit * share**_FIT_POWER + num_picked * seconds_pick * share)
    return total
