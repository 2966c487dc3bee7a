"""A small model learns what a large one says of the same views (Hinton et al. 2015, arXiv 1503.02531; that both see the
same view matters: Beyer et al. 2022, arXiv 2106.05237)."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.types import Batch, Losses

_SMALLEST_SPREAD = 1e-6


class Distillation(nn.Module):
    """Objective over batches with one view and "indices" into the teacher's `embeddings` of the views.

    The loss is the square of the difference over the square of the embeddings' spread, so that a model that always says
    the mean has a loss of one; and, through the teacher's own `head`, the divergence of the student's
    class probabilities from the teacher's, in nats.
    """

    def __init__(self, embeddings: Float[Tensor, "n D"], head: nn.Module | None) -> None:
        super().__init__()
        self.register_buffer("embeddings", embeddings)
        spread = (embeddings - embeddings.mean(0)).square().mean().sqrt().clamp_min(_SMALLEST_SPREAD)
        self.register_buffer("spread", spread)
        self.head = head
        self.embeddings: Tensor
        self.spread: Tensor

    def forward(self, model: Any, batch: Batch) -> Losses:
        """Parts: "embedding", and "classes" where there is a head."""
        said = model(batch["views"][0]).float()
        return self.compare(said, self.embeddings[batch["indices"]])

    def compare(self, said: Float[Tensor, "B D"], right: Float[Tensor, "B D"]) -> Losses:
        """The losses of embeddings beside the teacher's."""
        embedding = ((said - right) / self.spread).square().mean()
        if self.head is None:
            return Losses(embedding, {"embedding": embedding.item()})
        with torch.no_grad():
            expected = self.head(right).softmax(1)
        classes = F.kl_div(self.head(said).log_softmax(1), expected, reduction="batchmean")
        return Losses(embedding + classes, {"embedding": embedding.item(), "classes": classes.item()})

    def after_step(self, model: Any, progress: float) -> None:
        """Nothing follows the model here."""
