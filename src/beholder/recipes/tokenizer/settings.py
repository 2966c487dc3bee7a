"""What a run of `train tokenizer` was asked to do: the part of `recipe.json` that decides its numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from beholder.config import from_json, to_json
from beholder.data.decode import Limits
from beholder.models.codebook import CodebookConfig
from beholder.models.codec import OWN_CODES, PRESETS, CodecConfig
from beholder.recipes.budget import parse_budget
from beholder.types import UserError

MOST_CODES = 65_536
"""So many numbers fit into two bytes, in which codes are kept."""
_LEAST_SIDE, _MOST_SIDE = 16, 512
"""The filters by which pictures are judged see nothing in smaller ones."""


@dataclass(frozen=True)
class TokenizerConfig:
    """Every choice of a run; frozen, written to `recipe.json`, compared when a run is resumed."""

    data: str
    """Folder or table of pictures."""
    size: int = 64
    """Side of the squares that are learned from."""
    stride: int = 8
    """Side of the square of pixels that one code stands for."""
    kind: Literal["conv", "vit"] = "conv"
    codes: Literal["finite", "learned"] | None = None
    """learned: a table; finite: a fixed grid of points. None: a grid where levels are given, else a table."""
    levels: tuple[int, ...] | None = None
    """finite: values that each coordinate takes; 4 4 4 4 4 where None."""
    num_codes: int | None = None
    """learned: rows of the table; 1,024 where None."""
    also: str | None = None
    """What is learned beside photos: "masks", "edges", both with a comma between, or "none". None: masks, where the
    data have at least 20."""
    budget: str = "12m"
    """For training: a time such as "90s", "12m", "2h", or "400 steps"."""
    adversary: bool = False
    """Whether a critic that tells painted patches from real ones joins after a third of the steps."""
    seed: int = 0
    device: str = "auto"
    threads: int | None = None
    max_pixels: int = 100_000_000
    group: str | None = None
    """A column of the table, or "folder": what belongs together and stays on one side of the split."""

    @property
    def is_grid(self) -> bool:
        """Whether codes are the points of a fixed grid."""
        return self.codes == "finite" or (self.codes is None and self.levels is not None)


def check(config: TokenizerConfig) -> TokenizerConfig:
    """The same settings, of the right types. Raises UserError for what cannot work, before anything is read."""
    config = from_json(TokenizerConfig, to_json(config))
    parse_budget(config.budget, needed=True)
    if not 2 <= config.stride <= 32:
        raise UserError(f"--stride {config.stride}: a code stands for a square of 2 to 32 pixels a side; such as 8.")
    if config.levels is not None and config.codes == "learned":
        raise UserError("--levels goes with --codes finite, and a table has --num-codes; leave one of them out.")
    if config.num_codes is not None and config.is_grid:
        raise UserError("--num-codes goes with --codes learned, and a grid has --levels; leave one of them out.")
    levels, num_codes = config.levels, config.num_codes
    if levels is not None and (not levels or min(levels) < 2 or math.prod(levels) > MOST_CODES):
        said = " ".join(map(str, levels))
        raise UserError(
            f"--levels {said}: each is at least 2, and their product, the number of codes, at most {MOST_CODES:,}; "
            "such as 4 4 4 4 4."
        )
    if num_codes is not None and not 2 <= num_codes <= MOST_CODES:
        raise UserError(f"--num-codes {num_codes}: a table has from 2 to {MOST_CODES:,} codes.")
    Limits(config.max_pixels)
    return config


def codec_of(config: TokenizerConfig, shape: CodecConfig | None = None) -> CodecConfig:
    """The codec that is asked for; `shape` of encoder and decoder in the place of the usual ones.

    Raises UserError when the side is no multiple of what one code stands for.
    """
    usual = shape or PRESETS[f"{config.kind}-64"]
    codebook = (
        CodebookConfig("finite", levels=config.levels or CodebookConfig().levels)
        if config.is_grid
        else replace(OWN_CODES, num_codes=config.num_codes or OWN_CODES.num_codes)
    )
    if shape is None:
        usual = replace(
            usual, conv=replace(usual.conv, patch_size=config.stride), vit=replace(usual.vit, patch_size=config.stride)
        )
    made = replace(usual, codebook=codebook, image_size=config.size)
    least = max(2 * made.stride, -(-_LEAST_SIDE // made.stride) * made.stride)
    if config.size % made.stride or not least <= config.size <= _MOST_SIDE:
        raise UserError(
            f"--size {config.size}: a code stands for {made.stride} x {made.stride} pixels, so the side is a multiple "
            f"of {made.stride} from {least} to {_MOST_SIDE}; such as {8 * made.stride}."
        )
    return made
