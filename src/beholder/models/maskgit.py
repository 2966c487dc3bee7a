"""Masked visual tokens (MaskGIT: Chang et al. 2022, arXiv 2202.04200; with captions Muse: Chang et al. 2023, arXiv
2301.00704): a trunk that reads both ways tells the codes of a picture that are hidden from those that are not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.models.lvm import llama_trunk
from beholder.trunk.init import initialise_language, initialise_tables
from beholder.trunk.mask import MaskConfig
from beholder.trunk.position import RotaryConfig
from beholder.trunk.transformer import Transformer, TransformerConfig, image_rotation


def two_way_trunk(width: int, depth: int, num_heads: int) -> TransformerConfig:
    """LLaMA's blocks that see the whole picture; rotary positions are rows and columns, as in DINOv3 (Simeoni et al.
    2025, arXiv 2508.10104)."""
    usual = llama_trunk(width, depth, num_heads)
    return TransformerConfig(
        width, depth, usual.attention, usual.mlp, usual.norm, mask=MaskConfig(),
        rotary=RotaryConfig(theta=100.0, axes="grid"), drop_path=0.1,
    )  # fmt: skip


TRUNKS = {
    "tiny": two_way_trunk(128, 4, 4),
    "small": two_way_trunk(256, 6, 4),
    "base": two_way_trunk(512, 8, 8),
    "debug": two_way_trunk(32, 2, 2),
}
"""By size, as those of sentences."""


@dataclass(frozen=True)
class MaskGITConfig:
    """Shape of the model, and of what it reads."""

    num_codes: int
    """Of the codec. The token after them stands for a hidden one."""
    grid: tuple[int, int]
    """Rows and columns of a picture's codes."""
    num_classes: int = 0
    """That pictures may be asked for by."""
    num_words: int = 0
    """Tokens of captions, with the one that fills them up, which is the last; 0: it reads no captions."""
    longest_caption: int = 0
    """Tokens of each caption."""
    trunk: TransformerConfig = field(default_factory=lambda: TRUNKS["tiny"])

    @property
    def num_prefix(self) -> int:
        """Tokens before the grid: the class, and the caption."""
        return 1 + self.longest_caption


class MaskGIT(nn.Module):
    """Codes, some of them hidden, to scores of the codes at every place. The table of codes is the head, too."""

    def __init__(self, config: MaskGITConfig) -> None:
        super().__init__()
        self.config = config
        width, num_places = config.trunk.width, config.grid[0] * config.grid[1]
        self.codes = nn.Embedding(config.num_codes + 1, width)
        self.classes = nn.Embedding(config.num_classes + 1, width)
        self.words = nn.Embedding(config.num_words, width) if config.num_words else None
        self.places = nn.Embedding(config.num_prefix + num_places, width)
        self.trunk = Transformer(config.trunk)
        self.bias = nn.Parameter(torch.zeros(config.num_codes))
        initialise_language(self)
        initialise_tables(self)

    @property
    def code_table(self) -> nn.Embedding:
        """Whose first rows are the codes."""
        return self.codes

    @property
    def hidden(self) -> int:
        """The token in the place of a code that is to be told."""
        return self.config.num_codes

    @property
    def no_class(self) -> int:
        """The class of a picture of which nothing is asked."""
        return self.config.num_classes

    @property
    def no_word(self) -> int:
        """What fills captions up; a caption of nothing else is none."""
        return self.config.num_words - 1

    def forward(
        self,
        codes: Int[Tensor, "B T"],
        classes: Int[Tensor, " B"] | None = None,
        captions: Int[Tensor, "B words"] | None = None,
    ) -> Float[Tensor, "B T V"]:
        """Scores of each place's code, row by row of the grid. Without class or caption nothing is asked for."""
        if classes is None:
            classes = torch.full_like(codes[:, 0], self.no_class)
        parts = [self.classes(classes)[:, None]]
        if self.words is not None:
            if captions is None:
                captions = torch.full_like(codes[:, :1], self.no_word).expand(-1, self.config.longest_caption)
            parts.append(self.words(captions))
        x = torch.cat([*parts, self.codes(codes)], dim=1) + self.places.weight
        rotation = image_rotation(self.trunk, self.config.grid, self.config.num_prefix, x.device)
        (x,) = self.trunk(x, rotation=rotation)
        return F.linear(x[:, self.config.num_prefix :], self.codes.weight[: self.config.num_codes], self.bias)

    def losses(self, codes: Int[Tensor, "B T"], is_hidden: Bool[Tensor, "B T"], **asked: Any) -> Float[Tensor, "B T"]:
        """Nats that each hidden code costs, given the others; 0 where it is not hidden."""
        logits = self(codes.masked_fill(is_hidden, self.hidden), **asked).float()
        nats = F.cross_entropy(logits.transpose(1, 2), codes, reduction="none")
        return nats.masked_fill(~is_hidden, 0.0)
