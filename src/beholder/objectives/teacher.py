"""Self-distillation: from one view of an image the student finds what its slow average says of another view.

Siamese learning with a moving-average teacher (Grill et al. 2020, arXiv 2006.07733; Chen, Xie & He 2021,
arXiv 2104.02057). Prototype (DINO) and variance (VICReg) losses were tried and learned a small transformer more slowly.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from beholder.objectives.recognition import Recognition, RecognitionConfig
from beholder.types import Batch, Losses, UserError


class SelfDistillation(nn.Module):
    """Objective over batches with V >= 2 views."""

    def __init__(self, model: Any, config: RecognitionConfig = RecognitionConfig()) -> None:  # noqa: B008 (frozen)
        super().__init__()
        self.recognition = Recognition(model, config)

    def forward(self, model: Any, batch: Batch) -> Losses:
        """Parts are those of `Recognition`. Raises UserError for fewer than two views or two images."""
        views = batch["views"]  # V B C H W
        if len(views) < 2:
            raise UserError("Self-distillation got 1 view of each image and compares views; use at least 2.")
        images = views.flatten(0, 1)
        return self.recognition(model(images), self.recognition.tell(images), len(views))

    def after_step(self, model: Any, progress: float) -> None:
        self.recognition.update(model, progress)
