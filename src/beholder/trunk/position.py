"""Where a token stands: tables of position vectors, turned queries and keys, and penalties for distance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


def sine_positions(rows: int, columns: int, width: int) -> Float[Tensor, "1 T D"]:
    """Fixed 2-D sine and cosine vectors, row-major; values in [-1, 1].

    A quarter of the width each for sine and cosine of the row and of the column, with wavelengths from 2 pi to
    20,000 pi cells (Chen, Xie & He 2021, arXiv 2104.02057). Width must be a multiple of 4.
    """
    assert width % 4 == 0, f"2-D sine positions need a width that is a multiple of 4, not {width}"
    rates = 10_000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    y = torch.arange(rows, dtype=torch.float64)[:, None, None] * rates  # rows 1 D/4
    x = torch.arange(columns, dtype=torch.float64)[None, :, None] * rates  # 1 columns D/4
    y, x = y.expand(rows, columns, -1), x.expand(rows, columns, -1)
    return torch.cat([y.sin(), y.cos(), x.sin(), x.cos()], dim=2).flatten(0, 1)[None].float()


def resample_positions(
    table: Float[Tensor, "1 T D"], grid: tuple[int, int], new_grid: tuple[int, int], is_antialiased: bool = True
) -> Float[Tensor, "1 new_T D"]:
    """Learned positions of `grid` (row-major), interpolated to `new_grid`: bicubic, the corners of the image fixed.

    With antialiasing torch also takes another cubic kernel, so that both ways differ in enlarging too.
    """
    if grid == new_grid:
        return table
    picture = table.unflatten(1, grid).permute(0, 3, 1, 2)  # 1 D rows columns
    resampled = F.interpolate(picture.float(), new_grid, mode="bicubic", align_corners=False, antialias=is_antialiased)
    return resampled.flatten(2).transpose(1, 2).to(table.dtype)


@dataclass(frozen=True)
class RotaryConfig:
    """Queries and keys turned by an angle that grows with the position (Su et al. 2021, arXiv 2104.09864)."""

    theta: float = 10_000.0
    """The slowest pair of numbers turns about once in 2 pi times so many positions."""
    fraction: float = 1.0
    """Share of each head's width that is turned; the rest stays as it is."""
    layout: Literal["halves", "pairs"] = "halves"
    """Which two numbers turn together: the same place of both halves, or neighbours."""
    axes: Literal["sequence", "grid"] = "sequence"
    """Positions are counted, or they are rows and columns of an image, from -1 to 1 (DINOv3: Simeoni et al. 2025,
    arXiv 2508.10104)."""


@dataclass(frozen=True)
class Rotation:
    """Angles of every token, ready to turn queries and keys."""

    cosine: Float[Tensor, "A 1 T R"]
    """A is the batch or 1; R is half of the turned width."""
    sine: Float[Tensor, "A 1 T R"]
    layout: Literal["halves", "pairs"]

    def turn(self, x: Float[Tensor, "B N T K"]) -> Float[Tensor, "B N T K"]:
        """The first 2 R numbers of each head turned, the others as they were."""
        num_turned = 2 * self.cosine.shape[-1]
        rest = x[..., num_turned:]
        x = x[..., :num_turned]
        cosine, sine = self.cosine.to(x.dtype), self.sine.to(x.dtype)
        if self.layout == "halves":
            a, b = x.chunk(2, dim=-1)
            turned = torch.cat([a * cosine - b * sine, b * cosine + a * sine], dim=-1)
        else:
            a, b = x[..., 0::2], x[..., 1::2]
            turned = torch.stack([a * cosine - b * sine, b * cosine + a * sine], dim=-1).flatten(-2)
        return torch.cat([turned, rest], dim=-1) if rest.shape[-1] else turned


def rotate_sequence(config: RotaryConfig, head_width: int, positions: Int[Tensor, "A T"]) -> Rotation:
    """Angles of counted positions."""
    num_turned = int(head_width * config.fraction)
    steps = torch.arange(0, num_turned, 2, device=positions.device).float() / num_turned
    angles = positions[:, None, :, None].float() * config.theta**-steps  # A 1 T R
    return Rotation(angles.cos(), angles.sin(), config.layout)


def rotate_grid(
    config: RotaryConfig, head_width: int, rows: int, columns: int, num_prefix: int, device: torch.device
) -> Rotation:
    """Angles of the centres of an image's patches, row-major, after `num_prefix` tokens that are not turned.

    Half of the angles belong to the row, half to the column; both run from -1 to 1 over the image.
    """
    assert head_width % 4 == 0, f"rows and columns share a head's width, so that 4 must divide it, not {head_width}"
    rates = config.theta ** -(torch.arange(head_width // 4, device=device).float() / (head_width // 4))
    y = (torch.arange(rows, device=device) + 0.5) / rows * 2 - 1
    x = (torch.arange(columns, device=device) + 0.5) / columns * 2 - 1
    places = torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1).flatten(0, 1)  # T 2
    angles = 2 * math.pi * (places[:, :, None] * rates).flatten(1)  # T R
    angles = F.pad(angles, (0, 0, num_prefix, 0))[None, None]
    return Rotation(angles.cos(), angles.sin(), config.layout)


def alibi_slopes(num_heads: int) -> Float[Tensor, " N"]:
    """How much each head minds distance (Press et al. 2021, arXiv 2108.12409).

    2^(-8/n), its square, ... for n heads; where n is no power of two, the powers for the next lower one and then every
    second power for the next higher one.
    """
    lower = 2 ** math.floor(math.log2(num_heads))
    slopes = [2 ** (-8 * (index + 1) / lower) for index in range(lower)]
    slopes += [2 ** (-4 * (2 * index + 1) / lower) for index in range(num_heads - lower)]
    return torch.tensor(slopes)


def alibi_bias(num_heads: int, queries: Int[Tensor, "A T"], keys: Int[Tensor, "A S"]) -> Float[Tensor, "A N T S"]:
    """What is taken off each score for the distance of query and key."""
    distance = (queries[:, :, None] - keys[:, None, :]).abs().float()  # A T S
    return -alibi_slopes(num_heads).to(distance.device)[:, None, None] * distance[:, None]


@dataclass(frozen=True)
class BucketConfig:
    """T5's learned penalties (Raffel et al. 2019, arXiv 1910.10683): one number a head for each bucket of distances."""

    num_buckets: int = 32
    max_distance: int = 128
    """All larger distances share the last bucket."""


class BucketBias(nn.Module):
    """The penalties; all layers share them."""

    def __init__(self, config: BucketConfig, num_heads: int, is_causal: bool) -> None:
        super().__init__()
        self.config = config
        self.is_causal = is_causal
        self.table = nn.Parameter(torch.zeros(config.num_buckets, num_heads))

    def forward(self, queries: Int[Tensor, "A T"], keys: Int[Tensor, "A S"]) -> Float[Tensor, "A N T S"]:
        buckets = self._bucket(keys[:, None, :] - queries[:, :, None])  # A T S
        return self.table[buckets].permute(0, 3, 1, 2)

    def _bucket(self, distance: Int[Tensor, "A T S"]) -> Int[Tensor, "A T S"]:
        """Small distances have a bucket each, larger ones share, in steps of a constant ratio."""
        num, offset = self.config.num_buckets, torch.zeros_like(distance)
        if self.is_causal:
            distance = (-distance).clamp_min(0)
        else:  # half of the buckets for what comes after the query
            num //= 2
            offset = (distance > 0).long() * num
            distance = distance.abs()
        num_exact = num // 2
        ratio = torch.log(distance.clamp_min(1).float() / num_exact) / math.log(self.config.max_distance / num_exact)
        shared = (num_exact + (ratio * (num - num_exact)).long()).clamp_max(num - 1)
        return offset + torch.where(distance < num_exact, distance, shared)
