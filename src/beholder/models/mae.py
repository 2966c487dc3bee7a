"""Masked autoencoder (He et al. 2021, arXiv 2111.06377): from the few patches that an encoder sees, a small decoder
paints the pixels of all others."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from beholder.models.vit import ViT, ViTConfig, hold_positions, positions_at
from beholder.trunk.attention import AttentionConfig
from beholder.trunk.init import initialise
from beholder.trunk.transformer import Transformer, TransformerConfig
from beholder.types import Tokens, UserError


def _decoder() -> TransformerConfig:
    return TransformerConfig(512, 8, AttentionConfig(16))


@dataclass(frozen=True)
class MAEConfig:
    """Shape of both halves, and what is asked of them."""

    encoder: ViTConfig = field(default_factory=ViTConfig)
    """The decoder tells places in the same way as the encoder."""
    decoder: TransformerConfig | None = field(default_factory=_decoder)
    """None: only the encoder is there, as some checkpoints have it."""
    mask_ratio: float = 0.75
    """Share of patches that are hidden."""
    has_normalised_target: bool = False
    """Whether the pixels to paint are each patch's less their mean, over their spread."""


def _trunk(width: int, depth: int, num_heads: int) -> TransformerConfig:
    return TransformerConfig(width, depth, AttentionConfig(num_heads))


PRESETS = {
    "base": MAEConfig(ViTConfig(trunk=_trunk(768, 12, 12))),
    "debug": MAEConfig(ViTConfig(4, 16, trunk=_trunk(32, 2, 2)), _trunk(24, 1, 2)),
}


@dataclass(frozen=True)
class Seen:
    """What the encoder made of the patches that it was shown."""

    tokens: Tokens
    """Class token and registers, then the kept patches in the order of their noise; the grid is the whole image's."""
    kept: Int[Tensor, "B K"]
    """Their places in the row-major grid."""
    is_hidden: Bool[Tensor, "B T"]


class MAE(nn.Module):
    """Pixels to the pixels of every patch, B T (P P 3): rows, columns and channels of a patch in this order."""

    def __init__(self, config: MAEConfig = PRESETS["base"]) -> None:
        super().__init__()
        self.config = config
        assert 0.0 <= config.mask_ratio < 1.0, config.mask_ratio
        assert config.encoder.trunk.rotary is None, "kept patches no longer lie on a grid that rotary positions know"
        self.encoder = ViT(config.encoder)
        if config.decoder is None:
            return
        width = config.decoder.width
        self.embed = nn.Linear(config.encoder.trunk.width, width)
        self.mask = nn.Parameter(torch.zeros(1, 1, width))
        self.positions: Tensor | None
        hold_positions(self, config.encoder, width)
        self.trunk = Transformer(config.decoder)
        self.paint = nn.Linear(width, 3 * config.encoder.patch_size**2)
        for part in (self.embed, self.trunk, self.paint):
            initialise(part)
        nn.init.normal_(self.mask, std=0.02)

    def forward(
        self,
        pixels: Float[Tensor, "B 3 H W"],
        noise: Float[Tensor, "B T"] | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Float[Tensor, "B T F"], Bool[Tensor, "B T"]]:
        """Painted patches, and which were hidden. Arguments and errors as of `encode`."""
        seen = self.encode(pixels, noise, generator)
        return self.decode(seen), seen.is_hidden

    def encode(
        self,
        pixels: Float[Tensor, "B 3 H W"],
        noise: Float[Tensor, "B T"] | None = None,
        generator: torch.Generator | None = None,
    ) -> Seen:
        """Patches with the least noise are kept; without noise it is drawn, uniform, from `generator` on its device.

        Raises UserError when the noise is not one number for each patch.
        """
        tokens = self.encoder.tokens(pixels)
        assert tokens.grid is not None
        num_patches, num_prefix = tokens.grid[0] * tokens.grid[1], tokens.num_prefix
        if noise is None:
            device = pixels.device if generator is None else generator.device
            noise = torch.rand(len(pixels), num_patches, generator=generator, device=device)
        if noise.shape != (len(pixels), num_patches):
            raise UserError(
                f"Noise of shape {tuple(noise.shape)} is not one number for each of {num_patches} patches of "
                f"{len(pixels)} images; give {(len(pixels), num_patches)}."
            )
        num_kept = int(num_patches * (1 - self.config.mask_ratio))
        kept = noise.to(pixels.device).argsort(dim=1)[:, :num_kept]  # B K
        is_hidden = torch.ones(noise.shape, dtype=torch.bool, device=pixels.device).scatter(1, kept, False)
        x = tokens.values
        x = torch.cat([x[:, :num_prefix], x[:, num_prefix:].gather(1, _wide(kept, x.shape[2]))], dim=1)
        return Seen(replace(tokens, values=self.encoder.trunk(x)[-1]), kept, is_hidden)

    def decode(self, seen: Seen) -> Float[Tensor, "B T F"]:
        """Every patch's pixels, the kept ones' too: what the encoder saw in its place, mask tokens everywhere else."""
        assert self.config.decoder is not None, "this checkpoint has no decoder"
        grid, num_prefix, width = seen.tokens.grid, seen.tokens.num_prefix, self.config.decoder.width
        assert grid is not None
        x = self.embed(seen.tokens.values)
        prefix, kept = x[:, :num_prefix], x[:, num_prefix:]
        patches = self.mask.to(x.dtype).expand(len(x), seen.is_hidden.shape[1], -1)
        patches = patches.scatter(1, _wide(seen.kept, width), kept)
        places = positions_at(self.config.encoder, self.positions, width, grid)
        if places is not None:
            num_first = int(self.config.encoder.has_class_position and self.positions is not None)
            places = places.to(x.device, self.embed.weight.dtype)
            patches = patches + places[:, num_first:]
            prefix = torch.cat([prefix[:, :num_first] + places[:, :num_first], prefix[:, num_first:]], dim=1)
        x = self.trunk(torch.cat([prefix, patches], dim=1))[-1]
        return self.paint(x[:, num_prefix:])

    def patches(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B T F"]:
        """An image as `forward` paints it. Raises UserError when it is no whole number of patches."""
        size = self.config.encoder.patch_size
        height, width = pixels.shape[2:]
        if height % size or width % size:
            raise UserError(
                f"Images of {width} x {height} pixels do not divide into patches of {size} to be painted; choose an "
                f"image size that is a multiple of {size}."
            )
        cells = pixels.unflatten(3, (-1, size)).unflatten(2, (-1, size))  # B 3 h P w P
        return cells.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)

    def picture(self, patches: Float[Tensor, "B T F"], grid: tuple[int, int]) -> Float[Tensor, "B 3 H W"]:
        """Patches as an image of rows and columns of them; undoes `patches`."""
        size = self.config.encoder.patch_size
        cells = patches.unflatten(2, (size, size, 3)).unflatten(1, grid)  # B h w P P 3
        return cells.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)

    def loss(
        self, pixels: Float[Tensor, "B 3 H W"], painted: Float[Tensor, "B T F"], is_hidden: Bool[Tensor, "B T"]
    ) -> Float[Tensor, ""]:
        """Mean squared error over the pixels of hidden patches. Raises UserError as `patches` does."""
        target = self.patches(pixels)
        if self.config.has_normalised_target:
            target = (target - target.mean(2, keepdim=True)) / (target.var(2, keepdim=True) + 1e-6).sqrt()
        return (painted - target).square().mean(2)[is_hidden].mean()


def _wide(places: Int[Tensor, "B K"], width: int) -> Int[Tensor, "B K D"]:
    return places[:, :, None].expand(-1, -1, width)
