"""A critic of patches: whether each one looks painted or real (PatchGAN: Isola et al. 2016, arXiv 1611.07004)."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class CriticConfig:
    """Shape of the critic."""

    width: int = 32
    """Channels of the first convolution; doubled at each further one."""
    num_halvings: int = 2
    """Convolutions that halve the side; a patch is then 16 pixels a side (3: 34)."""


class PatchCritic(nn.Module):
    """Pixels in -1 to 1 to one score a patch: high for real."""

    def __init__(self, config: CriticConfig = CriticConfig()) -> None:
        super().__init__()
        self.config = config
        width = config.width
        parts: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for _ in range(config.num_halvings - 1):
            parts += [nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, bias=False), _norm(2 * width)]
            parts.append(nn.LeakyReLU(0.2))
            width *= 2
        parts += [nn.Conv2d(width, width, 3, padding=1, bias=False), _norm(width), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*parts, nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 1 h w"]:
        return self.layers(pixels)


def _norm(width: int) -> nn.GroupNorm:
    """Over groups, where PatchGAN has it over the batch: real and painted pictures come in batches of their own."""
    return nn.GroupNorm(min(8, width), width)
