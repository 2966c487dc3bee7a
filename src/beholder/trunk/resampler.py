"""Many visual tokens to a few (the perceiver resampler of Flamingo: Alayrac et al. 2022, arXiv 2204.14198)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from beholder.trunk.attention import AttentionConfig, CrossAttention
from beholder.trunk.mlp import MLP, MLPConfig
from beholder.trunk.norm import NormConfig, build_norm


@dataclass(frozen=True)
class ResamplerConfig:
    """Shape of the resampler; the defaults are Flamingo's."""

    num_queries: int = 64
    """Tokens that each image becomes."""
    depth: int = 6
    attention: AttentionConfig = field(default_factory=lambda: AttentionConfig(16, head_width=96, biases=()))
    mlp: MLPConfig = field(default_factory=lambda: MLPConfig(activation="relu", has_bias=False))
    norm: NormConfig = field(default_factory=lambda: NormConfig(eps=1e-5))


class Resampler(nn.Module):
    """Learned queries read the image's tokens and themselves, block after block."""

    def __init__(self, config: ResamplerConfig, width: int) -> None:
        super().__init__()
        self.config = config
        self.queries = nn.Parameter(torch.randn(config.num_queries, width) * 0.02)
        self.blocks = nn.ModuleList(ResamplerBlock(config, width) for _ in range(config.depth))
        self.norm = build_norm(config.norm, width)

    def forward(self, source: Float[Tensor, "B S D"]) -> Float[Tensor, "B Q D"]:
        x = self.queries.expand(len(source), -1, -1)
        for block in self.blocks:
            x = block(x, source)
        return self.norm(x)


class ResamplerBlock(nn.Module):
    """Queries attend to the source and to themselves in one softmax; a feed-forward branch follows."""

    def __init__(self, config: ResamplerConfig, width: int) -> None:
        super().__init__()
        self.source_norm = build_norm(config.norm, width)
        self.norm = build_norm(config.norm, width)
        self.attention = CrossAttention(config.attention, width, width)
        self.mlp_norm = build_norm(config.norm, width)
        self.mlp = MLP(config.mlp, width)

    def forward(self, x: Float[Tensor, "B Q D"], source: Float[Tensor, "B S D"]) -> Float[Tensor, "B Q D"]:
        queries = self.norm(x)
        x = x + self.attention(queries, torch.cat([self.source_norm(source), queries], dim=1))
        return x + self.mlp(self.mlp_norm(x))
