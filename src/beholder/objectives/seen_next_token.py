"""What comes next, of texts about images that are looked at anew in every step: what sees learns with what speaks."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from beholder.objectives.next_token import NextToken
from beholder.types import Batch, Losses


class SeenNextToken(nn.Module):
    """Objective over batches as of `NextToken`, with "pixels" (N 3 H W) in the place of "images", "places" (B I) that
    tell which of them a row shows, and "kept" (B I S), the tokens of images that are not left out.

    `model.see(pixels) -> N S C` is what is seen, `model.speaker` foretells the text, and its `seen_mean` stands for
    what is left out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.next_token = NextToken()

    def forward(self, model: Any, batch: Batch) -> Losses:
        """As of `NextToken`."""
        seen = model.see(batch["pixels"])[batch["places"]]  # B I S C
        images = torch.where(batch["kept"][..., None], seen, model.speaker.seen_mean.to(seen.dtype))
        return self.next_token(model.speaker, {**batch, "images": images})

    def after_step(self, model: Any, progress: float) -> None:
        """Nothing follows a step."""
