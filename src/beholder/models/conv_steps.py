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
    if torch.is_grad_enabled() and any(one is not None and one.requires_grad for one in (x, weight, bias)):
        if torch.is_autocast_enabled(x.device.type):
            rough = torch.get_autocast_dtype(x.device.type)
            x, weight, bias = x.to(rough), weight.to(rough), None if bias is None else bias.to(rough)
        with torch.autocast(x.device.type, enabled=False):
            even = before if before == after else 0
            return _Learning.apply(_padded(x, padding), weight, bias, stride, even, groups, is_linear)  # type: ignore
    if before != after:
        # A kernel that begins with zeros sees what a map with fewer on its left shows; copying maps takes longer.
        weight = F.pad(weight, (1, 0, 1, 0))
    if is_finite and _has_one_pass(x):
        last = ("none", [], "") if is_linear else ("hardtanh", [0.0, 6.0], "")
        how = ([after, after], [stride, stride], [1, 1], groups, *last)
        return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *how)
    x = F.conv2d(x, weight, bias, stride, after, 1, groups)
    return x if is_linear else F.relu6(x, inplace=True)


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


class _Learning(torch.autograd.Function):
    """Convolution and ReLU6, of which is kept what came in and what was written."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: int,
        padding: int,
        groups: int,
        is_linear: bool,
    ) -> Tensor:
        made = F.conv2d(x, weight, bias, stride, padding, 1, groups)
        if not is_linear:
            F.relu6(made, inplace=True)
        ctx.save_for_backward(x, weight, None if is_linear else made)
        ctx.how = stride, padding, groups
        return made

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight, made), (stride, padding, groups) = ctx.saved_tensors, ctx.how
        gradient = gradients[0]
        if made is not None:
            gradient = torch.ops.aten.hardtanh_backward(gradient, made, 0.0, 6.0)
        to_x, to_weight, to_bias = ctx.needs_input_grad[:3]
        is_tiny = to_weight and _is_tiny(x, weight, gradient, groups)
        own = torch.ops.aten.convolution_backward(
            gradient, x, weight, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], groups,
            [to_x, to_weight and not is_tiny, False],
        )  # fmt: skip
        return (
            own[0],
            _by_pairs(x, weight, gradient, stride, padding) if is_tiny else own[1],
            gradient.sum((0, 2, 3)) if to_bias else None,  # the library's own takes several times as long
            *(None,) * 4,
        )


def _is_tiny(x: Maps, weight: Tensor, gradient: Tensor, groups: int) -> bool:
    """Whether maps are about as small as their kernels. There the library takes sixty times as long for the gradient of
    5 x 5 kernels, one for each channel, as for filtering by them."""
    num_pairs = x[0, 0].numel() * gradient[0, 0].numel()
    is_depthwise = groups == len(weight) == x.shape[1]
    return is_depthwise and weight.shape[-1] > 3 and num_pairs <= _MOST_PAIRS and x.device.type == "cpu"


def _by_pairs(
    x: Maps, weight: Float[Tensor, "C 1 k k"], gradient: Float[Tensor, "B C h w"], stride: int, padding: int
) -> Float[Tensor, "C 1 k k"]:
    """The kernels' gradient, read off the products of all places that come in with all that go out."""
    num, channels, height, width = x.shape
    out = gradient.permute(1, 2, 3, 0).reshape(channels, -1, num).contiguous()
    seen = x.permute(1, 0, 2, 3).reshape(channels, num, -1).contiguous()
    pairs = torch.bmm(out, seen)  # C hw HW
    taps = _taps_of_pairs(height, width, weight.shape[-1], stride, padding).to(pairs.dtype)
    return (pairs.flatten(1) @ taps).view_as(weight)


@functools.lru_cache(maxsize=32)
def _taps_of_pairs(height: int, width: int, kernel: int, stride: int, padding: int) -> Float[Tensor, "_pairs _taps"]:
    """1 where a place that goes out (h w) sees a place that comes in (H W) through that tap of the kernel."""
    sees = []
    for side in (height, width):
        out = torch.arange((side + 2 * padding - kernel) // stride + 1)[:, None, None]
        sees.append(out * stride + torch.arange(kernel) - padding == torch.arange(side)[:, None])  # h H k
    pairs = sees[0][:, None, :, None, :, None] & sees[1][None, :, None, :, None, :]  # h w H W k k
    return pairs.flatten(0, 3).flatten(1).float()
