"""Attention that leaves out whole blocks of what a mask hides (FlexAttention: Dong et al. 2024, arXiv 2412.05496)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from beholder.trunk.mask import Mask

_SIZE = 128
"""Queries and keys of a block."""


def with_blocks(mask: Mask, x: Float[Tensor, "B T D"]) -> Mask:
    """The mask of one pass, its blocks of 128 x 128 told apart for all layers: all hidden, all allowed, or neither.

    Unchanged where blocks save nothing, since nothing or no more than the future is hidden, and where they cannot be
    used: on a CPU there is no backward pass through them.
    """
    if mask.allowed is None or (x.device.type == "cpu" and torch.is_grad_enabled()):
        return mask
    num_queries, num_keys = mask.allowed.shape[2:]
    padded = F.pad(mask.allowed, (0, -num_keys % _SIZE, 0, -num_queries % _SIZE))
    tiles = padded.unflatten(3, (-1, _SIZE)).unflatten(2, (-1, _SIZE))  # A 1 rows 128 columns 128
    is_full, is_empty = tiles.all(5).all(3), ~tiles.any(5).any(3)  # A 1 rows columns
    allowed = mask.allowed.expand(len(x), -1, -1, -1)  # B 1 T S
    blocks = BlockMask.from_kv_blocks(
        *_listed(~is_full & ~is_empty),
        *_listed(is_full),
        BLOCK_SIZE=_SIZE,
        mask_mod=lambda row, head, query, key: allowed[row, 0, query, key],  # bare: the library looks at its arguments
        seq_lengths=(num_queries, num_keys),
    )
    return replace(mask, blocks=blocks)


def _listed(is_in: Bool[Tensor, "A 1 rows columns"]) -> tuple[Tensor, Tensor]:
    """How many blocks of each row, and their columns, in front of all others."""
    columns = is_in.int().argsort(dim=-1, descending=True, stable=True)
    return is_in.sum(-1, dtype=torch.int32), columns.int()


def attend_by_blocks(
    q: Float[Tensor, "B N T K"],
    k: Float[Tensor, "B N S K"],
    v: Float[Tensor, "B N S K"],
    blocks: BlockMask,
    bias: Float[Tensor, "A N T S"] | None,
    scale: float | None,
) -> Float[Tensor, "B N T K"]:
    """What `attend` gives. The first call compiles, which takes seconds."""
    if bias is None:
        return compiled()(q, k, v, block_mask=blocks, scale=scale)
    told = bias.to(q.dtype).expand(len(q), -1, -1, -1)
    return compiled()(
        q,
        k,
        v,
        score_mod=lambda score, row, head, query, key: score + told[row, head, query, key],
        block_mask=blocks,
        scale=scale,
    )


@cache
def compiled() -> Callable[..., Any]:
    """Without compilation it would hold all scores at once, and be slower than any other way."""
    return torch.compile(flex_attention)
