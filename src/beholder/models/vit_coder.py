"""Transformer encoder and decoder of an image codec (ViT-VQGAN: Yu et al. 2021, arXiv 2110.04627): the trunk reads
patches, and paints patches."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from beholder.trunk.attention import AttentionConfig
from beholder.trunk.embed import PatchEmbedding
from beholder.trunk.init import initialise
from beholder.trunk.position import sine_positions
from beholder.trunk.transformer import Transformer, TransformerConfig


@dataclass(frozen=True)
class ViTCoderConfig:
    """Shape of both halves."""

    patch_size: int = 8
    width: int = 192
    depth: int = 4
    """Blocks of each half."""
    num_heads: int = 3

    @property
    def trunk(self) -> TransformerConfig:
        return TransformerConfig(self.width, self.depth, AttentionConfig(self.num_heads))


class ViTEncoder(nn.Module):
    """Pixels to points, one a patch."""

    def __init__(self, config: ViTCoderConfig, code_width: int) -> None:
        super().__init__()
        self.embed = PatchEmbedding(config.patch_size, config.width, True)
        self.trunk = Transformer(config.trunk)
        self.last = nn.Linear(config.width, code_width)
        initialise(self)

    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D h w"]:
        tokens = self.embed(pixels)
        assert tokens.grid is not None
        x = self.trunk(_placed(tokens.values, tokens.grid))[-1]
        return self.last(x).transpose(1, 2).unflatten(2, tokens.grid)


class ViTDecoder(nn.Module):
    """Points to pixels, a patch each."""

    def __init__(self, config: ViTCoderConfig, code_width: int) -> None:
        super().__init__()
        self.first = nn.Linear(code_width, config.width)
        self.trunk = Transformer(config.trunk)
        self.last = nn.Linear(config.width, 3 * config.patch_size**2)
        self.part = nn.PixelShuffle(config.patch_size)
        initialise(self)

    def forward(self, points: Float[Tensor, "B D h w"]) -> Float[Tensor, "B 3 H W"]:
        grid = points.shape[2], points.shape[3]
        x = self.first(points.flatten(2).transpose(1, 2))
        x = self.trunk(_placed(x, grid))[-1]
        return self.part(self.last(x).transpose(1, 2).unflatten(2, grid))


def _placed(x: Float[Tensor, "B T D"], grid: tuple[int, int]) -> Float[Tensor, "B T D"]:
    return x + sine_positions(*grid, x.shape[2]).to(x)
