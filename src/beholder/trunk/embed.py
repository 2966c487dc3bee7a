"""What a trunk reads, made from pixels or from the numbers of tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from beholder.trunk.norm import NormConfig, build_norm
from beholder.trunk.transformer import places_in_rows
from beholder.types import Tokens, UserError


@dataclass(frozen=True)
class Instead:
    """Rows that no table holds, such as what was seen in an image, for some tokens of a text."""

    is_given: Bool[Tensor, "B T"]
    values: Float[Tensor, "B T D"]
    """Read where one is given."""


class PatchEmbedding(nn.Module):
    """Non-overlapping P x P patches, row-major, each projected to the trunk's width by one linear map (Dosovitskiy et
    al. 2020, arXiv 2010.11929)."""

    def __init__(self, patch_size: int, width: int, has_bias: bool = True) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.project = nn.Conv2d(3, width, patch_size, stride=patch_size, bias=has_bias)

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


class TokenEmbedding(nn.Module):
    """A row of a table for each token, and where there are such tables, for its position and its kind."""

    def __init__(
        self,
        vocabulary_size: int,
        width: int,
        num_positions: int | None = None,
        position_offset: int = 0,
        num_kinds: int = 0,
        norm: NormConfig | None = None,
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary_size, width)
        self.positions = nn.Embedding(num_positions + position_offset, width) if num_positions else None
        self.position_offset = position_offset
        self.kinds = nn.Embedding(num_kinds, width) if num_kinds else None
        self.norm = build_norm(norm, width) if norm else nn.Identity()

    def forward(
        self,
        tokens: Int[Tensor, "B T"],
        positions: Int[Tensor, "A T"],
        kinds: Int[Tensor, "B T"] | None = None,
        instead: Instead | None = None,
    ) -> Float[Tensor, "B T D"]:
        """`instead` are rows that stand in the place of the table's. Raises UserError when a text is longer than the
        table of positions."""
        if instead is None:
            x = self.tokens(tokens)
        else:
            x = self.tokens(tokens.masked_fill(instead.is_given, 0))
            x = torch.where(instead.is_given[:, :, None], instead.values.to(x.dtype), x)
        if self.kinds is not None:
            x = x + self.kinds(torch.zeros_like(tokens) if kinds is None else kinds)
        if self.positions is not None:
            longest = self.positions.num_embeddings - self.position_offset
            if positions.shape[1] > longest:
                raise UserError(
                    f"A text of {positions.shape[1]:,} tokens is longer than the {longest:,} that this model reads; "
                    "shorten it."
                )
            x = x + self.positions(positions + self.position_offset)
        return self.norm(x)

    @staticmethod
    def places(
        tokens: Int[Tensor, "B T"],
        is_real: Bool[Tensor, "B S"] | None,
        rows: Int[Tensor, "B T"] | None,
        positions: Int[Tensor, "A T"] | None,
        num_held: int = 0,
    ) -> Int[Tensor, "A T"]:
        """Positions as given, or counted over real tokens, within each packed row, or on from what a cache holds."""
        if positions is not None:
            return positions
        if rows is not None:
            return places_in_rows(rows)
        if is_real is not None:
            return (is_real.long().cumsum(1) - 1).clamp_min(0)[:, -tokens.shape[1] :]
        return torch.arange(num_held, num_held + tokens.shape[1], device=tokens.device)[None]
