"""Flamingo's way to let a finished language model look (Alayrac et al. 2022, arXiv 2204.14198): blocks of
cross-attention before its own, each behind a gate that is shut at first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from beholder.trunk.attention import AttentionConfig, CrossAttention
from beholder.trunk.block import Context
from beholder.trunk.mlp import MLP, MLPConfig
from beholder.trunk.norm import NormConfig, build_norm


@dataclass(frozen=True)
class GatedConfig:
    """Blocks that look at a source, one before every so many of the trunk's."""

    source_width: int = 768
    every: int = 1
    gate: Literal["scalar", "vector"] = "scalar"
    """One gate a block and branch, or one for each number of a token."""
    attention: AttentionConfig = field(default_factory=AttentionConfig)
    mlp: MLPConfig = field(default_factory=MLPConfig)


class GatedBlock(nn.Module):
    """x + tanh(g) attention(norm(x), source), then the same with a feed-forward; at g = 0 nothing changes."""

    def __init__(self, config: GatedConfig, norm: NormConfig, width: int, index: int) -> None:
        super().__init__()
        num_gates = 1 if config.gate == "scalar" else width
        self.norm = build_norm(norm, width)
        self.attention = CrossAttention(config.attention, width, config.source_width, index)
        self.attention_gate = nn.Parameter(torch.zeros(num_gates))
        self.mlp_norm = build_norm(norm, width)
        self.mlp = MLP(config.mlp, width)
        self.mlp_gate = nn.Parameter(torch.zeros(num_gates))

    def forward(self, x: Float[Tensor, "B T D"], context: Context) -> Float[Tensor, "B T D"]:
        """Tokens that may look at nothing pass the cross-attention by."""
        assert context.source is not None, "a gated block looks at a source"
        seen = self.attention(self.norm(x), context.source, context.source_mask, context.cache)
        x = x + self.attention_gate.tanh() * seen
        return x + self.mlp_gate.tanh() * self.mlp(self.mlp_norm(x))
