"""The first stages of a network that knows pictures, as the eye of a perceptual distance."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from beholder.models.conv import EfficientNetLite

_MEAN, _STD = 127.0 / 255, 128.0 / 255
"""Of the pixels that EfficientNet-Lite was trained on, from 0 to 1."""


class Perceiver(nn.Module):
    """Maps at several depths of a frozen EfficientNet-Lite, for pixels in -1 to 1; what lies above them is left out.

    Norms are folded into convolutions: nothing counts statistics, whatever mode it is put in.
    """

    def __init__(self, network: EfficientNetLite, depths: Sequence[int] = (1, 2, 4)) -> None:
        super().__init__()
        folded = network.folded()
        self.depths = frozenset(depths)
        assert max(self.depths) < len(folded.stages), (depths, len(folded.stages))
        self.stem, self.stages = folded.stem, folded.stages[: max(self.depths) + 1]
        self.requires_grad_(False)

    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> tuple[Tensor, ...]:
        """One map B C h w a depth, from fine to coarse."""
        x = (pixels * 0.5 + (0.5 - _MEAN)) / _STD
        x, maps = self.stem(x.contiguous(memory_format=torch.channels_last)), []
        for depth, stage in enumerate(self.stages):
            x = stage(x)
            if depth in self.depths:
                maps.append(x)
        return tuple(maps)
