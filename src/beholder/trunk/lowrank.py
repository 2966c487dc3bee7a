"""Low-rank updates: a trained network learns through two thin matrices a layer, and is plain again once merged.

Hu et al. 2021, arXiv 2106.09685. torch's parametrizations do the bookkeeping: a weight W reads as W + B A, so every
layer that uses its weight, convolutions too, needs no twin class.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class LowRankUpdate(nn.Module):
    """W -> W + B A; B starts at zero, so that the network starts as it was."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        num_outputs, num_inputs = weight.shape[0], weight[0].numel()
        rank = min(rank, num_outputs, num_inputs)
        self.down = nn.Parameter(torch.randn(rank, num_inputs, device=weight.device) * num_inputs**-0.5)
        self.up = nn.Parameter(torch.zeros(num_outputs, rank, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        return self.blended(weight, 1.0)

    def blended(self, weight: Tensor, share: float) -> Tensor:
        """The weight with this share of what was learned; with none it is the weight itself."""
        return weight + share * (self.up @ self.down).view_as(weight) if share else weight


def attach_low_rank(model: nn.Module, rank: int) -> nn.Module:
    """Freeze `model` and give every linear layer and every 1 x 1 convolution an update of that rank, in place.

    Spatial and depthwise kernels stay as they are: they are few, and not matrices. Raises ValueError for rank < 1.
    """
    if rank < 1:
        raise ValueError(f"rank {rank}: a low-rank update needs a rank of at least 1.")
    model.requires_grad_(False)
    for layer in [part for part in model.modules() if _is_matrix(part)]:
        parametrize.register_parametrization(layer, "weight", LowRankUpdate(layer.weight, rank))  # type: ignore[arg-type]
    return model


@torch.no_grad()
def merge_low_rank(model: nn.Module) -> nn.Module:
    """Write the updates into the weights, in place: the same outputs, the first names and shapes, all trainable."""
    for layer in list(model.modules()):
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return model.requires_grad_(True)


@torch.no_grad()
def write_low_rank(learning: nn.Module, plain: nn.Module, share: float) -> nn.Module:
    """Write into `plain`, a network of the same shape without updates, the weights of `learning` with this share of
    what it learned: 0 is the network as it was, 1 all of it (interpolated weights: Wortsman et al. 2021, arXiv
    2109.01903). The network that learns stays as it is."""
    for name, layer in learning.named_modules():
        if parametrize.is_parametrized(layer, "weight"):
            updated = cast(parametrize.ParametrizationList, layer.get_submodule("parametrizations.weight"))
            weight = cast(LowRankUpdate, updated[0]).blended(updated.get_parameter("original"), share)
            plain.get_submodule(name).get_parameter("weight").copy_(weight)
    return plain


def _is_matrix(part: nn.Module) -> bool:
    if isinstance(part, nn.Conv2d):
        return part.kernel_size == (1, 1) and part.groups == 1
    return isinstance(part, nn.Linear)
