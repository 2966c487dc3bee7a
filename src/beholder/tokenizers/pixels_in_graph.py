"""`pixels.prepare` as tensor operations: preprocessing that an exported graph carries in itself.

Sizes may vary from call to call, so that everything is arithmetic on shapes, without a branch. As in Pillow, rows are
resampled first, then columns, with bytes in between; Pillow may average blocks of a large picture before that
(`reducing_gap`), so that a value may lie a grey level or two away.
"""

from __future__ import annotations

from typing import Any, cast, get_args

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.tokenizers.pixels import PixelConfig
from beholder.tokenizers.resampling_matrix import Resampling, resampling_matrix
from beholder.types import UserError

Side = int | torch.SymInt
"""A number of pixels, or a symbol that stands for it while a graph is written."""
_ANTIALIASED = get_args(Resampling)


class PixelsInGraph(nn.Module):
    """Pictures of one size as bytes, to what a network reads. `by_products` resamples with products of matrices alone.

    Raises UserError for a configuration that graphs have no operations for.
    """

    def __init__(self, config: PixelConfig, by_products: bool = False) -> None:
        super().__init__()
        self.config, self.by_products = config, by_products
        if config.fit != "none" and config.resampling not in _ANTIALIASED:
            raise UserError(
                f"This model resamples pictures with {config.resampling!r}, which exported graphs do not know (they "
                f"know {' and '.join(_ANTIALIASED)}); it cannot be exported with its preprocessing."
            )
        crop, size = _pair(config.crop or 1), _pair(config.size)
        if config.fit == "none" or any(cut > side for cut, side in zip(crop, size, strict=True)):
            raise UserError(
                f"This model's pictures are brought to shape by fit={config.fit!r}, size={config.size}, "
                f"crop={config.crop}, which may leave a rim; an exported graph needs one size that is cut from within."
            )
        self.register_buffer("mean", torch.tensor(config.mean).view(1, 3, 1, 1) * config.divisor, persistent=False)
        self.register_buffer("std", torch.tensor(config.std).view(1, 3, 1, 1) * config.divisor, persistent=False)
        self.mean: Tensor
        self.std: Tensor

    def forward(self, pictures: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B 3 _ _"]:
        x = pictures.permute(0, 3, 1, 2).float().contiguous()
        height, width = self._target(x.shape[2], x.shape[3])
        crop = (None, None) if self.config.crop is None else _pair(self.config.crop)
        for dim, length, kept in ((3, width, crop[1]), (2, height, crop[0])):
            x = self._resample(x, dim, length, kept)
            x = x.round().clamp(0.0, 255.0) if self.config.is_rounded else x
        return (x - self.mean) / self.std

    def _resample(
        self, x: Float[Tensor, "B 3 _ _"], dim: int, length: Side, kept: int | None
    ) -> Float[Tensor, "B 3 _ _"]:
        """To `length`, of which the middle is kept."""
        how, begin = cast(Resampling, self.config.resampling), 0 if kept is None else (length - kept) // 2
        if self.by_products:
            matrix = resampling_matrix(x.shape[dim], length, how, begin, length if kept is None else kept)
            return matrix @ x if dim == 2 else x @ matrix.T
        size: Any = (length, x.shape[3]) if dim == 2 else (x.shape[2], length)
        x = F.interpolate(x, size, mode=how, antialias=True, align_corners=False)
        return x if kept is None else _part(x, dim, begin, kept)

    def _target(self, height: Any, width: Any) -> tuple[Any, Any]:
        """As `pixels.target`, in sums, products and quotients, which is all that every runtime knows of sizes."""
        if self.config.fit == "stretch":
            return _pair(self.config.size)
        short = self.config.size
        assert isinstance(short, int)
        is_high, is_wide = 2 * height // (height + width), 2 * width // (height + width)  # 1 or 0; both of a square
        return short + is_high * (short * height // width - short), short + is_wide * (short * width // height - short)


def _part(x: Float[Tensor, "B 3 _ _"], dim: int, begin: Side, length: int) -> Float[Tensor, "B 3 _ _"]:
    """By places, since a view of an unknown shape makes the exporter assume the example's."""
    return x.index_select(dim, torch.arange(length, device=x.device).add(begin))


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size
