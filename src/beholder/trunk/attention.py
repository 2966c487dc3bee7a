"""Multi-head attention (Vaswani et al. 2017, arXiv 1706.03762): tokens read each other, or a source beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.trunk.cache import Cache
from beholder.trunk.flex import attend_by_blocks
from beholder.trunk.mask import EVERYTHING, Mask
from beholder.trunk.norm import NormConfig, build_norm
from beholder.trunk.position import Rotation

Part = Literal["query", "key", "value"]


@dataclass(frozen=True)
class AttentionConfig:
    """Shape of one attention."""

    num_heads: int = 3
    num_key_heads: int | None = None
    """Heads of keys and values, each shared by as many queries (Ainslie et al. 2023, arXiv 2305.13245); None: all."""
    head_width: int | None = None
    """None: the trunk's width divided among the heads."""
    biases: tuple[Literal["query", "key", "value", "out"], ...] = ("query", "key", "value", "out")
    """Projections that add a bias."""
    scale: float | None = None
    """Of the scores; None: one over the root of the head's width."""
    qk_norm: NormConfig | None = None
    """Of each head's query and key (Henry et al. 2020, arXiv 2010.04245)."""
    is_normed_after_turning: bool = False
    """Whether rotary positions come before that norm."""
    kernel: Literal["fused", "flex"] = "fused"
    """What computes it; outputs are the same. "flex" leaves out blocks of tokens that a window, a packed row or padding
    hides, and is compiled at the first call; a trunk is faster with it from about 2,000 tokens on. Where it cannot be
    used (training on a CPU, a cache) or would not help (nothing hidden, or only the future) the fused one stands in."""


class JointLinear(nn.Linear):
    """Several maps of one input in one matrix, one below the other: one large product is faster than three small."""

    def forward(self, input: Float[Tensor, "*B D"], bias: Tensor | None = None) -> Float[Tensor, "*B F"]:
        """The biases are told, because some of them may be absent."""
        return F.linear(input, self.weight, bias)


class _Projections(nn.Module):
    """What every attention holds: biases that may be absent one by one, norms of queries and keys, the way out."""

    def __init__(self, config: AttentionConfig, width: int, index: int) -> None:
        super().__init__()
        self.config = config
        self.index = index
        self.num_heads, self.num_key_heads = config.num_heads, config.num_key_heads or config.num_heads
        assert self.num_heads % self.num_key_heads == 0, f"{self.num_heads} heads share {self.num_key_heads} keys"
        assert config.head_width or width % self.num_heads == 0, f"width {width}, {self.num_heads} heads"
        self.head_width = config.head_width or width // self.num_heads
        inner, narrow = self.num_heads * self.head_width, self.num_key_heads * self.head_width
        self.sizes = (inner, narrow, narrow)
        for name, size in zip(("query", "key", "value"), self.sizes, strict=True):
            self.register_parameter(f"{name}_bias", nn.Parameter(torch.zeros(size)) if name in config.biases else None)
        self.query_norm = build_norm(config.qk_norm, self.head_width) if config.qk_norm else None
        self.key_norm = build_norm(config.qk_norm, self.head_width) if config.qk_norm else None
        self.out: nn.Linear
        self._joined: dict[tuple[str, ...], Tensor | None] = {}

    def join_biases(self) -> None:
        """For a copy that is not trained any more: biases are put side by side now, and not in each call."""
        self._joined.clear()
        joints: tuple[tuple[Part, ...], ...] = (("query",), ("key", "value"), ("query", "key", "value"))
        self._joined = {names: self.bias(*names) for names in joints}

    def way_out(self, width: int) -> nn.Linear:
        """Mixes what the heads saw."""
        return nn.Linear(self.sizes[0], width, bias="out" in self.config.biases)

    def bias(self, *names: Part) -> Tensor | None:
        """The named biases side by side, zeros where one is absent; None where all are."""
        if names in self._joined:
            return self._joined[names]
        found = [getattr(self, f"{name}_bias") for name in names]
        if all(one is None for one in found):
            return None
        sizes = {"query": self.sizes[0], "key": self.sizes[1], "value": self.sizes[2]}
        given = next(one for one in found if one is not None)
        return torch.cat([given.new_zeros(sizes[n]) if b is None else b for n, b in zip(names, found, strict=True)])

    def prepare(self, q: Tensor, k: Tensor, rotation: Rotation | None) -> tuple[Tensor, Tensor]:
        """Queries and keys (B N T K) turned and normalised, in the order that the configuration tells."""
        if rotation is not None and self.config.is_normed_after_turning:
            q, k = rotation.turn(q), rotation.turn(k)
        if self.query_norm is not None and self.key_norm is not None:
            q, k = self.query_norm(q), self.key_norm(k)
        if rotation is not None and not self.config.is_normed_after_turning:
            q, k = rotation.turn(q), rotation.turn(k)
        return q, k

    def leave(self, seen: Float[Tensor, "B N T K"]) -> Float[Tensor, "B T D"]:
        """Heads side by side, mixed by the way out."""
        return self.out(seen.transpose(1, 2).flatten(2))


class SelfAttention(_Projections):
    """Every token reads those that its mask allows; queries, keys and values come from one matrix, in this order."""

    def __init__(self, config: AttentionConfig, width: int, index: int = 0) -> None:
        super().__init__(config, width, index)
        self.qkv = JointLinear(width, sum(self.sizes), bias=False)
        self.out = self.way_out(width)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        mask: Mask = EVERYTHING,
        bias: Float[Tensor, "A N T S"] | None = None,
        rotation: Rotation | None = None,
        cache: Cache | None = None,
    ) -> Float[Tensor, "B T D"]:
        q, k, v = (part.unflatten(2, (-1, self.head_width)).transpose(1, 2) for part in self._read(x))
        q, k = self.prepare(q, k, rotation)  # B N T K
        if cache is not None:
            k, v = cache.extend(self.index, k, v)
        return self.leave(attend(q, k, v, mask, bias, self.config.scale))

    def _read(self, x: Tensor) -> Sequence[Tensor]:
        """Queries, keys and values in one product; in three for a program that others run, which know that form."""
        if not is_exporting():
            return self.qkv(x, self.bias("query", "key", "value")).split(self.sizes, dim=2)
        biases = [getattr(self, f"{name}_bias") for name in ("query", "key", "value")]
        parts = self.qkv.weight.split(self.sizes)
        return [F.linear(x, weight, one) for weight, one in zip(parts, biases, strict=True)]


class CrossAttention(_Projections):
    """Every token reads a source of `source_width`, such as an encoder's tokens."""

    def __init__(self, config: AttentionConfig, width: int, source_width: int, index: int = 0) -> None:
        super().__init__(config, width, index)
        self.query = nn.Linear(width, self.sizes[0], bias=False)
        self.key_value = JointLinear(source_width, 2 * self.sizes[1], bias=False)
        self.out = self.way_out(width)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        source: Float[Tensor, "B S C"],
        mask: Mask = EVERYTHING,
        cache: Cache | None = None,
    ) -> Float[Tensor, "B T D"]:
        """A token whose mask allows nothing of the source gets zeros."""
        q = F.linear(x, self.query.weight, self.bias("query")).unflatten(2, (-1, self.head_width)).transpose(1, 2)
        k, v = self._read(source, cache)
        q = self.query_norm(q) if self.query_norm is not None else q
        if mask.allowed is None:
            return self.leave(attend(q, k, v, mask, None, self.config.scale))
        sees = mask.allowed.any(3, keepdim=True)  # A 1 T 1; where nothing is seen, all is, and thrown away below
        out = self.leave(attend(q, k, v, Mask(mask.allowed | ~sees), None, self.config.scale))
        return out * sees[:, 0]

    def _read(self, source: Tensor, cache: Cache | None) -> tuple[Tensor, Tensor]:
        """Keys and values of the source, B N S K; made once where there is a cache."""
        if cache is not None and self.index in cache.sources:
            return cache.sources[self.index]
        joint = self.key_value(source, self.bias("key", "value"))
        k, v = (part.unflatten(2, (-1, self.head_width)).transpose(1, 2) for part in joint.chunk(2, dim=2))
        k = self.key_norm(k) if self.key_norm is not None else k
        if cache is not None:
            cache.sources[self.index] = (k, v)
        return k, v


def is_exporting() -> bool:
    """Whether the model is being written down as a graph (torch 2.6 does not tell)."""
    ask = getattr(torch.compiler, "is_exporting", None)
    return ask is not None and ask()


def attend(
    q: Float[Tensor, "B N T K"],
    k: Float[Tensor, "B M S K"],
    v: Float[Tensor, "B M S K"],
    mask: Mask = EVERYTHING,
    bias: Float[Tensor, "A N T S"] | None = None,
    scale: float | None = None,
) -> Float[Tensor, "B N T K"]:
    """Softmax attention by torch's fused kernel, except where plain products are faster.

    That is when bfloat16 is trained on a CPU: the fused kernel's backward pass does not use the matrix unit, and took
    5 times as long at 65 tokens, 2 times at 197 and 1.4 times at 1,025 (torch 2.13, AMX). The price is memory for
    T x S scores. `bias` is added to the scores. M heads of keys serve N heads of queries.
    """
    if k.shape[1] != q.shape[1]:
        k, v = (one.repeat_interleave(q.shape[1] // one.shape[1], dim=1) for one in (k, v))
    if mask.blocks is not None:
        return attend_by_blocks(q, k, v, mask.blocks, bias, scale)
    is_slow_when_fused = q.device.type == "cpu" and q.dtype == torch.bfloat16 and torch.is_grad_enabled()
    extra = None if mask.is_causal and bias is None and not is_slow_when_fused else _extra(q, k, mask, bias)
    if not is_slow_when_fused:
        is_causal = mask.is_causal and extra is None
        return F.scaled_dot_product_attention(q, k, v, attn_mask=extra, is_causal=is_causal, scale=scale)
    scores = (q * (q.shape[-1] ** -0.5 if scale is None else scale)) @ k.transpose(2, 3)  # B N T S
    if extra is not None:
        scores = scores + extra if extra.is_floating_point() else scores.masked_fill(~extra, -torch.inf)
    return scores.softmax(dim=-1).to(v.dtype) @ v


def _extra(q: Tensor, k: Tensor, mask: Mask, bias: Tensor | None) -> Tensor | None:
    """Mask and bias as one table: of facts where there is no bias, of numbers where there is."""
    allowed = mask.allowed
    if mask.is_causal:
        allowed = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril()
    if bias is None:
        return allowed
    bias = bias.to(q.dtype)
    return bias if allowed is None else bias.masked_fill(~allowed, -torch.inf)
