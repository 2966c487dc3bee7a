"""Parameter-free readout of a backbone: one descriptor per image from all of its maps.

Pooling several depths by mean, maximum and spread is clearly better for few labels than the last layer's average
(measured in docs/benchmarks.md), because small local faults live in the fine maps and in the maximum.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from beholder.types import Outputs


def describe(outputs: Outputs) -> Float[Tensor, "B D"]:
    """Concatenate mean, maximum and standard deviation of every map; D is three times the sum of map widths.

    The summary is left out: it stands for the last layer's average alone and can be had from `outputs.summary`.
    """
    parts = []
    for features in outputs.maps:  # B C H W
        flat = features.flatten(2).float()  # B C (H W)
        parts += [flat.mean(2), flat.amax(2), flat.std(2, correction=0)]
    return torch.cat(parts, dim=1)
