"""A stack of blocks, chosen by configuration: the one transformer that every family is a case of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from beholder.trunk.attention import AttentionConfig, CrossAttention, SelfAttention
from beholder.trunk.block import Block, Branch, Context
from beholder.trunk.cache import Cache
from beholder.trunk.experts import Experts, ExpertsConfig
from beholder.trunk.flex import with_blocks
from beholder.trunk.gated import GatedBlock, GatedConfig
from beholder.trunk.mask import MaskConfig, build_mask, padding_mask
from beholder.trunk.mlp import MLP, MLPConfig
from beholder.trunk.norm import NormConfig, build_norm
from beholder.trunk.position import (
    BucketBias,
    BucketConfig,
    RotaryConfig,
    Rotation,
    alibi_bias,
    rotate_grid,
    rotate_sequence,
)


@dataclass(frozen=True)
class TransformerConfig:
    """Every switch of the trunk; the defaults are a small vision transformer's."""

    width: int = 192
    """Numbers per token."""
    depth: int = 12
    """Blocks."""
    attention: AttentionConfig = field(default_factory=AttentionConfig)
    mlp: MLPConfig = field(default_factory=MLPConfig)
    norm: NormConfig = field(default_factory=NormConfig)
    norm_at: Literal["pre", "post", "parallel"] = "pre"
    """Before each branch; after each sum; or before both branches, which then see the same input."""
    has_final_norm: bool = True
    mask: MaskConfig = field(default_factory=MaskConfig)
    rotary: RotaryConfig | None = None
    distance: Literal["alibi"] | BucketConfig | None = None
    """What scores lose with distance: a fixed slope a head (ALiBi), or learned buckets (T5)."""
    source_width: int | None = None
    """Width of a source that every block reads after itself (an encoder's tokens); None: there is none."""
    gated: GatedConfig | None = None
    """Blocks before the trunk's own that look at a source through a gate (Flamingo)."""
    experts: ExpertsConfig | None = None
    """Many feed-forward networks in the place of each one."""
    layer_scale: float | None = None
    """First value of the learned scale on each branch; None builds none."""
    drop_path: float = 0.0
    """Share of branches that an example skips in training, in the last block; the first skips none, linear between."""


class Transformer(nn.Module):
    """The trunk; the norm after the last block belongs to it."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList(_block(config, index) for index in range(config.depth))
        self.looks = nn.ModuleList(_looks(config))
        heads, is_causal = config.attention.num_heads, config.mask.is_causal
        is_learned = isinstance(config.distance, BucketConfig)
        self.distance = BucketBias(config.distance, heads, is_causal) if is_learned else None  # type: ignore[arg-type]
        self.norm = build_norm(config.norm, config.width) if config.has_final_norm else nn.Identity()
        self.num_recomputed = 0
        """Leading blocks whose activations are made again in the backward pass (Chen et al. 2016, arXiv 1604.06174)."""

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        *,
        positions: Int[Tensor, "A T"] | None = None,
        is_real: Bool[Tensor, "B held"] | None = None,
        rows: Int[Tensor, "B T"] | None = None,
        num_prefix: Int[Tensor, " B"] | None = None,
        rotation: Rotation | None = None,
        source: Float[Tensor, "B S C"] | None = None,
        source_is_real: Bool[Tensor, "B S"] | None = None,
        looks_at: Bool[Tensor, "B T S"] | None = None,
        cache: Cache | None = None,
        taps: Sequence[int] = (),
        routes: list[Float[Tensor, "B T E"]] | None = None,
    ) -> tuple[Float[Tensor, "B T D"], ...]:
        """The tokens after each block in `taps` (ascending, counted from 1) and after the last, all normalised.

        Earlier depths pass through the last norm too, so that all are of one scale, as DINOv2 reads its layers
        (Oquab et al. 2023, arXiv 2304.07193).

        `positions` are counted from 0 where not given, on from what the cache holds. `is_real` is False for padding,
        of all keys: with a cache, of those that it holds too. `rows` are the numbers of packed examples; each begins
        anew at 0 and is read by itself. `num_prefix` first tokens are read by all. `rotation` is for an image grid.
        `source` is what cross-attention reads: all that is real of it, of which `looks_at` may allow each token a part.
        `routes` is a list to which each block's experts add what their router says, for `balance_loss`.
        """
        context = self._context(x, positions, is_real, rows, num_prefix, rotation, cache)
        if source is not None:
            mask = padding_mask(source_is_real)
            if looks_at is not None:
                allowed = looks_at[:, None]  # B 1 T S
                mask = replace(mask, allowed=allowed if mask.allowed is None else allowed & mask.allowed)
            context = replace(context, source=source, source_mask=mask)
        seen = []
        for number, block in enumerate(self.blocks, start=1):
            if self.looks and (number - 1) % self._every == 0:
                x = self.looks[(number - 1) // self._every](x, context)
            is_recomputed = number <= self.num_recomputed and torch.is_grad_enabled()
            told = context if routes is None else replace(context, routes=[])  # its own: what is recomputed comes again
            x = checkpoint(block, x, told, use_reentrant=False) if is_recomputed else block(x, told)
            if routes is not None:
                routes += told.routes or []
            if number in taps and number < len(self.blocks):
                seen.append(self.norm(x))
        if cache is not None:
            cache.length += x.shape[1]
        return (*seen, self.norm(x))

    @property
    def _every(self) -> int:
        assert self.config.gated is not None
        return self.config.gated.every

    def _context(
        self,
        x: Tensor,
        positions: Tensor | None,
        is_real: Tensor | None,
        rows: Tensor | None,
        num_prefix: Tensor | None,
        rotation: Rotation | None,
        cache: Cache | None,
    ) -> Context:
        """Masks look at places in the sequence, rotations and biases at positions, which padding and packing shift."""
        config, held = self.config, cache.length if cache else 0
        assert cache is None or rows is None, "packed rows are read at once"
        keys = cache.places(x) if cache else torch.arange(x.shape[1], device=x.device)[None]
        queries = keys[:, held:]
        packed = None if rows is None else (rows, rows)
        mask = build_mask(config.mask, queries, keys, is_real=is_real, rows=packed, num_prefix=num_prefix)
        if config.attention.kernel == "flex" and cache is None:
            mask = with_blocks(mask, x)
        if positions is None:
            positions = queries if rows is None else places_in_rows(rows)
        if rotation is None and config.rotary is not None:
            assert config.rotary.axes == "sequence", "an image's trunk is told its grid by `rotation`"
            rotation = rotate_sequence(config.rotary, self.head_width, positions)
        bias = None
        if config.distance == "alibi":  # only differences count, and those of places are those of positions
            bias = alibi_bias(config.attention.num_heads, queries, keys)
        elif self.distance is not None:
            bias = self.distance(queries, keys)
        return Context(mask, bias, rotation, cache)

    @property
    def head_width(self) -> int:
        """Numbers of a query."""
        return self.config.attention.head_width or self.config.width // self.config.attention.num_heads


def image_rotation(trunk: Transformer, grid: tuple[int, int], num_prefix: int, device: torch.device) -> Rotation | None:
    """For a trunk whose rotary positions are rows and columns: the rotation of an image's tokens; else None."""
    rotary = trunk.config.rotary
    if rotary is None or rotary.axes != "grid":
        return None
    return rotate_grid(rotary, trunk.head_width, *grid, num_prefix, device)


def places_in_rows(rows: Int[Tensor, "B T"]) -> Int[Tensor, "B T"]:
    """Of packed examples side by side: each token's place in its own, from 0."""
    index = torch.arange(rows.shape[1], device=rows.device).expand_as(rows)
    begins = torch.ones_like(rows, dtype=torch.bool)
    begins[:, 1:] = rows[:, 1:] != rows[:, :-1]
    return index - torch.where(begins, index, 0).cummax(1).values


def _block(config: TransformerConfig, index: int) -> Block:
    drop_path = config.drop_path * index / max(config.depth - 1, 1)

    def branch(body: nn.Module) -> Branch:
        norm_at = "post" if config.norm_at == "post" else "pre"
        return Branch(body, config.width, config.norm, norm_at, config.layer_scale, drop_path)

    attention = SelfAttention(config.attention, config.width, index)
    cross = None
    if config.source_width is not None:
        cross = branch(CrossAttention(config.attention, config.width, config.source_width, index))
    mlp = Experts(config.experts, config.mlp, config.width) if config.experts else MLP(config.mlp, config.width)
    return Block(branch(attention), cross, branch(mlp), is_parallel=config.norm_at == "parallel")


def _looks(config: TransformerConfig) -> list[GatedBlock]:
    if config.gated is None:
        return []
    count = -(-config.depth // config.gated.every)
    return [GatedBlock(config.gated, config.norm, config.width, config.depth + index) for index in range(count)]
