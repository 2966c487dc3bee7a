"""Cross-entropy of a linear head's scores without holding the scores: of a large vocabulary they are by far the largest
thing in a step of a language model. Gradients are made chunk by chunk while the scores are at hand (after Hsu et al.
2024, arXiv 2410.10989), so that products are as many as otherwise."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

_SCORES_AT_ONCE = 4_194_304
"""16 MB in float32."""


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
        grad_weight = torch.zeros_like(weight) if needs_weight else None
        total, right = shares.new_zeros(()), shares.new_zeros(())
        for first in range(0, len(x), rows):
            part, target, share = (one[first : first + rows] for one in (x, targets, shares))
            scores = F.linear(part, weight).float()
            logsums = scores.logsumexp(1)
            costs = logsums - scores.gather(1, target[:, None])[:, 0] + z_weight * logsums.square()
            total += (costs * share).sum()
            right += ((scores.argmax(1) == target) * share).sum()
            if grad_x is None and grad_weight is None:
                continue
            pulls = scores.sub_(logsums[:, None]).exp_().mul_((share * (1 + 2 * z_weight * logsums))[:, None])
            pulls.scatter_add_(1, target[:, None], -share[:, None])
            pulls = pulls.to(part.dtype) if not torch.is_autocast_enabled(part.device.type) else pulls
            if grad_x is not None:
                grad_x[first : first + rows] = pulls @ weight
            if grad_weight is not None:
                grad_weight += pulls.T @ part
        ctx.grads = grad_x, grad_weight
        ctx.mark_non_differentiable(right)
        return total, right

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, pull: Tensor, _: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        grads = [None if grad is None else grad.mul_(pull) for grad in ctx.grads]
        ctx.grads = None
        return *grads, None, None, None, None
