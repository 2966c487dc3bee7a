"""Pixels to tokens: each square patch is one linear projection (Dosovitskiy et al. 2020, arXiv 2010.11929)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from beholder.types import Tokens, UserError


class PatchEmbedding(nn.Module):
    """Non-overlapping P x P patches, row-major, each projected to the trunk's width."""

    def __init__(self, patch_size: int, width: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.project = nn.Conv2d(3, width, patch_size, stride=patch_size)

    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> Tokens:
        """Raises UserError when the image is no whole number of patches."""
        height, width = pixels.shape[2:]
        if height % self.patch_size or width % self.patch_size:
            raise UserError(
                f"Images of {width} x {height} pixels do not divide into patches of {self.patch_size}; "
                f"choose an image size that is a multiple of {self.patch_size}."
            )
        projected = self.project(pixels)  # B D h w
        return Tokens(projected.flatten(2).transpose(1, 2), grid=(projected.shape[2], projected.shape[3]))
