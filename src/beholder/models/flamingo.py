"""A finished language model learns to look (Flamingo: Alayrac et al. 2022, arXiv 2204.14198; Idefics is one).

A vision tower gives each image's tokens, a resampler makes them few, and blocks with a gate that is shut at first let
the text's tokens read them. In shapes, I is the number of images.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from beholder.models.gpt import GPT, GPTConfig
from beholder.models.vit import ViT, ViTConfig
from beholder.trunk.attention import AttentionConfig
from beholder.trunk.cache import Cache
from beholder.trunk.gated import GatedConfig
from beholder.trunk.init import initialise_language
from beholder.trunk.mask import MaskConfig
from beholder.trunk.mlp import MLPConfig
from beholder.trunk.norm import NormConfig, build_norm
from beholder.trunk.position import RotaryConfig
from beholder.trunk.resampler import Resampler, ResamplerConfig
from beholder.trunk.transformer import TransformerConfig
from beholder.types import UserError


@dataclass(frozen=True)
class FlamingoConfig:
    """Shape of the model."""

    vision: ViTConfig = field(default_factory=ViTConfig)
    """Its trunk ends without a norm: the language model reads the last block's tokens as they are."""
    vision_norm: NormConfig = field(default_factory=lambda: NormConfig(eps=1e-5))
    """Of the tower's class token, for one who wants a summary of the image."""
    resampler: ResamplerConfig | None = field(default_factory=ResamplerConfig)
    """None: the language model reads all tokens of the tower."""
    language: GPTConfig = field(default_factory=GPTConfig)
    """Its trunk has gated blocks."""
    num_added_tokens: int = 0
    """How many of the vocabulary's last tokens, such as the one for an image, the language model did not have."""


def _debug() -> FlamingoConfig:
    plain = AttentionConfig(3, biases=())
    mlp = MLPConfig(32, "silu", is_gated=True, has_bias=False)
    vision = TransformerConfig(24, 2, AttentionConfig(3), norm=NormConfig(eps=1e-5), has_final_norm=False)
    language = TransformerConfig(
        36, 4, plain, mlp, NormConfig("rms", 1e-6), mask=MaskConfig(is_causal=True), rotary=RotaryConfig(),
        gated=GatedConfig(24, 2, attention=plain, mlp=mlp),
    )  # fmt: skip
    return FlamingoConfig(
        ViTConfig(4, 16, positions="learned", has_class_position=True, has_patch_bias=False, trunk=vision),
        resampler=ResamplerConfig(5, 2, AttentionConfig(3, head_width=8, biases=())),
        language=GPTConfig(64, None, is_tied=False, context_length=64, trunk=language),
        num_added_tokens=2,
    )


PRESETS = {"debug": _debug()}


class Flamingo(nn.Module):
    """Text with images between its words to scores of the text's next token."""

    def __init__(self, config: FlamingoConfig = PRESETS["debug"]) -> None:
        super().__init__()
        gated, width = config.language.trunk.gated, config.vision.trunk.width
        assert gated is not None and gated.source_width == width, "gated blocks read what the vision tower gives"
        assert not config.vision.trunk.has_final_norm, "the language model reads the tower's tokens without a norm"
        self.config = config
        self.vision = ViT(config.vision)
        self.vision_norm = build_norm(config.vision_norm, width)
        self.resampler = None if config.resampler is None else Resampler(config.resampler, width)
        if self.resampler is not None:
            initialise_language(self.resampler)
        self.language = GPT(config.language)

    def forward(
        self,
        tokens: Int[Tensor, "B T"],
        images: Float[Tensor, "B I S D"] | None = None,
        *,
        looks_at: Bool[Tensor, "B T _"] | None = None,
        is_real: Bool[Tensor, "B held"] | None = None,
        cache: Cache | None = None,
    ) -> Float[Tensor, "B T V"]:
        """Scores of each next token. `images` come from `see`; `looks_at` tells which of them each token reads, all
        where it is not given. With a cache, images are read once, at the first call. Without images, only the gated
        blocks' feed-forward branches are left of them.
        """
        if images is None:
            images = self._nothing(tokens)
            looks_at = torch.zeros(*tokens.shape, 1, dtype=torch.bool, device=tokens.device)
        if looks_at is not None:
            if looks_at.shape != (*tokens.shape, images.shape[1]):
                raise UserError(
                    f"looks_at of shape {tuple(looks_at.shape)} does not tell for each of {tokens.shape[1]} tokens "
                    f"which of {images.shape[1]} images it reads; make it with nearest_image(is_image, num_images)."
                )
            looks_at = looks_at.repeat_interleave(images.shape[2], dim=2)  # B T (I S)
        return self.language(tokens, is_real=is_real, cache=cache, source=images.flatten(1, 2), looks_at=looks_at)

    def see(self, pixels: Float[Tensor, "B I 3 H W"]) -> Float[Tensor, "B I S D"]:
        """What the language model reads of each image."""
        x = self._tower(pixels.flatten(0, 1))
        return self.resample(x.unflatten(0, pixels.shape[:2]))

    def resample(self, seen: Float[Tensor, "B I S D"]) -> Float[Tensor, "B I Q D"]:
        """The vision tower's tokens made few, where there is a resampler."""
        if self.resampler is None:
            return seen
        return self.resampler(seen.flatten(0, 1)).unflatten(0, seen.shape[:2])

    def summary(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D"]:
        """What stands for the whole image in the vision tower; the language model does not read it."""
        return self.vision_norm(self._tower(pixels)[:, 0])

    def freeze_finished(self) -> None:
        """Leave only what is new to be trained: resampler and gated blocks."""
        self.requires_grad_(False)
        for part in (self.resampler, self.language.trunk.looks):
            if part is not None:
                part.requires_grad_(True)

    def _nothing(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B 1 1 D"]:
        """In place of images, where there are none."""
        return self.language.embed.tokens.weight.new_zeros(len(tokens), 1, 1, self.config.vision.trunk.width)

    def _tower(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B S D"]:
        return self.vision.hidden(pixels).values


def nearest_image(
    is_image: Bool[Tensor, "B T"], num_images: int, num_before: Int[Tensor, " B"] | None = None
) -> Bool[Tensor, "B T I"]:
    """Which image each token reads: the last one at or before it, as in Flamingo; none where there is none yet.

    `is_image` marks the tokens that stand for images, in their order. `num_before` are the images of the text that a
    cache holds already. Raises UserError when the text names more images than there are.
    """
    number = is_image.long().cumsum(1)  # B T, from 1
    if num_before is not None:
        number = number + num_before[:, None]
    most = int(number.max()) if number.numel() else 0
    if most > num_images:
        raise UserError(f"The text names {most} images and {num_images} are given; give one for each image token.")
    return number[:, :, None] == torch.arange(1, num_images + 1, device=is_image.device)
