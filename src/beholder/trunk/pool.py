"""One summary of many tokens, read by a learned query (SigLIP: Zhai et al. 2023, arXiv 2303.15343)."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from beholder.trunk.attention import AttentionConfig, CrossAttention
from beholder.trunk.mlp import MLP
from beholder.trunk.norm import build_norm
from beholder.trunk.transformer import TransformerConfig


class AttentionPool(nn.Module):
    """A query reads all tokens; a feed-forward branch follows."""

    def __init__(self, trunk: TransformerConfig) -> None:
        super().__init__()
        config = replace(AttentionConfig(), num_heads=trunk.attention.num_heads)
        self.query = nn.Parameter(torch.randn(1, 1, trunk.width) * 0.02)
        self.attention = CrossAttention(config, trunk.width, trunk.width)
        self.norm = build_norm(trunk.norm, trunk.width)
        self.mlp = MLP(trunk.mlp, trunk.width)

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B D"]:
        x = self.attention(self.query.expand(x.shape[0], -1, -1), x)
        return (x + self.mlp(self.norm(x)))[:, 0]
