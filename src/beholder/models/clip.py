"""Images and texts in one space (CLIP: Radford et al. 2021, arXiv 2103.00020; SigLIP: Zhai et al. 2023, arXiv
2303.15343): two towers, whose embeddings of a picture and of its caption point the same way."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.models.vit import ViT, ViTConfig
from beholder.trunk.attention import AttentionConfig
from beholder.trunk.embed import TokenEmbedding
from beholder.trunk.init import initialise_language
from beholder.trunk.mask import MaskConfig
from beholder.trunk.mlp import MLPConfig
from beholder.trunk.norm import NormConfig
from beholder.trunk.transformer import Transformer, TransformerConfig
from beholder.types import UserError


@dataclass(frozen=True)
class ImageTowerConfig:
    """Shape of the tower that reads images."""

    vit: ViTConfig = field(default_factory=ViTConfig)
    projection_width: int | None = None
    """Width of the shared space, reached by a linear map without bias; None: the summary itself lies in it."""


@dataclass(frozen=True)
class TextTowerConfig:
    """Shape of the tower that reads texts."""

    vocabulary_size: int = 49408
    num_positions: int = 77
    """The longest text."""
    pool: Literal["end", "last"] = "end"
    """Which token the embedding is read from: the first end of text, or the last one, padding or not (SigLIP)."""
    end_token: int | None = 49407
    """Number of the token that ends a text; None: whichever token of a text has the largest number, as in the first
    checkpoints of CLIP, whose configurations name another token by mistake."""
    projection_width: int | None = None
    """Width of the shared space; None: the pooled token itself lies in it."""
    has_projection_bias: bool = False
    trunk: TransformerConfig = field(default_factory=TransformerConfig)


@dataclass(frozen=True)
class CLIPConfig:
    """Shape of both towers, and the first values of what turns cosines into scores."""

    image: ImageTowerConfig = field(default_factory=ImageTowerConfig)
    text: TextTowerConfig = field(default_factory=TextTowerConfig)
    logit_scale: float = math.log(1 / 0.07)
    """Logarithm of the factor on cosines."""
    logit_bias: float | None = None
    """Added to all scores, for a loss of single pairs (SigLIP starts at -10); None: nothing is."""


def _trunk(width: int, depth: int, num_heads: int, *, is_causal: bool) -> TransformerConfig:
    return TransformerConfig(
        width, depth, AttentionConfig(num_heads), MLPConfig(activation="quick_gelu"), NormConfig(eps=1e-5),
        mask=MaskConfig(is_causal=is_causal),
    )  # fmt: skip


def _clip(
    patch_size: int, image_size: int, image: tuple[int, int, int], text: tuple[int, int, int], width: int,
    vocabulary_size: int = 49408, num_positions: int = 77,
) -> CLIPConfig:  # fmt: skip
    vit = ViTConfig(
        patch_size, image_size, positions="learned", has_class_position=True, resampling="plain",
        has_patch_bias=False, embedding_norm=NormConfig(eps=1e-5), trunk=_trunk(*image, is_causal=False),
    )  # fmt: skip
    words = TextTowerConfig(
        vocabulary_size, num_positions, end_token=vocabulary_size - 1, projection_width=width,
        trunk=_trunk(*text, is_causal=True),
    )  # fmt: skip
    return CLIPConfig(ImageTowerConfig(vit, width), words)


PRESETS = {
    "clip-vit-base-patch32": _clip(32, 224, (768, 12, 12), (512, 12, 8), 512),
    "debug": _clip(4, 16, (32, 2, 2), (24, 2, 2), 16, vocabulary_size=64, num_positions=32),
}


class ImageTower(nn.Module):
    """Images to points of the shared space."""

    def __init__(self, config: ImageTowerConfig) -> None:
        super().__init__()
        self.config = config
        self.vit = ViT(config.vit)
        self.projection = _projection(config.vit.trunk.width, config.projection_width, has_bias=False)

    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C"]:
        """Of any length; `CLIP.encode_images` makes it one."""
        return self.projection(self.vit(pixels).summary)


class TextTower(nn.Module):
    """Texts to points of the shared space."""

    def __init__(self, config: TextTowerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.trunk.width
        self.embed = TokenEmbedding(config.vocabulary_size, width, config.num_positions)
        self.trunk = Transformer(config.trunk)
        initialise_language(self)
        self.projection = _projection(width, config.projection_width, has_bias=config.has_projection_bias)

    def forward(self, tokens: Int[Tensor, "B T"], is_real: Bool[Tensor, "B T"] | None = None) -> Float[Tensor, "B C"]:
        """Of any length; `CLIP.encode_texts` makes it one. Arguments and errors as there."""
        return self.projection(self.pooled(tokens, is_real))

    def hidden(self, tokens: Int[Tensor, "B T"], is_real: Bool[Tensor, "B T"] | None = None) -> Float[Tensor, "B T D"]:
        """The last block's tokens, normalised. Places are counted over padding too, as in training."""
        positions = torch.arange(tokens.shape[1], device=tokens.device)[None]
        return self.trunk(self.embed(tokens, positions), is_real=is_real)[-1]

    def pooled(self, tokens: Int[Tensor, "B T"], is_real: Bool[Tensor, "B T"] | None = None) -> Float[Tensor, "B D"]:
        """The token that stands for the text, before the projection."""
        if self.config.pool == "last":
            if is_real is not None:
                raise UserError(
                    f"This text tower was trained to read padding; pad every text to {self.config.num_positions} "
                    "tokens and give no `is_real`."
                )
            return self.hidden(tokens)[:, -1]
        x, rows = self.hidden(tokens, is_real), torch.arange(tokens.shape[0], device=tokens.device)
        return x[rows, self._end(tokens)]

    def _end(self, tokens: Int[Tensor, "B T"]) -> Int[Tensor, " B"]:
        """Where each text ends first."""
        if self.config.end_token is None:
            return tokens.argmax(1)
        is_end = tokens == self.config.end_token
        if not torch.compiler.is_compiling() and not bool(is_end.any(1).all()):  # a traced graph cannot ask
            row = int((~is_end.any(1)).nonzero()[0])
            raise UserError(
                f"Text {row} of the batch has no end token ({self.config.end_token}), where its embedding is read; "
                "cut a long text so that its end token stays."
            )
        return is_end.int().argmax(1)


class CLIP(nn.Module):
    """Both towers, and the scale that turns cosines into scores."""

    def __init__(self, config: CLIPConfig = PRESETS["clip-vit-base-patch32"]) -> None:
        super().__init__()
        self.config = config
        widths = (
            config.image.projection_width or config.image.vit.trunk.width,
            config.text.projection_width or config.text.trunk.width,
        )
        assert widths[0] == widths[1], f"the towers end in spaces of {widths[0]} and {widths[1]} dimensions"
        self.image = ImageTower(config.image)
        self.text = TextTower(config.text)
        self.logit_scale = nn.Parameter(torch.tensor(config.logit_scale))
        self.logit_bias = None if config.logit_bias is None else nn.Parameter(torch.tensor(config.logit_bias))

    def encode_images(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C"]:
        """Points of unit length."""
        return F.normalize(self.image(pixels), dim=1)

    def encode_texts(
        self, tokens: Int[Tensor, "B T"], is_real: Bool[Tensor, "B T"] | None = None
    ) -> Float[Tensor, "B C"]:
        """Points of unit length. `is_real` is False for padding; a causal tower that reads the first end needs none.

        Raises UserError for a text that is too long, has no end token, or for `is_real` where padding is read.
        """
        return F.normalize(self.text(tokens, is_real), dim=1)

    def similarity(self, images: Float[Tensor, "B C"], texts: Float[Tensor, "Q C"]) -> Float[Tensor, "B Q"]:
        """Scores of every image with every text, from points of unit length.

        CLIP reads them through a softmax over texts (or images), SigLIP through a sigmoid, each pair for itself.
        """
        scores = self.logit_scale.exp() * (images @ texts.T)
        return scores if self.logit_bias is None else scores + self.logit_bias

    def forward(
        self,
        pixels: Float[Tensor, "B 3 H W"],
        tokens: Int[Tensor, "Q T"],
        is_real: Bool[Tensor, "Q T"] | None = None,
    ) -> Float[Tensor, "B Q"]:
        """Scores of every image with every text."""
        return self.similarity(self.encode_images(pixels), self.encode_texts(tokens, is_real))


def _projection(width: int, projection_width: int | None, *, has_bias: bool) -> nn.Module:
    if projection_width is None:
        return nn.Identity()
    projection = nn.Linear(width, projection_width, bias=has_bias)
    nn.init.normal_(projection.weight, std=width**-0.5)
    if projection.bias is not None:
        nn.init.zeros_(projection.bias)
    return projection
