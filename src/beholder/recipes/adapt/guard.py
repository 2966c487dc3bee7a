"""The guard that watches pretraining: features that collapse, or know less of the labels than before, end the run."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from torch import nn

from beholder.metrics.embeddings import effective_rank, knn_accuracy
from beholder.models.families import Backbone
from beholder.models.heads import describe
from beholder.recipes.adapt.features import in_range
from beholder.runtime.device import Device
from beholder.runtime.seed import numpy_generator
from beholder.tokenizers.pixels import PixelConfig, normalise
from beholder.train.loop import StopTraining

NUM_IMAGES = 512
_BATCH_SIZE = 64
SMALLEST_RANK_SHARE = 0.25
"""Of the rank before pretraining; less is called a collapse."""
LARGEST_LOSS_ERRORS = 3.0
"""Standard errors by which k-NN accuracy may fall below its first value."""


@dataclass(frozen=True)
class Guard:
    """A probe of the training loop; the same images are looked at each time."""

    images: np.ndarray
    """Bytes m 3 S S."""
    labels: np.ndarray | None
    """0..C-1 of the first `num_reference` images and the others, or None."""
    num_reference: int
    """The neighbours come from these first images; the others, of other groups, ask."""
    before: dict[str, float]
    pixels: PixelConfig
    device: Device
    trusted_from: int = 0
    """Step from which k-NN accuracy may end the run: a transformer's dips early and may end above its start
    (benchmarks/planted_pixels.py: 38 % to 19 % after 10 steps, 44 % after 40)."""

    @classmethod
    def begin(
        cls,
        backbone: nn.Module,
        images: np.ndarray,
        labels: np.ndarray | None,
        groups: np.ndarray,
        pixels: PixelConfig,
        device: Device,
        seed: int,
        trusted_from: int = 0,
    ) -> Guard:
        """Choose the images, half of the groups against the other half, and look at them before the first step."""
        order = numpy_generator(seed, "guard").permutation(np.unique(groups))
        is_reference = np.isin(groups, order[: len(order) // 2])
        usable = np.ones(len(images), bool) if labels is None else labels >= 0
        halves = [np.flatnonzero(usable & half)[: NUM_IMAGES // 2] for half in (is_reference, ~is_reference)]
        if labels is None or min(map(len, halves)) < 20 or len(np.unique(labels[halves[0]])) < 2:
            chosen, labels = np.arange(min(len(images), NUM_IMAGES)), None
        else:
            chosen = np.concatenate(halves)
            labels = labels[chosen]
        guard = cls(np.asarray(images[chosen]), labels, len(halves[0]), {}, pixels, device, trusted_from)
        return replace(guard, before={"step": 0, **guard.look(backbone.to(device.torch_device))})

    def __call__(self, model: nn.Module, step: int) -> dict[str, float]:
        """Rank and k-NN accuracy now. Raises StopTraining when the features became worse."""
        now = self.look(model)
        if now["rank"] == 0.0:
            raise StopTraining("the features blew up: half precision, in which they are kept, does not hold them")
        if now["rank"] < SMALLEST_RANK_SHARE * self.before["rank"]:
            raise StopTraining(
                f"the features collapsed: their effective rank fell from {self.before['rank']:.0f} to {now['rank']:.0f}"
            )
        if self.labels is not None and step >= self.trusted_from:
            first, num_asked = self.before["knn"], len(self.labels) - self.num_reference
            error = math.sqrt(max(first * (1 - first), 0.01) / num_asked)
            if now["knn"] < first - LARGEST_LOSS_ERRORS * error:
                raise StopTraining(
                    f"the features became worse: k-NN accuracy fell from {first:.1%} to {now['knn']:.1%}"
                )
        return now

    def look(self, model: nn.Module) -> dict[str, float]:
        """Effective rank of the descriptors, and k-NN accuracy where there are labels; 0 where they blew up."""
        was_training = model.training
        model.eval()
        with torch.inference_mode(), self.device.autocast():
            parts = [
                describe(cast(Backbone, model)(normalise(batch.to(self.device.torch_device), self.pixels))).cpu()
                for batch in torch.from_numpy(self.images).split(_BATCH_SIZE)
            ]
        model.train(was_training)
        rows = torch.cat(parts).numpy()
        if not np.array_equal(rows, in_range(rows)):
            return {"rank": 0.0, **({} if self.labels is None else {"knn": 0.0})}
        rows = (rows - rows.mean(0)) / np.maximum(rows.std(0), 1e-6)
        seen = {"rank": effective_rank(rows)}
        if self.labels is not None:
            n = self.num_reference
            seen["knn"] = knn_accuracy(rows[:n], self.labels[:n], rows[n:], self.labels[n:])
        return seen
