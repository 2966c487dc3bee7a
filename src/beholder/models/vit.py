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

from beholder.trunk.attention import AttentionConfig
from beholder.trunk.embed import PatchEmbedding
from beholder.trunk.init import initialise
from beholder.trunk.norm import NormConfig, build_norm
from beholder.trunk.pool import AttentionPool
from beholder.trunk.position import resample_positions, sine_positions
from beholder.trunk.transformer import Transformer, TransformerConfig, image_rotation
from beholder.types import Outputs, Tokens


@dataclass(frozen=True)
class ViTConfig:
    """Shape of the network."""

    patch_size: int = 16
    """Side of a patch in pixels."""
    image_size: int = 224
    """Side in pixels for which learned positions are stored; any other size interpolates them."""
    has_class_token: bool = True
    num_registers: int = 0
    """Learned tokens beside the class token that belong to no place."""
    positions: Literal["learned", "sine", "none"] = "sine"
    """Where patches lie: a learned table, fixed 2-D sines, or not told (or told by the trunk's rotary positions)."""
    has_class_position: bool = False
    """Whether the learned table begins with a row for the class token."""
    has_patch_bias: bool = True
    embedding_norm: NormConfig | None = None
    """Of all tokens before the first block, as in CLIP."""
    pool: Literal["class", "mean", "attention"] = "class"
    """What the summary is: the class token, the mean of the patches, or what a learned query reads of them."""
    trunk: TransformerConfig = field(default_factory=TransformerConfig)


def _trunk(width: int, depth: int, num_heads: int) -> TransformerConfig:
    return TransformerConfig(width, depth, AttentionConfig(num_heads))


PRESETS = {
    "tiny": ViTConfig(trunk=_trunk(192, 12, 3)),
    "small": ViTConfig(trunk=_trunk(384, 12, 6)),
    "base": ViTConfig(trunk=_trunk(768, 12, 12)),
    "thumbnail": ViTConfig(patch_size=4, image_size=32, trunk=_trunk(192, 5, 3)),
    "domain": ViTConfig(patch_size=12, image_size=96, trunk=_trunk(192, 6, 3)),
    "debug": ViTConfig(patch_size=4, image_size=16, num_registers=1, trunk=_trunk(32, 3, 2)),
}


class ViT(nn.Module):
    """The backbone: `forward` gives maps of three depths at one stride, and the class token as the summary."""

    def __init__(self, config: ViTConfig = ViTConfig()) -> None:
        super().__init__()
        self.config = config
        width, side = config.trunk.width, config.image_size // config.patch_size
        assert config.has_class_token or config.pool != "class", "there is no class token to be the summary"
        self.embed = PatchEmbedding(config.patch_size, width, config.has_patch_bias)
        num_prefix, num_places = config.has_class_token + config.num_registers, side * side + config.has_class_position
        self.prefix = nn.Parameter(torch.empty(1, num_prefix, width)) if num_prefix else None  # the class token first
        self.positions = nn.Parameter(torch.empty(1, num_places, width)) if config.positions == "learned" else None
        self.norm = build_norm(config.embedding_norm, width) if config.embedding_norm else nn.Identity()
        self.trunk = Transformer(config.trunk)
        self.pool = AttentionPool(config.trunk) if config.pool == "attention" else None
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
        tokens = self.tokens(pixels)
        assert tokens.grid is not None
        num_prefix = tokens.num_prefix
        rotation = image_rotation(self.trunk, tokens.grid, num_prefix, pixels.device)
        depths = self.trunk(tokens.values, rotation=rotation, taps=self.map_depths)
        maps = tuple(depth[:, num_prefix:].transpose(1, 2).unflatten(2, tokens.grid) for depth in depths)  # B D h w
        return Outputs(maps=maps, summary=self._summary(depths[-1], num_prefix))

    def tokens(self, pixels: Float[Tensor, "B 3 H W"]) -> Tokens:
        """What the trunk reads: class token, registers, patches; with their positions."""
        tokens = self.embed(_whole_patches(pixels, self.config.patch_size))
        assert tokens.grid is not None
        x, places = tokens.values, self._positions(tokens.grid)
        first = None
        if places is not None:
            num_first = int(self.config.has_class_position and self.positions is not None)
            first, places = places[:, :num_first].to(x.device), places[:, num_first:].to(x.device)
            x = x + places  # B T D
        if self.prefix is None:
            return Tokens(self.norm(x), tokens.grid)
        prefix = self.prefix
        if first is not None and first.shape[1]:
            prefix = torch.cat([prefix[:, :1] + first, prefix[:, 1:]], dim=1)
        x = torch.cat([prefix.expand(len(x), -1, -1).to(x.dtype), x], dim=1)
        return Tokens(self.norm(x), tokens.grid, prefix.shape[1])

    def _summary(self, x: Float[Tensor, "B T D"], num_prefix: int) -> Float[Tensor, "B D"]:
        if self.pool is not None:
            return self.pool(x[:, num_prefix:])
        return x[:, 0] if self.config.pool == "class" else x[:, num_prefix:].mean(1)

    def _positions(self, grid: tuple[int, int]) -> Float[Tensor, "1 T D"] | None:
        """For every patch, after one for the class token where the table has it."""
        if self.config.positions == "none":
            return None
        if self.positions is None:
            return sine_positions(*grid, self.config.trunk.width)
        side, num_first = self.config.image_size // self.config.patch_size, int(self.config.has_class_position)
        places = resample_positions(self.positions[:, num_first:], (side, side), grid)
        return torch.cat([self.positions[:, :num_first], places], dim=1)


def _whole_patches(pixels: Float[Tensor, "B 3 H W"], patch_size: int) -> Float[Tensor, "B 3 h w"]:
    height, width = (max(1, round(side / patch_size)) * patch_size for side in pixels.shape[2:])
    if (height, width) == tuple(pixels.shape[2:]):
        return pixels
    return F.interpolate(pixels, (height, width), mode="bilinear", antialias=True)
