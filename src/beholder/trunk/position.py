"""Where a token lies on the image grid: tables of position vectors, made or learned, for any grid."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
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
    table: Float[Tensor, "1 T D"], grid: tuple[int, int], new_grid: tuple[int, int]
) -> Float[Tensor, "1 new_T D"]:
    """Learned positions of `grid` (row-major), interpolated to `new_grid`: bicubic, the corners of the image fixed."""
    if grid == new_grid:
        return table
    picture = table.unflatten(1, grid).permute(0, 3, 1, 2)  # 1 D rows columns
    resampled = F.interpolate(picture.float(), new_grid, mode="bicubic", align_corners=False, antialias=True)
    return resampled.flatten(2).transpose(1, 2).to(table.dtype)
