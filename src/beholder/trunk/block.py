"""One pre-norm block: attention and feed-forward, each normalised before and added to what came in."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from beholder.trunk.attention import SelfAttention
from beholder.trunk.mlp import MLP


class Branch(nn.Module):
    """A residual branch: norm, body, optional layer scale, optional drop path; returns input plus branch.

    Layer scale: Touvron et al. 2021, arXiv 2103.17239. Drop path (stochastic depth): Huang et al. 2016,
    arXiv 1603.09382.
    """

    def __init__(
        self, body: nn.Module, width: int, norm_eps: float, layer_scale: float | None, drop_path: float
    ) -> None:
        super().__init__()
        assert 0.0 <= drop_path < 1.0, drop_path
        self.norm = nn.LayerNorm(width, eps=norm_eps)
        self.body = body
        self.scale = None if layer_scale is None else nn.Parameter(torch.full((width,), layer_scale))
        self.drop_path = drop_path

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        y = self.body(self.norm(x))
        if self.scale is not None:
            y = y * self.scale
        if self.training and self.drop_path > 0.0:
            kept = torch.rand(len(x), 1, 1, device=x.device) >= self.drop_path
            y = y * kept / (1.0 - self.drop_path)  # whole examples skip the branch; the expectation stays
        return x + y


class Block(nn.Module):
    """Attention, then feed-forward."""

    def __init__(
        self,
        attention: SelfAttention,
        mlp: MLP,
        width: int,
        norm_eps: float,
        layer_scale: float | None,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.attention = Branch(attention, width, norm_eps, layer_scale, drop_path)
        self.mlp = Branch(mlp, width, norm_eps, layer_scale, drop_path)

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        return self.mlp(self.attention(x))
