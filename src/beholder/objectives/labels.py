"""Supervised fine-tuning: from an image's features the label is told, every class weighing the same."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.objectives.recognition import pool
from beholder.types import Batch, Losses


class LabelPrediction(nn.Module):
    """Objective over batches with "indices" into `labels`; the linear head is its own and is thrown away afterwards.

    The pooled features are normalised one by one and the head starts at zero, so that the first steps do not shake the
    backbone with a random head's gradients (Kumar et al. 2022, arXiv 2202.10054, tell why that matters).
    """

    def __init__(self, model: Any, labels: Int[Tensor, " n"], num_classes: int, smoothing: float = 0.1) -> None:
        super().__init__()
        num_inputs = sum(model.map_widths) + model.summary_width
        self.norm = nn.LayerNorm(num_inputs, elementwise_affine=False)
        self.head = nn.Linear(num_inputs, num_classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.smoothing = smoothing
        counts = torch.bincount(labels, minlength=num_classes).float()
        self.register_buffer("labels", labels)
        self.register_buffer("weights", counts.sum() / counts.clamp_min(1.0) / num_classes)
        self.labels: Tensor
        self.weights: Tensor

    def forward(self, model: Any, batch: Batch) -> Losses:
        """Balanced cross-entropy with smoothed labels, over all views. Part: "accuracy"."""
        views = batch["views"]  # V B C H W
        logits = self.head(self.norm(pool(model(views.flatten(0, 1))))).float()  # (V B) classes
        labels = self.labels[batch["indices"]].repeat(len(views))
        loss = F.cross_entropy(logits, labels, self.weights, label_smoothing=self.smoothing)
        accuracy = (logits.argmax(1) == labels).float().mean()
        return Losses(loss, {"accuracy": float(accuracy)})

    def after_step(self, model: Any, progress: float) -> None:
        """Nothing follows the model here."""
