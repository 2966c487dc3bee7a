"""Truths of a convolution's three ways: values and gradients are those of torch's plain operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from beholder.models.conv import PRESETS, ConvNorm, EfficientNetLite
from beholder.models.conv_steps import _has_one_pass, convolve

CASES = [  # side, kernel, stride, channels, groups
    (9, 1, 1, 4, 1),
    (9, 3, 2, 3, 1),
    (8, 3, 1, 6, 6),
    (3, 5, 1, 6, 6),  # the kernel is larger than the map
    (4, 5, 2, 6, 6),
    (7, 5, 2, 6, 6),
    (14, 5, 1, 6, 6),
]


def plain(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, before: int, after: int, groups: int) -> Tensor:
    return F.conv2d(F.pad(x, (before, after, before, after)), weight, bias, stride, 0, 1, groups)


def drawn(case: Sequence[int], dtype: torch.dtype = torch.float32) -> tuple[list[Tensor], dict, tuple]:
    """Picture, kernel and bias; how `convolve` and `plain` take the rest."""
    side, kernel, stride, channels, groups = case
    torch.manual_seed(0)
    outputs = channels if groups > 1 else 5
    x = 3 * torch.randn(4, channels, side, side, dtype=dtype).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(outputs, channels // groups, kernel, kernel, dtype=dtype), torch.randn(outputs).to(dtype)
    before = (kernel - stride) // 2
    padding = (before, kernel - stride - before) if kernel > 1 else (0, 0)
    return [x, weight, bias], {"stride": stride, "padding": padding, "groups": groups}, (stride, *padding, groups)


class Convolving(nn.Module):
    def __init__(self, weight: Tensor, bias: Tensor, how: dict) -> None:
        super().__init__()
        self.weight, self.bias, self.how = weight, bias, how

    def forward(self, x: Tensor) -> Tensor:
        return convolve(x, self.weight, self.bias, **self.how)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("is_linear", [True, False])
def test_looking_learning_and_graphs_say_the_same(case: tuple[int, ...], is_linear: bool) -> None:
    (x, weight, bias), how, rest = drawn(case)
    wanted = plain(x, weight, bias, *rest)
    wanted = wanted if is_linear else F.relu6(wanted)
    with torch.no_grad():
        looked = convolve(x, weight, bias, **how, is_linear=is_linear)
        once = convolve(x, weight, bias, **how, is_linear=is_linear, is_finite=True)
    learned = convolve(x, weight.clone().requires_grad_(), bias, **how, is_linear=is_linear)
    with torch.no_grad():
        program = torch.export.export(
            Convolving(weight, bias, {**how, "is_linear": is_linear, "is_finite": True}), (x,)
        )
    (node,) = (node for node in program.graph.nodes if "conv" in str(node.target))
    assert str(node.target).startswith("aten.conv2d") and node.args[1].op == "placeholder"  # the kernel as it is
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        rough = convolve(x, weight, bias, **how, is_linear=is_linear).float()
    for found in (looked, once, learned, program.module()(x.clone())):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(rough, wanted, rtol=0.05, atol=0.2)
    assert wanted.abs().max() > 1


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_plain_operations(case: tuple[int, ...]) -> None:
    given, how, rest = drawn(case)
    found, wanted = [], []
    for mine, gradients in ((True, found), (False, wanted)):
        learned = [one.clone().requires_grad_() for one in given]
        out = convolve(*learned, **how) if mine else F.relu6(plain(*learned, *rest))
        (out * torch.arange(out.numel()).view_as(out).cos()).sum().backward()
        gradients += [one.grad for one in learned]
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)
        assert one.abs().max() > 0


@pytest.mark.parametrize("case", [(3, 5, 1, 2, 2), (5, 5, 2, 2, 2)])
def test_the_way_of_tiny_maps_passes_finite_differences(case: tuple[int, ...]) -> None:
    (x, weight, _), how, _ = drawn(case, torch.float64)
    convolved = lambda x, weight: convolve(x, weight, None, **how, is_linear=True)  # noqa: E731
    given = (x.requires_grad_(), weight.requires_grad_())
    assert torch.autograd.gradcheck(convolved, given) and torch.autograd.gradgradcheck(convolved, given)


class Operations(TorchDispatchMode):
    """The names of what is called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.skipif(not _has_one_pass(torch.zeros(1, 1, 1, 1)), reason="this processor's library has no such operation")
def test_looking_at_what_is_finite_is_one_pass() -> None:
    model = EfficientNetLite(PRESETS["debug"]).folded()
    with torch.inference_mode(), Operations() as called:
        model(torch.randn(1, 3, 64, 64))
    assert sum("_convolution_pointwise" in name for name in called.names) == 1 + 3 * 3 + 1
    assert not [name for name in called.names if "relu" in name or "hardtanh" in name or "aten.convolution" in name]


def test_broken_kernels_are_seen_in_what_is_made_of_them() -> None:
    torch.manual_seed(0)
    model = EfficientNetLite(PRESETS["debug"]).eval()
    with torch.no_grad():
        model.stages[1][0].expand.conv.weight[0] = float("nan")  # pyright: ignore
        for one in (model, model.folded()):
            assert not one(torch.randn(1, 3, 64, 64)).summary.isfinite().any()


def test_what_is_frozen_looks_also_where_others_learn() -> None:
    (x, weight, bias), how, _ = drawn((9, 3, 2, 3, 1))
    with Operations() as frozen:
        convolve(x, weight, bias, **how, is_finite=True)
    with torch.no_grad(), Operations() as looked:
        convolve(x, weight, bias, **how, is_finite=True)
    assert frozen.names == looked.names


def test_frozen_kernels_get_no_gradient_and_pass_it_on() -> None:
    (x, weight, bias), how, _ = drawn((3, 5, 1, 6, 6))
    convolve(x.requires_grad_(), weight, bias, **how).sum().backward()
    assert x.grad is not None and x.grad.abs().max() > 0 and weight.grad is None


def test_a_map_is_kept_once() -> None:
    (x, weight, bias), how, _ = drawn((9, 1, 1, 4, 1))
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        written = convolve(x, weight.requires_grad_(), bias, **how)
    assert {tensor.data_ptr() for tensor in kept} == {x.data_ptr(), weight.data_ptr(), written.data_ptr()}


@pytest.mark.parametrize(("case", "is_tiny"), [(case, case[0] < 5 and case[1] > 3) for case in CASES])
def test_tiny_maps_alone_have_a_way_of_their_own(case: tuple[int, ...], is_tiny: bool) -> None:
    (x, weight, _), how, _ = drawn(case)
    made = convolve(x, weight.requires_grad_(), None, **how, is_linear=True)
    with Operations() as called:
        made.sum().backward()
    assert any("bmm" in name for name in called.names) is is_tiny


class Plain(nn.Module):
    """The convolution, the norm and ReLU6 one after the other."""

    def __init__(self, part: ConvNorm) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Tensor) -> Tensor:
        before, after = self.part.padding
        x = self.part.norm(self.part.conv(F.pad(x, (before, after, before, after))))
        return x if self.part.is_linear else F.relu6(x)


@pytest.mark.parametrize("keeps_statistics", [True, False])
def test_norms_with_and_without_statistics_that_stay_learn_as_one_after_the_other(keeps_statistics: bool) -> None:
    torch.manual_seed(0)
    part = ConvNorm(PRESETS["debug"], 6, 6, kernel_size=5, groups=6)
    part.norm.running_mean.normal_()
    part.norm.running_var.uniform_(0.5, 2)
    nn.init.uniform_(part.norm.weight, 0.5, 2)
    nn.init.normal_(part.norm.bias)
    x, found = torch.randn(8, 6, 3, 3), []
    start = {name: value.clone() for name, value in part.state_dict().items()}
    for model in (part, Plain(part)):
        part.load_state_dict(start)
        part.train()
        if keeps_statistics:
            part.norm.eval()
        part.zero_grad()
        out = model(x)
        (out * torch.arange(out.numel()).view_as(out).sin()).sum().backward()
        gradients = [value.grad.clone() for value in part.parameters() if value.grad is not None]
        found.append([out.detach(), *gradients, part.norm.running_mean.clone()])
    assert len(found[0]) == 5
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_a_whole_network_looks_as_it_learns() -> None:
    torch.manual_seed(0)
    model = EfficientNetLite(PRESETS["debug"]).eval()
    pixels = torch.randn(2, 3, 61, 64)
    learned = model(pixels)
    with torch.no_grad():
        looked = model(pixels)
    for one, other in zip((*learned.maps, learned.summary), (*looked.maps, looked.summary), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_learning_in_bfloat16_learns_about_the_same() -> None:
    torch.manual_seed(0)
    part = ConvNorm(PRESETS["debug"], 6, 6, kernel_size=5, groups=6).eval()
    x, found = torch.randn(8, 6, 3, 3), []
    for is_rough in (False, True):
        part.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=is_rough):
            out = part(x)
        (out.float() * torch.arange(out.numel()).view_as(out).sin()).sum().backward()
        found.append([out.detach().float(), *(value.grad for value in part.parameters() if value.grad is not None)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.05 * float(other.abs().max()))


def test_a_folded_copy_learns_no_more_than_it_is_asked_to() -> None:
    model = EfficientNetLite(PRESETS["debug"])
    assert not any(value.requires_grad for value in model.folded().parameters())
    assert all(value.requires_grad for value in model.parameters())


def test_a_norm_of_another_kind_is_called() -> None:
    part = ConvNorm(PRESETS["debug"], 3, 4).eval()
    x = torch.randn(2, 3, 5, 5)
    part.norm = nn.GroupNorm(2, 4)  # type: ignore[assignment]
    torch.testing.assert_close(part(x), F.relu6(part.norm(part.conv(x))))
