"""The position-wise feed-forward network of a block."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class MLP(nn.Module):
    """Widen, GELU, narrow; each token for itself."""

    def __init__(self, width: int, inner_width: int) -> None:
        super().__init__()
        self.widen = nn.Linear(width, inner_width)
        self.narrow = nn.Linear(inner_width, width)

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        return self.narrow(F.gelu(self.widen(x)))
