"""What comes next: every token of a sentence is foretold from those before it (Radford et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from beholder.objectives.head_loss import head_loss
from beholder.types import Batch, Losses


@dataclass(frozen=True)
class NextTokenConfig:
    """What is added to the cross-entropy."""

    z_weight: float = 0.0
    """Of the squared logarithm of the scores' sum, which keeps scores from drifting (Chowdhery et al. 2022, arXiv
    2204.02311: 1e-4)."""


class NextToken(nn.Module):
    """Objective over batches with "tokens" (B T) and, where not all count alike, "weights" (B T). What a batch calls
    "images" is shown to the model beside them; "rows" (B T) are numbers of packed texts, none of which sees another.

    `model(tokens) -> B T V` gives scores of the next token. Of a model that has them apart, `model.hidden(tokens)` (B T
    D) and `model.head_weight` (V D) are asked instead, and the scores are never held. The first token is given, never
    foretold.
    """

    def __init__(self, config: NextTokenConfig = NextTokenConfig()) -> None:
        super().__init__()
        self.config = config

    def forward(self, model: Any, batch: Batch) -> Losses:
        """The weighted mean of nats a token. Part: "accuracy", the weighted share of tokens that were the likeliest."""
        tokens = batch["tokens"]
        targets = tokens[:, 1:].flatten()
        weights = batch["weights"][:, 1:].flatten() if "weights" in batch else torch.ones_like(targets).float()
        is_counted = weights > 0  # what counts for nothing costs nothing
        targets, weights = targets[is_counted], weights[is_counted]
        shares = weights / weights.sum()
        shown = {"images": batch["images"]} if "images" in batch else {}
        if "rows" in batch:
            shown["rows"] = batch["rows"][:, :-1]
        if hasattr(model, "head_weight"):
            x = model.hidden(tokens[:, :-1], **shown).flatten(0, 1)[is_counted]
            total, accuracy = head_loss(x, model.head_weight, targets, shares, self.config.z_weight)
            return Losses(total, {"accuracy": accuracy})
        logits = model(tokens[:, :-1], **shown).float().flatten(0, 1)[is_counted]
        total = (F.cross_entropy(logits, targets, reduction="none") * shares).sum()
        if self.config.z_weight:
            total = total + self.config.z_weight * (logits.logsumexp(-1).square() * shares).sum()
        return Losses(total, {"accuracy": float(((logits.argmax(-1) == targets) * shares).sum().detach())})

    def after_step(self, model: Any, progress: float) -> None:
        """Nothing follows a step."""
