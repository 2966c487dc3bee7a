"""Pixels to one embedding: backbones at several resolutions, pooled at several depths, standardised, rotated, cut.

    pixels (one tensor a resolution) --backbones--> maps --describe--> descriptor F --project--> embedding D

Several resolutions see faults of several sizes; the projection (a principal component analysis of the unlabelled
training images) keeps what varies in the user's domain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from beholder.models.conv import EfficientNetLite
from beholder.models.families import Backbone, BackboneSpec, build
from beholder.models.heads import describe
from beholder.types import Outputs


@dataclass(frozen=True)
class EmbedderConfig:
    """Shape of an embedder."""

    backbones: tuple[BackboneSpec, ...]
    """One, or the generic and the adapted one side by side."""
    resolutions: tuple[int, ...] = (128, 224, 300)
    """Sides of the squares that every backbone sees."""
    width: int = 256
    """D, the number of principal components kept."""


class Projection(nn.Module):
    """Standardise each descriptor value, then rotate onto the leading principal components."""

    def __init__(self, num_inputs: int, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_inputs))
        self.register_buffer("scale", torch.ones(num_inputs))
        self.register_buffer("components", torch.zeros(width, num_inputs))
        self.mean: Tensor
        self.scale: Tensor
        self.components: Tensor

    def forward(self, descriptor: Float[Tensor, "B F"]) -> Float[Tensor, "B D"]:
        return ((descriptor - self.mean) / self.scale) @ self.components.T


class Embedder(nn.Module):
    """Backbones and projection; `forward` takes one pixel batch a resolution."""

    def __init__(self, config: EmbedderConfig) -> None:
        super().__init__()
        self.config = config
        self.backbones = nn.ModuleList(build(spec) for spec in config.backbones)
        self.projection = Projection(self.descriptor_width, config.width)

    @property
    def descriptor_width(self) -> int:
        """F: mean, maximum and spread of every map, of every backbone, at every resolution."""
        widths = sum(sum(cast(Backbone, backbone).map_widths) for backbone in self.backbones)
        return 3 * widths * len(self.config.resolutions)

    def forward(self, pixels: Sequence[Float[Tensor, "B 3 _ _"]]) -> Float[Tensor, "B D"]:
        return self.projection(self.describe(pixels))

    def describe(self, pixels: Sequence[Float[Tensor, "B 3 _ _"]]) -> Float[Tensor, "B F"]:
        """The descriptor before the projection, backbone by backbone and resolution by resolution."""
        return torch.cat([describe(outputs) for outputs in self.outputs(pixels)], dim=1)

    def outputs(self, pixels: Sequence[Float[Tensor, "B 3 _ _"]]) -> list[Outputs]:
        """What each backbone saw at each resolution, in the order of the descriptor."""
        assert len(pixels) == len(self.config.resolutions), "one batch of pixels a resolution"
        return [backbone(batch) for backbone in self.backbones for batch in pixels]

    def ready(self) -> Embedder:
        """Fold what can be folded, for inference; the embedder itself is changed and returned."""
        for index, backbone in enumerate(self.backbones):
            if isinstance(backbone, EfficientNetLite):
                self.backbones[index] = backbone.folded()
        return self.eval().requires_grad_(False)
