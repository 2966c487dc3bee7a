"""Cross-entropy of a linear head's scores without holding the scores: of a large vocabulary they are by far the largest
thing in a step of a language model. Gradients are made chunk by chunk while the scores are at hand (after Hsu et al.
2024, arXiv 2410.10989), so that products are as many as otherwise."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

_SCORES_AT_ONCE = 16_777_216
"""64 MB in float32. Each further chunk reads and writes the gradient of the whole head once more."""

_LEAST = -80.0
"""Below the top: exp makes numbers out of lower ones that processors handle a hundred times as slowly."""


def head_loss(
    x: Float[Tensor, "n D"],
    weight: Float[Tensor, "V D"],
    targets: Int[Tensor, " n"],
    shares: Float[Tensor, " n"],
    z_weight: float = 0.0,
    scores_at_once: int = _SCORES_AT_ONCE,
) -> tuple[Float[Tensor, ""], float]:
    """The sum, with those shares, of nats that `targets` cost under the scores `x @ weight.T`, and the share of targets
    that were the likeliest. `z_weight` counts the squared logarithm of the scores' sum. Gradients once, not twice."""
    total, accuracy = _HeadLoss.apply(x, weight, targets, shares, z_weight, max(1, scores_at_once // len(weight)))
    return total, float(accuracy)


class _HeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, targets: Tensor, shares: Tensor, z_weight: float, rows: int
    ) -> Any:
        needs_x, needs_weight = ctx.needs_input_grad[:2]
        grad_x = torch.empty_like(x) if needs_x else None
        grad_weight = torch.empty_like(weight) if needs_weight else None  # the first product fills it
        if grad_weight is not None and not len(x):
            grad_weight.zero_()
        total, right = shares.new_zeros(()), shares.new_zeros(())
        for first in range(0, len(x), rows):
            part, target, share = (one[first : first + rows] for one in (x, targets, shares))
            scores = F.linear(part, weight)
            scores, dtype = scores.float(), scores.dtype
            own, top = scores.gather(1, target[:, None])[:, 0], scores.amax(1)
            grown = scores.sub_(top[:, None]).clamp_(min=_LEAST).exp_()  # in place: each pass over the scores is dear
            sums = grown.sum(1)
            logsums = sums.log() + top
            total += ((logsums - own + z_weight * logsums.square()) * share).sum()
            right += ((own >= top) * share).sum()
            if grad_x is None and grad_weight is None:
                continue
            pulls = grown.mul_((share * (1 + 2 * z_weight * logsums) / sums)[:, None])
            pulls.scatter_add_(1, target[:, None], -share[:, None])
            pulls = pulls.to(dtype)
            if grad_x is not None:
                grad_x[first : first + rows] = pulls @ weight
            if grad_weight is not None:
                _add_product(grad_weight, pulls.T, part, is_first=first == 0)
        ctx.grads = grad_x, grad_weight
        ctx.mark_non_differentiable(right)
        return total, right

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, pull: Tensor, _: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        grads = [None if grad is None else grad.mul_(pull) for grad in ctx.grads]
        ctx.grads = None
        return *grads, None, None, None, None


def _add_product(held: Tensor, one: Tensor, other: Tensor, *, is_first: bool) -> None:
    """`held` plus the product of both, or the product in its place; without a third table where types allow."""
    if held.dtype != one.dtype:
        product = one @ other
        held.copy_(product) if is_first else held.add_(product)
    elif is_first:
        torch.mm(one, other.to(one.dtype), out=held)
    else:
        held.addmm_(one, other.to(one.dtype))
