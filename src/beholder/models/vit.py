"""Vision transformer (Dosovitskiy et al. 2020, arXiv 2010.11929): the trunk reads patches of one image.

Registers: Darcet et al. 2023, arXiv 2309.16588.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.trunk.embed import PatchEmbedding
from beholder.trunk.init import initialise
from beholder.trunk.position import resample_positions, sine_positions
from beholder.trunk.transformer import Transformer, TransformerConfig
from beholder.types import Outputs


@dataclass(frozen=True)
class ViTConfig:
    """Shape of the network."""

    patch_size: int = 16
    """Side of a patch in pixels."""
    image_size: int = 224
    """Side in pixels for which learned positions are stored; any other size interpolates them."""
    num_registers: int = 0
    """Learned tokens beside the class token that belong to no place."""
    positions: Literal["learned", "sine", "none"] = "sine"
    """Where patches lie: a learned table, fixed 2-D sines, or not told."""
    trunk: TransformerConfig = field(default_factory=TransformerConfig)


PRESETS = {
    "tiny": ViTConfig(),
    "small": ViTConfig(trunk=TransformerConfig(width=384, num_heads=6)),
    "base": ViTConfig(trunk=TransformerConfig(width=768, num_heads=12)),
    "thumbnail": ViTConfig(patch_size=4, image_size=32, trunk=TransformerConfig(width=192, depth=5, num_heads=3)),
    "domain": ViTConfig(patch_size=12, image_size=96, trunk=TransformerConfig(width=192, depth=6, num_heads=3)),
    "debug": ViTConfig(
        patch_size=4, image_size=16, num_registers=1, trunk=TransformerConfig(width=32, depth=3, num_heads=2)
    ),
}


class ViT(nn.Module):
    """The backbone: `forward` gives maps of three depths at one stride, and the class token as the summary."""

    def __init__(self, config: ViTConfig = ViTConfig()) -> None:
        super().__init__()
        self.config = config
        width, side = config.trunk.width, config.image_size // config.patch_size
        self.embed = PatchEmbedding(config.patch_size, width)
        self.prefix = nn.Parameter(torch.empty(1, 1 + config.num_registers, width))  # the class token stands first
        self.positions = nn.Parameter(torch.empty(1, side * side, width)) if config.positions == "learned" else None
        self.trunk = Transformer(config.trunk)
        initialise(self)
        for table in (self.prefix, self.positions):
            if table is not None:
                nn.init.trunc_normal_(table, std=0.02)

    @property
    def map_depths(self) -> tuple[int, ...]:
        """Blocks, counted from 1, after which a map is read: a third, two thirds and all of the depth."""
        depth = self.config.trunk.depth
        return tuple(sorted({max(1, round(depth * third / 3)) for third in (1, 2, 3)}))

    @property
    def map_strides(self) -> tuple[int, ...]:
        return (self.config.patch_size,) * len(self.map_depths)

    @property
    def map_widths(self) -> tuple[int, ...]:
        return (self.config.trunk.width,) * len(self.map_depths)

    @property
    def summary_width(self) -> int:
        return self.config.trunk.width

    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> Outputs:
        """Pixels whose sides are no multiples of the patch size are resampled to the nearest multiples."""
        tokens = self.embed(_whole_patches(pixels, self.config.patch_size))
        assert tokens.grid is not None
        x = tokens.values
        positions = self._positions(tokens.grid)
        if positions is not None:
            x = x + positions.to(x.device)  # B T D
        x = torch.cat([self.prefix.expand(len(x), -1, -1).to(x.dtype), x], dim=1)
        depths = self.trunk(x, taps=self.map_depths)
        num_prefix = self.prefix.shape[1]
        maps = tuple(depth[:, num_prefix:].transpose(1, 2).unflatten(2, tokens.grid) for depth in depths)  # B D h w
        return Outputs(maps=maps, summary=depths[-1][:, 0])

    def _positions(self, grid: tuple[int, int]) -> Float[Tensor, "1 T D"] | None:
        if self.config.positions == "none":
            return None
        if self.positions is None:
            return sine_positions(*grid, self.config.trunk.width)
        side = self.config.image_size // self.config.patch_size
        return resample_positions(self.positions, (side, side), grid)


def _whole_patches(pixels: Float[Tensor, "B 3 H W"], patch_size: int) -> Float[Tensor, "B 3 h w"]:
    height, width = (max(1, round(side / patch_size)) * patch_size for side in pixels.shape[2:])
    if (height, width) == tuple(pixels.shape[2:]):
        return pixels
    return F.interpolate(pixels, (height, width), mode="bilinear", antialias=True)
