"""One block: attention, where there is a source cross-attention, and feed-forward; each added to what came in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from beholder.trunk.attention import CrossAttention, SelfAttention
from beholder.trunk.cache import Cache
from beholder.trunk.experts import Experts
from beholder.trunk.mask import EVERYTHING, Mask
from beholder.trunk.norm import NormConfig, build_norm
from beholder.trunk.position import Rotation


@dataclass(frozen=True)
class Context:
    """What all blocks of one pass share."""

    mask: Mask = EVERYTHING
    bias: Float[Tensor, "A N T S"] | None = None
    rotation: Rotation | None = None
    cache: Cache | None = None
    source: Float[Tensor, "B length C"] | None = None
    source_mask: Mask = EVERYTHING
    routes: list[Float[Tensor, "B T E"]] | None = None
    """Where there is a list, experts put into it what their router says of each token, before the softmax."""


class Branch(nn.Module):
    """A residual branch: body, norm before it or after the sum, optional layer scale, optional drop path.

    Layer scale: Touvron et al. 2021, arXiv 2103.17239. Drop path (stochastic depth): Huang et al. 2016,
    arXiv 1603.09382.
    """

    def __init__(
        self,
        body: nn.Module,
        width: int,
        norm: NormConfig,
        norm_at: Literal["pre", "post"] = "pre",
        layer_scale: float | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        assert 0.0 <= drop_path < 1.0, drop_path
        self.norm = build_norm(norm, width)
        self.body = body
        self.scale = None if layer_scale is None else nn.Parameter(torch.full((width,), layer_scale))
        self.norm_at = norm_at
        self.drop_path = drop_path

    def forward(self, x: Float[Tensor, "B T D"], *told: Any) -> Float[Tensor, "B T D"]:
        """`told` goes to the body."""
        if self.norm_at == "post":
            return self.norm(x + self._change(x, *told))
        return x + self._change(self.norm(x), *told)

    def change(self, x: Float[Tensor, "B T D"], *told: Any) -> Float[Tensor, "B T D"]:
        """What a branch with its norm before would add."""
        return self._change(self.norm(x), *told)

    def _change(self, x: Float[Tensor, "B T D"], *told: Any) -> Float[Tensor, "B T D"]:
        y = self.body(x, *told)
        if self.scale is not None:
            y = y * self.scale
        if self.training and self.drop_path > 0.0:
            kept = torch.rand(len(x), 1, 1, device=x.device) >= self.drop_path
            y = y * kept / (1.0 - self.drop_path)  # whole examples skip the branch; the expectation stays
        return y


class Block(nn.Module):
    """Attention, then cross-attention where there is one, then feed-forward; or the first and last side by side."""

    def __init__(self, attention: Branch, cross: Branch | None, mlp: Branch, is_parallel: bool = False) -> None:
        super().__init__()
        assert isinstance(attention.body, SelfAttention)
        assert cross is None or (isinstance(cross.body, CrossAttention) and not is_parallel)
        self.attention = attention
        self.cross = cross
        self.mlp = mlp
        self.is_parallel = is_parallel

    def forward(self, x: Float[Tensor, "B T D"], context: Context = Context()) -> Float[Tensor, "B T D"]:
        own = (context.mask, context.bias, context.rotation, context.cache)
        routes = (context.routes,) if isinstance(self.mlp.body, Experts) else ()
        if self.is_parallel:
            return x + self.attention.change(x, *own) + self.mlp.change(x, *routes)
        x = self.attention(x, *own)
        if self.cross is not None:
            x = self.cross(x, context.source, context.source_mask, context.cache)
        return self.mlp(x, *routes)
