"""Readouts: a parameter-free descriptor of a backbone's maps, and the small heads that few labels can fit."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from beholder.types import Outputs


def describe(outputs: Outputs) -> Float[Tensor, "B D"]:
    """Concatenate mean, maximum and standard deviation of every map; D is three times the sum of map widths.

    Pooling several depths is clearly better for few labels than the last layer's average (measured in
    docs/benchmarks.md): small local faults live in the fine maps and in the maximum. The summary is left out.
    """
    parts = []
    for features in outputs.maps:  # B C H W
        flat = features.flatten(2).float()  # B C (H W)
        parts += [flat.mean(2), flat.amax(2), flat.std(2, correction=0)]
    return torch.cat(parts, dim=1)


class LinearHead(nn.Module):
    """Logits as a linear function of the embedding."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, num_classes)

    def forward(self, embedding: Float[Tensor, "B D"]) -> Float[Tensor, "B V"]:
        return self.linear(embedding)


class KernelHead(nn.Module):
    """Logits linear in Gaussian similarities to stored examples: exp(-gamma |x - s|^2)."""

    def __init__(self, width: int, num_classes: int, num_supports: int) -> None:
        super().__init__()
        for name, shape in (
            ("supports", (num_supports, width)),
            ("coefficients", (num_classes, num_supports)),
            ("bias", (num_classes,)),
            ("gamma", ()),
        ):
            self.register_buffer(name, torch.zeros(shape))
        self.supports: Tensor
        self.coefficients: Tensor
        self.bias: Tensor
        self.gamma: Tensor

    def forward(self, embedding: Float[Tensor, "B D"]) -> Float[Tensor, "B V"]:
        # by products, as torch does by itself for more than 25 supports: exported graphs know nothing else
        distance = torch.cdist(embedding, self.supports, compute_mode="use_mm_for_euclid_dist").square()  # B S
        return torch.exp(-self.gamma * distance) @ self.coefficients.T + self.bias
