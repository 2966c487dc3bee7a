"""`pixels.prepare` as tensor operations: preprocessing that an exported graph carries in itself.

Sizes may vary from call to call, so that everything is arithmetic on shapes, without a branch. As in Pillow, rows are
resampled first, then columns, with bytes in between; Pillow may average blocks of a large picture before that
(`reducing_gap`), so that a value may lie a grey level or two away.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.tokenizers.pixels import PixelConfig
from beholder.types import UserError

Side = int | torch.SymInt
"""A number of pixels, or a symbol that stands for it while a graph is written."""
_ANTIALIASED = ("bilinear", "bicubic")


class PixelsInGraph(nn.Module):
    """Pictures of one size as bytes, to what a network reads.

    Raises UserError for a configuration that graphs have no operations for.
    """

    def __init__(self, config: PixelConfig) -> None:
        super().__init__()
        self.config = config
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
        x = self._resample(self._resample(x, (x.shape[2], width)), (height, width))
        if self.config.crop is not None:
            high, wide = _pair(self.config.crop)
            x = _middle(_middle(x, 2, (height - high) // 2, high), 3, (width - wide) // 2, wide)
        return (x - self.mean) / self.std

    def _resample(self, x: Float[Tensor, "B 3 _ _"], size: tuple[Side, Side]) -> Float[Tensor, "B 3 _ _"]:
        x = F.interpolate(x, cast(Any, size), mode=self.config.resampling, antialias=True, align_corners=False)
        return x.round().clamp(0.0, 255.0) if self.config.is_rounded else x

    def _target(self, height: Side, width: Side) -> tuple[Side, Side]:
        """As `pixels.target`, without asking which side is the shorter: the quotient of the longer is at least one."""
        if self.config.fit == "stretch":
            return _pair(self.config.size)
        short = self.config.size
        assert isinstance(short, int)
        longest: Any = torch.sym_max
        return longest(short, short * height // width), longest(short, short * width // height)


def _middle(x: Float[Tensor, "B 3 _ _"], dim: int, begin: Side, length: int) -> Float[Tensor, "B 3 _ _"]:
    """By places, since a view of an unknown shape makes the exporter assume the example's."""
    return x.index_select(dim, torch.arange(length, device=x.device).add(begin))


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size
