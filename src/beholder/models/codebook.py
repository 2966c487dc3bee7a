"""Codebooks: where a continuous point becomes one of finitely many, each with a number.

`FiniteScalar` rounds every coordinate to a few levels and has nothing to learn (Mentzer et al. 2023, arXiv 2309.15505);
`LearnedCodes` keeps a table of points and takes the nearest (van den Oord et al. 2017, arXiv 1711.00937), on the unit
sphere where asked (Yu et al. 2021, arXiv 2110.04627).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Quantised:
    """Points that were moved onto codes."""

    values: Float[Tensor, "*B D"]
    """The codes' points; gradients pass as if nothing had moved."""
    codes: Int[Tensor, " *B"]
    """Their numbers, from 0."""
    loss: Float[Tensor, ""]
    """What the codebook asks to be made smaller; 0 where it has nothing to learn."""
    points: Float[Tensor, "*B D"] | None = None
    """Where the points were before they were moved, for codes that are learned."""


@dataclass(frozen=True)
class CodebookConfig:
    """Which codes there are."""

    kind: Literal["finite", "learned"] = "finite"
    levels: tuple[int, ...] = (4, 4, 4, 4, 4)
    """finite: how many values each coordinate takes; their product is the number of codes."""
    num_codes: int = 1024
    """learned: rows of the table."""
    width: int = 8
    """learned: coordinates of a code."""
    is_unit: bool = True
    """learned: whether points and codes lie on the unit sphere, where the angle decides."""
    commitment: float = 0.25
    """learned: how strongly points are drawn to their codes, where codes are drawn to their points with 1."""
    follows: bool = False
    """learned: whether rows are moving averages of the points that took them (van den Oord et al. 2017, appendix A.1),
    which the objective keeps, in the place of weights that an optimiser moves."""

    @property
    def table_shape(self) -> tuple[int, int]:
        """Rows and coordinates of a table that is learned; 0 and 0 of a grid."""
        return (self.num_codes, self.width) if self.kind == "learned" else (0, 0)


class FiniteScalar(nn.Module):
    """A grid of points: coordinate i takes `levels[i]` evenly spaced values between -1 and 1."""

    def __init__(self, levels: tuple[int, ...]) -> None:
        super().__init__()
        assert levels and all(level > 1 for level in levels), levels
        self.levels = levels
        self.num_codes, self.width = math.prod(levels), len(levels)
        self.register_buffer("counts", torch.tensor(levels), persistent=False)
        self.register_buffer(
            "places", torch.tensor([math.prod(levels[:i]) for i in range(len(levels))]), persistent=False
        )
        self.counts: Tensor
        self.places: Tensor

    def forward(self, points: Float[Tensor, "*B D"]) -> Quantised:
        """The nearest grid point of each point, bent into the grid's bounds by a tanh first."""
        top = self.counts - 1
        steps = (points.float().tanh() + 1) / 2 * top  # 0 to L - 1
        whole = (steps.detach() + 0.5).floor().clamp_min(0).minimum(top)
        values = 2 * (steps + (whole - steps).detach()) / top - 1
        codes = (whole.long() * self.places).sum(-1)
        return Quantised(values.to(points.dtype), codes, points.new_zeros(()))

    def embed(self, codes: Int[Tensor, " *B"]) -> Float[Tensor, "*B D"]:
        """The points of those numbers."""
        digits = codes[..., None] // self.places % self.counts
        return 2 * digits.float() / (self.counts - 1) - 1


class LearnedCodes(nn.Module):
    """A table of points; what no point came near in training is put where points are by `revive`."""

    def __init__(self, config: CodebookConfig) -> None:
        super().__init__()
        self.config = config
        self.num_codes, self.width = config.num_codes, config.width
        self.table = nn.Parameter(torch.empty(config.num_codes, config.width))
        nn.init.uniform_(self.table, -1 / config.num_codes, 1 / config.num_codes)
        self.table.requires_grad_(not config.follows)

    def forward(self, points: Float[Tensor, "*B D"]) -> Quantised:
        """The nearest row of each point."""
        given = self._bent(points.float())
        table = self._bent(self.table.float())
        flat = given.reshape(-1, self.width)
        with torch.no_grad():
            distances = table.square().sum(1) - 2 * flat @ table.T  # n K, without the point's own length
            codes = distances.argmin(1)
        found = table[codes].view_as(given)
        loss = self.config.commitment * (found.detach() - given).square().mean()
        if not self.config.follows:
            loss = loss + (found - given.detach()).square().mean()
        values = given + (found - given).detach()
        return Quantised(values.to(points.dtype), codes.view(points.shape[:-1]), loss, given)

    def embed(self, codes: Int[Tensor, " *B"]) -> Float[Tensor, "*B D"]:
        """The points of those numbers."""
        return self._bent(self.table)[codes]

    @torch.no_grad()
    def revive(self, is_used: Tensor, points: Float[Tensor, "n D"]) -> int:
        """Rows that were not used (K, bool) move onto points drawn from these; how many did."""
        unused = (~is_used).nonzero()[:, 0]
        if len(unused) and len(points):
            drawn = torch.randint(len(points), (len(unused),), device=points.device)
            self.table[unused] = self._bent(points.float())[drawn].to(self.table.dtype)
        return len(unused)

    def _bent(self, points: Tensor) -> Tensor:
        return F.normalize(points, dim=-1) if self.config.is_unit else points


Codebook = FiniteScalar | LearnedCodes


def build_codebook(config: CodebookConfig) -> Codebook:
    """The codebook of that configuration."""
    return FiniteScalar(config.levels) if config.kind == "finite" else LearnedCodes(config)
