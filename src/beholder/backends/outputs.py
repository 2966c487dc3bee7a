"""What a model gives, as a list of tensors and back: the only form that exported graphs know."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from beholder.trunk.attention import CrossAttention, SelfAttention
from beholder.types import UserError

Run = Callable[..., Sequence[Tensor]]
"""Takes what the model takes, gives the tensors of what it gives, in fp32."""

Backend = Literal["plain", "packed", "compiled", "onnxruntime", "openvino"]
Precision = Literal["fp32", "bf16", "int8"]
BOUNDS: dict[Precision, float] = {"fp32": 1e-4, "bf16": 0.05, "int8": 0.1}
"""How far outputs may lie from the model's own in fp32: the length of the difference over their length, in the output
where it is largest. A loss of 0.05 is a cosine of 0.9987, one of 0.1 a cosine of 0.995."""


def flatten(value: Any) -> list[Tensor]:
    """The tensors of a tensor, a tuple, a list or a dataclass of such, in order."""
    if isinstance(value, Tensor):
        return [value]
    return [tensor for part in _parts(value) for tensor in flatten(part)]


def rebuild(like: Any, tensors: Sequence[Tensor]) -> Any:
    """`flatten` undone: those tensors in the form of `like`."""
    if isinstance(like, Tensor):
        return tensors[0]
    parts, begin = [], 0
    for part in _parts(like):
        end = begin + len(flatten(part))
        parts.append(rebuild(part, tensors[begin:end]))
        begin = end
    if isinstance(like, list | tuple):
        return type(like)(parts)
    names = [field.name for field in dataclasses.fields(like)]
    return dataclasses.replace(like, **dict(zip(names, parts, strict=True)))


def _parts(value: Any) -> list[Any]:
    if isinstance(value, list | tuple):
        return list(value)
    assert dataclasses.is_dataclass(value), f"a model that gives {type(value).__name__} is not known here"
    return [getattr(value, field.name) for field in dataclasses.fields(value)]


class Flat(nn.Module):
    """The model, giving a tuple of fp32 tensors."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensor.float() for tensor in flatten(self.model(*inputs)))


def frozen_copy(model: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    """For inference, in that number format; the values are shared with `model` where they have it already."""
    shared: dict[int, Any] = {
        id(value): nn.Parameter(value.detach(), requires_grad=False) for value in model.parameters()
    }
    shared.update({id(value): value for value in model.buffers()})
    frozen = copy.deepcopy(model, shared).eval().to(dtype).requires_grad_(False)
    for part in frozen.modules():
        if isinstance(part, SelfAttention | CrossAttention):
            part.join_biases()
    return frozen


def cast(inputs: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Numbers in that format; counts and facts as they are."""
    return [tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in inputs]


class TooFar(UserError):
    """Outputs lie further from the model's own than is allowed."""


def check_loss(
    found: Sequence[Tensor], expected: Sequence[Tensor], backend: str, precision: Precision, bound: float | None = None
) -> float:
    """The distance. Raises TooFar where it is above the bound, that of the precision if none is given."""
    loss, bound = distance(found, expected), BOUNDS[precision] if bound is None else bound
    if not loss <= bound:  # also where it is no number
        raise TooFar(
            f"backend={backend!r} in {precision} gives outputs that lie {loss:.2g} away from the model's own (length "
            f"of the difference over theirs), more than the {bound:g} allowed; choose a higher precision."
        )
    return loss


def distance(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Length of the difference over the length of what is expected, of the tensor where this is largest."""
    return max(_relative(ours.double(), theirs.double()) for ours, theirs in zip(found, expected, strict=True))


def _relative(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    return float((ours - theirs).norm() / theirs.norm().clamp_min(torch.finfo(torch.float64).tiny))


def export_graph(flat: Flat, example: Sequence[Tensor]) -> torch.export.ExportedProgram:
    """The model as a graph of operations. The first dimension of every input may vary."""
    rows = tuple({0: torch.export.Dim.DYNAMIC} for _ in example)
    with torch.no_grad():
        return torch.export.export(flat, tuple(example), dynamic_shapes={"inputs": rows})
