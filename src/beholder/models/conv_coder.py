"""Convolutional encoder and decoder of an image codec, in the shape that VQGAN made usual (Esser et al. 2020, arXiv
2012.09841): levels of residual blocks, each level at half the side of the one before, attention at the lowest."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class ConvCoderConfig:
    """Shape of both halves."""

    width: int = 64
    """Channels of the first level."""
    multipliers: tuple[int, ...] = (1, 2)
    """Of the width, a level each; between levels the side is halved."""
    num_blocks: int = 2
    """Residual blocks a level; the decoder has one more."""
    attention_levels: tuple[int, ...] = ()
    """Levels, from 0, whose blocks are each followed by attention over all places."""
    has_middle_attention: bool = False
    """Whether there is attention between the two blocks at the lowest level."""
    num_groups: int = 32
    """Of the group norms; 0: none."""
    is_slim: bool = False
    """Whether a block's second convolution is 1 x 1 (van den Oord et al. 2017), which halves its work, and begins at
    zero, so that a block first lets everything through."""
    inner_width: int = 0
    """Channels between which and the codes' a 1 x 1 convolution stands on either side of the codebook, as in published
    codecs; 0: encoder and decoder meet the codes themselves."""
    patch_size: int = 4
    """Side of the squares of pixels that are merged before the first level; 1 in published codecs. On a processor most
    of the time goes to the finest level, and this spares it."""

    @property
    def stride(self) -> int:
        """Pixels a side that one code stands for."""
        return self.patch_size * 2 ** (len(self.multipliers) - 1)


class ResidualBlock(nn.Module):
    """Two normalised convolutions beside a way through."""

    def __init__(self, num_inputs: int, num_outputs: int, num_groups: int, is_slim: bool = False) -> None:
        super().__init__()
        self.norm1, self.norm2 = _norm(num_inputs, num_groups), _norm(num_outputs, num_groups)
        self.conv1 = nn.Conv2d(num_inputs, num_outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(num_outputs, num_outputs, 1 if is_slim else 3, padding="same")
        if is_slim:
            for weights in self.conv2.parameters():
                nn.init.zeros_(weights)
        self.through = nn.Identity() if num_inputs == num_outputs else nn.Conv2d(num_inputs, num_outputs, 1)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F H W"]:
        h = self.conv1(F.silu(self.norm1(x)))
        return self.through(x) + self.conv2(F.silu(self.norm2(h)))


class PlaceAttention(nn.Module):
    """Every place reads every other; one head, as in VQGAN."""

    def __init__(self, width: int, num_groups: int) -> None:
        super().__init__()
        self.norm = _norm(width, num_groups)
        self.query, self.key, self.value, self.out = (nn.Conv2d(width, width, 1) for _ in range(4))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        h = self.norm(x)
        q, k, v = (part(h).flatten(2).transpose(1, 2) for part in (self.query, self.key, self.value))  # B HW C
        seen = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        return x + self.out(seen.transpose(1, 2).unflatten(2, x.shape[2:]))


class Halve(nn.Module):
    """Half the side, by a convolution that sees one more row and column at the far edges."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C _ _"]:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Double(nn.Module):
    """Twice the side: every place four times, then a convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C _ _"]:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class ConvEncoder(nn.Module):
    """Pixels to points, one a stride's square."""

    def __init__(self, config: ConvCoderConfig, code_width: int) -> None:
        super().__init__()
        widths = [config.width * factor for factor in config.multipliers]
        self.merge = nn.PixelUnshuffle(config.patch_size)
        self.first = nn.Conv2d(3 * config.patch_size**2, config.width, 3, padding=1)
        self.levels = nn.ModuleList()
        for level, width in enumerate(widths):
            before = widths[max(0, level - 1)] if level else config.width
            parts = _blocks(config, level, before, width, config.num_blocks)
            if level < len(widths) - 1:
                parts.append(Halve(width))
            self.levels.append(nn.Sequential(*parts))
        self.middle = _middle(config, widths[-1])
        self.norm = _norm(widths[-1], config.num_groups)
        self.last = _last(config, widths[-1], config.inner_width or code_width)
        self.narrow = nn.Conv2d(config.inner_width, code_width, 1) if config.inner_width else nn.Identity()

    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D h w"]:
        x = self.first(self.merge(pixels))
        for level in self.levels:
            x = level(x)
        return self.narrow(self.last(F.silu(self.norm(self.middle(x)))))


class ConvDecoder(nn.Module):
    """Points to pixels."""

    def __init__(self, config: ConvCoderConfig, code_width: int) -> None:
        super().__init__()
        widths = [config.width * factor for factor in config.multipliers]
        self.widen = nn.Conv2d(code_width, config.inner_width, 1) if config.inner_width else nn.Identity()
        self.first = nn.Conv2d(config.inner_width or code_width, widths[-1], 3, padding=1)
        self.middle = _middle(config, widths[-1])
        self.levels = nn.ModuleList()
        for level in reversed(range(len(widths))):
            before = widths[min(level + 1, len(widths) - 1)]
            parts = _blocks(config, level, before, widths[level], config.num_blocks + 1)
            if level:
                parts.append(Double(widths[level]))
            self.levels.append(nn.Sequential(*parts))
        self.norm = _norm(widths[0], config.num_groups)
        self.last = _last(config, widths[0], 3 * config.patch_size**2)
        self.part = nn.PixelShuffle(config.patch_size)

    def forward(self, points: Float[Tensor, "B D h w"]) -> Float[Tensor, "B 3 H W"]:
        x = self.middle(self.first(self.widen(points)))
        for level in self.levels:
            x = level(x)
        return self.part(self.last(F.silu(self.norm(x))))


def _blocks(config: ConvCoderConfig, level: int, before: int, width: int, count: int) -> list[nn.Module]:
    parts: list[nn.Module] = []
    for number in range(count):
        parts.append(ResidualBlock(width if number else before, width, config.num_groups, config.is_slim))
        if level in config.attention_levels:
            parts.append(PlaceAttention(width, config.num_groups))
    return parts


def _middle(config: ConvCoderConfig, width: int) -> nn.Sequential:
    attention = [PlaceAttention(width, config.num_groups)] if config.has_middle_attention else []
    first, second = (ResidualBlock(width, width, config.num_groups, config.is_slim) for _ in range(2))
    return nn.Sequential(first, *attention, second)


def _last(config: ConvCoderConfig, width: int, num_outputs: int) -> nn.Conv2d:
    return nn.Conv2d(width, num_outputs, 1 if config.is_slim else 3, padding="same")


def _norm(width: int, num_groups: int) -> nn.Module:
    return nn.GroupNorm(min(num_groups, width), width, eps=1e-6) if num_groups else nn.Identity()
