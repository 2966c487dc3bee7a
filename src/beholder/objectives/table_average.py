"""A learned table of codes whose rows are where their points are on average (van den Oord et al. 2017, arXiv
1711.00937, appendix A.1): no optimiser moves them, which would move a coordinate that matters little as far as another.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

_FEWEST = 1e-3
"""Points, below which a row stays where it is."""


class TableAverage(nn.Module):
    """Moving averages of how many points each row took, and of their sum."""

    def __init__(self, num_codes: int, width: int, momentum: float = 0.99) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("counts", torch.zeros(num_codes))
        self.register_buffer("sums", torch.zeros(num_codes, width))
        self.counts: Tensor
        self.sums: Tensor

    @torch.no_grad()
    def follow(self, table: Float[Tensor, "K D"], codes: Int[Tensor, " n"], points: Float[Tensor, "n D"]) -> None:
        """Move the rows to where the points that took them are. At the first call all rows weigh alike."""
        points = points.float()
        if not self.counts.any():
            self.hold(torch.ones_like(self.counts, dtype=torch.bool), table, len(codes) / len(table))
        share = 1 - self.momentum
        self.counts.mul_(self.momentum).add_(torch.bincount(codes, minlength=len(table)), alpha=share)
        self.sums.mul_(self.momentum).index_add_(0, codes, points, alpha=share)
        counts = self.counts[:, None]
        table.copy_(torch.where(counts < _FEWEST, table, self.sums / counts.clamp_min(_FEWEST)))

    @torch.no_grad()
    def hold(self, rows: Tensor, table: Float[Tensor, "K D"], weight: float | None = None) -> None:
        """These rows (K, bool) stay where the table has them, with the weight of so many points; of the mean row, if
        not told."""
        weight = float(self.counts.mean()) if weight is None else weight
        self.counts[rows] = weight
        self.sums[rows] = weight * table[rows].float()
