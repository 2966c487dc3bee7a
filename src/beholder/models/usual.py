"""What is usual: a Gaussian over the embeddings of normal images, and how far from it each image lies."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Usual(nn.Module):
    """Mahalanobis distance to the normal images (Lee et al. 2018, arXiv 1807.03888), with levels from held-out normals.

    `levels` are sorted distances of normal images that the Gaussian has not seen: an image's p-value is the share of
    them that lies at least as far, counted conformally, so that normal images fall below p with probability at most p.
    """

    def __init__(self, width: int, num_levels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("whitener", torch.eye(width))
        self.register_buffer("levels", torch.zeros(num_levels))
        self.mean: Tensor
        self.whitener: Tensor
        self.levels: Tensor

    def forward(self, embedding: Float[Tensor, "B D"]) -> Float[Tensor, " B"]:
        """Distance in standard deviations, averaged over dimensions: about 1 for a usual image."""
        offset = (embedding - self.mean) @ self.whitener.T
        return offset.square().mean(1).sqrt()

    def p_value(self, distance: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """The conformal p-value, in [1 / (n + 1), 1]; small is unusual."""
        num_levels = self.levels.numel()
        num_farther = num_levels - torch.searchsorted(self.levels, distance, right=False)
        return (num_farther + 1) / (num_levels + 1)

    def threshold(self, false_alarm_rate: float) -> float:
        """The distance from which an image is called unusual, so that this share of normal ones is called so at most.

        Infinite when too few levels are there to promise the rate.
        """
        num_levels = self.levels.numel()
        rank = int((num_levels + 1) * false_alarm_rate)  # this many levels may lie at or beyond the threshold
        return float("inf") if rank < 1 else float(self.levels[num_levels - rank])
