"""Several maps between two towers as one: their spaces side by side, so that cosines are averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from beholder.models.pairs import PairMaps, PairMapsConfig


@dataclass(frozen=True)
class JoinedMapsConfig:
    """Which maps, and how much each says."""

    parts: tuple[PairMapsConfig, ...]
    shares: tuple[float, ...]
    """Of the cosine; they sum to 1."""

    @property
    def image_width(self) -> int:
        return self.parts[0].image_width

    @property
    def text_width(self) -> int:
        return self.parts[0].text_width


class JoinedMaps(nn.Module):
    """A `PairModel` like its parts. Its scale and bias are the first one's."""

    def __init__(self, config: JoinedMapsConfig) -> None:
        super().__init__()
        assert len(config.parts) == len(config.shares) and abs(sum(config.shares) - 1) < 1e-6, config.shares
        assert len({(part.image_width, part.text_width) for part in config.parts}) == 1, "parts of one pair of towers"
        self.config = config
        self.parts = nn.ModuleList(PairMaps(part) for part in config.parts)

    @property
    def logit_scale(self) -> Tensor:
        return cast(PairMaps, self.parts[0]).logit_scale

    @property
    def logit_bias(self) -> Tensor | None:
        return cast(PairMaps, self.parts[0]).logit_bias

    def encode_images(self, features: Float[Tensor, "B F"]) -> Float[Tensor, "B C"]:
        """Points of unit length."""
        return self._side_by_side([cast(PairMaps, part).encode_images(features) for part in self.parts])

    def encode_texts(
        self, features: Float[Tensor, "B D"], is_real: Bool[Tensor, "B ..."] | None = None
    ) -> Float[Tensor, "B C"]:
        """Points of unit length."""
        return self._side_by_side([cast(PairMaps, part).encode_texts(features, is_real) for part in self.parts])

    def _side_by_side(self, points: Sequence[Tensor]) -> Tensor:
        """Roots of the shares, so that the product of two joined points is the mean of the parts' products."""
        return torch.cat([share**0.5 * one for share, one in zip(self.config.shares, points, strict=True)], dim=1)


def join_maps(parts: Sequence[PairMaps], shares: Sequence[float]) -> JoinedMaps:
    """Copies of these maps as one, in evaluation mode."""
    joined = JoinedMaps(JoinedMapsConfig(tuple(part.config for part in parts), tuple(shares)))
    for own, part in zip(joined.parts, parts, strict=True):
        own.load_state_dict(part.state_dict())
    return joined.eval().requires_grad_(False)
