"""Linear maps whose weights lie as the processor's matrix library reads them fastest (oneDNN), inside the same model.

torch packs weights anew in every product, or not at all; packed once, a product of 8 rows took half of the time in
fp32, and one row in bfloat16 two thirds. The activation of a feed-forward network is done as its numbers are written.
Only one row in fp32 is better served by MKL's product with a matrix that lies column by column, which needs no packing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from beholder.backends.outputs import Flat, Run, cast, frozen_copy
from beholder.models.gpt import GPT
from beholder.trunk.attention import CrossAttention, JointLinear
from beholder.trunk.mlp import MLP, QUICK
from beholder.types import UserError

_FUSED = {
    "gelu": ("gelu", "none"),
    "gelu_tanh": ("gelu", "tanh"),
    "relu": ("relu", ""),
    "silu": ("swish", ""),
    "quick_gelu": ("swish", ""),
}
"""What oneDNN calls our activations."""


class PackedLinear(nn.Module):
    """x W^T + b, then an activation; W is packed for products of `num_rows` rows, others are right but slower."""

    def __init__(
        self,
        weight: Float[Tensor, "F D"],
        bias: Tensor | None,
        num_rows: int,
        activation: tuple[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), num_rows)
        self.bias = None if bias is None else bias.detach().clone()
        self.kind, self.variant = activation or ("none", "")

    def forward(self, x: Float[Tensor, "*B D"], bias: Tensor | None = None) -> Float[Tensor, "*B F"]:
        bias = self.bias if bias is None else bias
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, bias, self.kind, [], self.variant)


class PackedMLP(nn.Module):
    """`MLP` without a gate; x sigmoid(1.702 x) is done as y sigmoid(y) / 1.702 of y = 1.702 x."""

    def __init__(self, mlp: MLP, num_rows: int) -> None:
        super().__init__()
        factor = QUICK if mlp.config.activation == "quick_gelu" else 1.0
        widen, narrow = mlp.widen, mlp.narrow
        bias = None if widen.bias is None else widen.bias * factor
        self.widen = PackedLinear(widen.weight * factor, bias, num_rows, _FUSED[mlp.config.activation])
        self.narrow = PackedLinear(narrow.weight / factor, narrow.bias, num_rows)

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        return self.narrow(self.widen(x))


@torch.no_grad()
def pack(model: nn.Module, dtype: torch.dtype = torch.float32, num_rows: int = 1) -> nn.Module:
    """A copy for inference on a CPU, called as the model is. `num_rows` tokens are read at once in the usual call.

    Raises UserError where this torch has no oneDNN.
    """
    if not torch.backends.mkldnn.is_available():
        raise UserError("This torch was built without oneDNN, which packs weights; choose backend='plain'.")
    packed = frozen_copy(model, dtype)
    if num_rows == 1 and dtype == torch.float32:
        _turn(packed)
        return packed
    for part in _headless(packed):
        part.head = PackedLinear(part.embed.tokens.weight, None, num_rows)  # type: ignore[assignment]
    _replace(packed, num_rows)
    return packed


def build_packed(model: nn.Module, example: Sequence[Tensor], dtype: torch.dtype) -> Run:
    """`pack` for as many rows as the largest linear map sees of the example."""
    seen: list[int] = []
    hooks = [
        part.register_forward_hook(lambda part, given, result: seen.append(given[0][..., 0].numel()))
        for part in model.modules()
        if isinstance(part, nn.Linear)
    ]
    with torch.inference_mode():
        model(*example)
    for hook in hooks:
        hook.remove()
    flat = Flat(pack(model, dtype, max(seen, default=1)))

    @torch.inference_mode()
    def run(*inputs: Tensor) -> Sequence[Tensor]:
        return flat(*cast(inputs, dtype))

    return run


def _turn(model: nn.Module) -> None:
    """The same matrices with the numbers of a column side by side."""
    heads = [part.embed.tokens for part in _headless(model)]
    for part in [*model.modules(), *heads]:
        if isinstance(part, nn.Linear) or part in heads:
            part.weight = nn.Parameter(part.weight.T.contiguous().T, requires_grad=False)


def _headless(model: nn.Module) -> list[GPT]:
    """Those whose table of tokens is the head."""
    return [part for part in model.modules() if isinstance(part, GPT) and part.head is None]


def _replace(module: nn.Module, num_rows: int) -> None:
    for name, part in list(module.named_children()):
        if isinstance(part, MLP) and not part.config.is_gated:
            setattr(module, name, PackedMLP(part, num_rows))
        elif isinstance(module, CrossAttention) and name == "query":
            continue
        elif isinstance(part, nn.Linear):
            bias = None if isinstance(part, JointLinear) else part.bias
            setattr(module, name, PackedLinear(part.weight, bias, num_rows))
        else:
            _replace(part, num_rows)
