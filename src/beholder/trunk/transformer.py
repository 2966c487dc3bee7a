"""A stack of blocks, chosen by configuration."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from beholder.trunk.attention import SelfAttention
from beholder.trunk.block import Block
from beholder.trunk.mlp import MLP


@dataclass(frozen=True)
class TransformerConfig:
    """Shape of the stack."""

    width: int = 192
    """Numbers per token; a multiple of `num_heads`."""
    depth: int = 12
    """Blocks."""
    num_heads: int = 3
    mlp_ratio: float = 4.0
    """Inner width of the feed-forward network, in units of `width`."""
    norm_eps: float = 1e-6
    has_qkv_bias: bool = True
    layer_scale: float | None = None
    """First value of the learned scale on each branch; None builds none."""
    drop_path: float = 0.0
    """Share of branches that an example skips in training, in the last block; the first skips none, linear between."""


class Transformer(nn.Module):
    """Bidirectional pre-norm trunk; the norm after the last block belongs to it."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList(_block(config, index) for index in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)

    def forward(self, x: Float[Tensor, "B T D"], taps: tuple[int, ...] = ()) -> tuple[Float[Tensor, "B T D"], ...]:
        """The tokens after each block in `taps` (ascending, counted from 1) and after the last, all normalised.

        Earlier depths pass through the last norm too, so that all are of one scale, as DINOv2 reads its layers
        (Oquab et al. 2023, arXiv 2304.07193).
        """
        seen = []
        for number, block in enumerate(self.blocks, start=1):
            x = block(x)
            if number in taps and number < len(self.blocks):
                seen.append(self.norm(x))
        return (*seen, self.norm(x))


def _block(config: TransformerConfig, index: int) -> Block:
    return Block(
        SelfAttention(config.width, config.num_heads, config.has_qkv_bias),
        MLP(config.width, round(config.width * config.mlp_ratio)),
        config.width,
        config.norm_eps,
        config.layer_scale,
        drop_path=config.drop_path * index / max(config.depth - 1, 1),
    )
