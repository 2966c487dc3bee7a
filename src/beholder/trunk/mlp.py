"""The position-wise feed-forward network of a block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

QUICK = 1.702


def quick_gelu(x: Tensor) -> Tensor:
    """x sigmoid(1.702 x), with which OpenAI's CLIP was trained; taking gelu instead costs accuracy without a word."""
    return x * torch.sigmoid(QUICK * x)


Activation = Literal["gelu", "gelu_tanh", "quick_gelu", "relu", "silu"]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "quick_gelu": quick_gelu,
    "relu": F.relu,
    "silu": F.silu,
}


@dataclass(frozen=True)
class MLPConfig:
    """Shape of one feed-forward network."""

    width: int | None = None
    """Inner width; None: four times the trunk's."""
    activation: Activation = "gelu"
    is_gated: bool = False
    """Whether a second map of the input scales what the activation gives (Shazeer 2020, arXiv 2002.05202)."""
    has_bias: bool = True


class MLP(nn.Module):
    """Widen, bend, narrow; each token for itself. A gated one holds the gate's rows first in `widen`."""

    def __init__(self, config: MLPConfig, width: int) -> None:
        super().__init__()
        inner = config.width or 4 * width
        self.config = config
        self.activation = ACTIVATIONS[config.activation]
        self.widen = nn.Linear(width, inner * (1 + config.is_gated), bias=config.has_bias)
        self.narrow = nn.Linear(inner, width, bias=config.has_bias)

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        is_quick = self.config.activation == "quick_gelu" and self.config.has_bias and not self.config.is_gated
        if is_quick and not torch.compiler.is_compiling():  # a compiler joins the passes by itself
            return self._quick(x)
        return self.narrow(bend(self.widen(x), self.activation, self.config.is_gated))

    def _quick(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """y sigmoid(y) / 1.702 of y = 1.702 x: one pass over the widest tensor instead of three, because products of
        matrices take in both factors for nothing."""
        widen, narrow = self.widen, self.narrow
        y = torch.addmm(widen.bias, x.flatten(0, 1), widen.weight.T, beta=QUICK, alpha=QUICK)
        return torch.addmm(narrow.bias, F.silu(y), narrow.weight.T, alpha=1 / QUICK).view_as(x)


def bend(wide: Tensor, activation: Callable[[Tensor], Tensor], is_gated: bool) -> Tensor:
    """The activation; where gated, of the first half, times the second."""
    if not is_gated:
        return activation(wide)
    gate, value = wide.chunk(2, dim=-1)
    return activation(gate) * value
