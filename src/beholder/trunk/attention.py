"""Multi-head self-attention (Vaswani et al. 2017, arXiv 1706.03762)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class SelfAttention(nn.Module):
    """Every token reads every token; queries, keys and values come from one matrix, in this order."""

    def __init__(self, width: int, num_heads: int, has_qkv_bias: bool = True) -> None:
        super().__init__()
        assert width % num_heads == 0, f"width {width} is no multiple of {num_heads} heads"
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width, bias=has_qkv_bias)
        self.out = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        qkv = self.qkv(x).unflatten(2, (3, self.num_heads, -1))  # B T 3 N K
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each B N T K
        return self.out(attend(q, k, v).transpose(1, 2).flatten(2))


def attend(
    q: Float[Tensor, "B N T K"], k: Float[Tensor, "B N S K"], v: Float[Tensor, "B N S K"]
) -> Float[Tensor, "B N T K"]:
    """Softmax attention by torch's fused kernel, except where plain products are faster.

    That is when bfloat16 is trained on a CPU: the fused kernel's backward pass does not use the matrix unit, and took
    5 times as long at 65 tokens, 2 times at 197 and 1.4 times at 1,025 (torch 2.13, AMX). The price is memory for
    T x S scores.
    """
    is_slow_when_fused = q.device.type == "cpu" and q.dtype == torch.bfloat16 and torch.is_grad_enabled()
    if not is_slow_when_fused:
        return F.scaled_dot_product_attention(q, k, v)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(2, 3)  # B N T S
    return scores.softmax(dim=-1).to(v.dtype) @ v
