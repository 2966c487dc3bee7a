"""The model that `adapt` makes: an embedder, a classification head and a notion of the usual, in one module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from beholder.models.embedder import Embedder, EmbedderConfig
from beholder.models.heads import KernelHead, LinearHead
from beholder.models.usual import Usual


@dataclass(frozen=True)
class HeadConfig:
    """Shape of the classification head."""

    kind: Literal["none", "linear", "kernel"] = "none"
    num_classes: int = 0
    num_supports: int = 0
    """Stored examples of a kernel head."""


@dataclass(frozen=True)
class DomainConfig:
    """Shape of a domain model; with `model.safetensors` it is all that loading needs."""

    embedder: EmbedderConfig
    head: HeadConfig = HeadConfig()
    num_usual_levels: int = 0
    """Calibration levels of the unusual-image score; 0 when there is none."""


class DomainModel(nn.Module):
    """Embeds, classifies and finds unusual images of one domain."""

    def __init__(self, config: DomainConfig) -> None:
        super().__init__()
        self.config = config
        self.embedder = Embedder(config.embedder)
        self.head = _head(config.head, config.embedder.width)
        self.usual = Usual(config.embedder.width, config.num_usual_levels) if config.num_usual_levels else None

    def forward(self, pixels: Sequence[Float[Tensor, "B 3 _ _"]]) -> Float[Tensor, "B D"]:
        """The embedding, from one pixel batch a resolution."""
        return self.embedder(pixels)

    def classify(self, embedding: Float[Tensor, "B D"]) -> Float[Tensor, "B V"]:
        """Calibrated class probabilities."""
        assert self.head is not None, "this model has no classification head"
        return torch.softmax(self.head(embedding), dim=1)


def _head(config: HeadConfig, width: int) -> LinearHead | KernelHead | None:
    if config.kind == "linear":
        return LinearHead(width, config.num_classes)
    if config.kind == "kernel":
        return KernelHead(width, config.num_classes, config.num_supports)
    return None
