"""Normalisation of each token by its own numbers: layer norm (Ba et al. 2016, arXiv 1607.06450) or its root mean square
(Zhang & Sennrich 2019, arXiv 1910.07467)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn


@dataclass(frozen=True)
class NormConfig:
    """Which norm, and the small number that keeps it from dividing by zero."""

    kind: Literal["layer", "rms"] = "layer"
    eps: float = 1e-6


def build_norm(config: NormConfig, width: int) -> nn.Module:
    """A norm over the last dimension; gain one, shift zero (rms has no shift)."""
    if config.kind == "rms":
        return nn.RMSNorm(width, eps=config.eps)
    return nn.LayerNorm(width, eps=config.eps)
