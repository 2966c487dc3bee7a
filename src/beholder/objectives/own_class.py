"""Each image its own class: told from all others under augmentation, with heavily smoothed labels (DIET: Balestriero
2023, arXiv 2302.10260; from a trained backbone on, for few images: DIET-CP, 2025, arXiv 2509.06990)."""

from __future__ import annotations

from typing import Any

import torch

from beholder.objectives.labels import LabelPrediction


class OwnClass(LabelPrediction):
    """Objective over batches with "indices" of images, 0 to `num_images` - 1. It needs no second view and no second
    network; the head grows with the images."""

    def __init__(self, model: Any, num_images: int, smoothing: float = 0.8) -> None:
        super().__init__(model, torch.arange(num_images), num_images, smoothing)
