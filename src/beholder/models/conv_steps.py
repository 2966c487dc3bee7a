"""A convolution with ReLU6 behind it, three ways: to be written into a graph, to learn, to look.

All give the same numbers. To learn, gradients go back by what was written, so that a map is kept once, and tiny maps
have a way of their own; to look, a map is written once. Gradients of gradients work; forward-mode derivatives and
torch.func's transforms do not.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv2d_input

Maps = Float[Tensor, "B C H W"]

_MOST_PAIRS = 256
"""Of places that go out and places that come in: maps of four by four. Beyond, the library's own way is as fast."""


def convolve(
    x: Maps,
    weight: Float[Tensor, "F G k k"],
    bias: Float[Tensor, " F"] | None,
    *,
    stride: int,
    padding: tuple[int, int],
    groups: int = 1,
    is_linear: bool = False,
    is_finite: bool = False,
) -> Float[Tensor, "B F h w"]:
    """`padding` is that of the left and top, and that of the right and bottom, which is as much or one more; without
    `is_linear` what is below 0 becomes 0 and what is above 6 becomes 6. `is_finite`: pixels, kernel and bias are known
    to be numbers, so that it does not matter that one pass turns NaN into 0."""
    before, after = padding
    assert after - before in (0, 1), padding
    if torch.jit.is_tracing() or torch.compiler.is_compiling():  # pyright: ignore[reportPrivateImportUsage]
        x = F.conv2d(_padded(x, padding), weight, bias, stride, before if before == after else 0, 1, groups)
        return x if is_linear else F.relu6(x, inplace=True)
    if torch.is_grad_enabled() and (
        x.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)
    ):
        x, even = _padded(x, padding), before if before == after else 0
        x = _depthwise(x, weight, bias, stride, even) if groups > 1 else F.conv2d(x, weight, bias, stride, even)
        return x if is_linear else relu6_(x)
    if before != after:
        # A kernel that begins with zeros sees what a map with fewer on its left shows; copying maps takes longer.
        weight = F.pad(weight, (1, 0, 1, 0))
    if is_finite and _has_one_pass(x):
        last = ("none", [], "") if is_linear else ("hardtanh", [0.0, 6.0], "")
        how = ([after, after], [stride, stride], [1, 1], groups, *last)
        return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *how)
    x = F.conv2d(x, weight, bias, stride, after, 1, groups)
    return x if is_linear else F.relu6(x, inplace=True)


def relu6_(x: Float[Tensor, ...]) -> Float[Tensor, ...]:
    """In place. Where gradients are wanted, torch's own keeps a copy of what it overwrites; this one does not."""
    if torch.is_grad_enabled() and x.requires_grad:
        return _ReLU6.apply(x)  # type: ignore[return-value]
    return F.relu6(x, inplace=True)


def _padded(x: Maps, padding: tuple[int, int]) -> Float[Tensor, "B C _h _w"]:
    before, after = padding
    return x if before == after else F.pad(x, (before, after, before, after))


def _has_one_pass(x: Maps) -> bool:
    """Whether the library's convolution with an operation behind it, which torch's compiler uses, is there."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()
        and torch.backends.mkldnn.enabled
        and torch.backends.cpu.get_cpu_capability().startswith("AVX")
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
    )


def _depthwise(
    x: Maps, weight: Float[Tensor, "C 1 k k"], bias: Float[Tensor, " C"] | None, stride: int, padding: int
) -> Float[Tensor, "B C h w"]:
    """Each channel filtered by its own kernel.

    On maps about as small as the kernel the library takes sixty times as long for the gradient of 5 x 5 kernels as for
    filtering; there it is read off the products of all places that come in with all that go out.
    """
    kernel = weight.shape[-1]
    places = [side * ((side + 2 * padding - kernel) // stride + 1) for side in x.shape[2:]]
    is_tiny = kernel > 3 and places[0] * places[1] <= _MOST_PAIRS
    if is_tiny and weight.requires_grad and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
        filtered = _TinyDepthwise.apply(x, weight, stride, padding)
        return filtered if bias is None else filtered + bias[:, None, None]  # type: ignore[return-value]
    return F.conv2d(x, weight, bias, stride, padding, 1, len(weight))


class _ReLU6(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        F.relu6(x, inplace=True)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (written,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradients[0], written, 0.0, 6.0)


class _TinyDepthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, None, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        (gradient,), (x, weight) = gradients, ctx.saved_tensors
        to_input = None
        if ctx.needs_input_grad[0]:
            how = (x.shape, weight, gradient, ctx.stride, ctx.padding, 1, len(weight))
            to_input = conv2d_input(*how)
        (num, channels, height, width), kernel = x.shape, weight.shape[-1]
        out = gradient.permute(1, 2, 3, 0).reshape(channels, -1, num).contiguous()
        seen = x.permute(1, 0, 2, 3).reshape(channels, num, -1).contiguous()
        pairs = torch.bmm(out, seen)  # C hw HW
        taps = _taps_of_pairs(height, width, kernel, ctx.stride, ctx.padding).to(pairs.dtype)
        return to_input, (pairs.flatten(1) @ taps).view_as(weight), None, None


@functools.lru_cache(maxsize=32)
def _taps_of_pairs(height: int, width: int, kernel: int, stride: int, padding: int) -> Float[Tensor, "_pairs _taps"]:
    """1 where a place that goes out (h w) sees a place that comes in (H W) through that tap of the kernel."""
    sees = []
    for side in (height, width):
        out = torch.arange((side + 2 * padding - kernel) // stride + 1)[:, None, None]
        sees.append(out * stride + torch.arange(kernel) - padding == torch.arange(side)[:, None])  # h H k
    pairs = sees[0][:, None, :, None, :, None] & sees[1][None, :, None, :, None, :]  # h w H W k k
    return pairs.flatten(0, 3).flatten(1).float()
