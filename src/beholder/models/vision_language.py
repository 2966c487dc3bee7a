"""A language model that sees: what a vision tower says of images is fused with its text, in one of two ways."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from beholder.models.fusion import GatedFusion, LinearFusion
from beholder.models.gpt import GPT, PRESETS, GPTConfig
from beholder.models.told import ToldWords, turns_of
from beholder.trunk.cache import Cache
from beholder.trunk.gated import GatedConfig
from beholder.trunk.resampler import ResamplerConfig

_LEAST_SPREAD = 1e-3
FusionName = Literal["linear", "gated"]


@dataclass(frozen=True)
class VisionLanguageConfig:
    """Shape of the model; the vision tower stands beside it."""

    fusion: FusionName = "linear"
    """linear: an image's tokens stand among the words. gated: new blocks look at them (Flamingo)."""
    seen_width: int = 1280
    """Numbers of each token that the vision tower gives."""
    seen_tokens: int = 17
    """Tokens that it gives of an image."""
    language: GPTConfig = field(default_factory=lambda: PRESETS["gpt2"])
    """Without gated blocks; the fusion adds them."""
    gated_every: int = 1
    """A gated block before each so many of the language model's."""
    resampler: ResamplerConfig | None = None
    """Of the gated fusion: makes an image's tokens few; None: all are looked at."""
    points: bool = False
    """Whether words that were told of parts of an image are said again more readily (`models.told`)."""


class VisionLanguage(nn.Module):
    """Rows of text and images to scores of the next word. `models.fusion` tells how rows name images."""

    def __init__(self, config: VisionLanguageConfig) -> None:
        super().__init__()
        self.config = config
        width = config.language.trunk.width
        self.register_buffer("seen_mean", torch.zeros(config.seen_width))
        self.register_buffer("seen_spread", torch.ones(config.seen_width))
        self.seen_mean: Tensor
        self.seen_spread: Tensor
        if config.fusion == "linear":
            self.language = GPT(config.language)
            self.fusion = LinearFusion(config.seen_width, config.seen_tokens, width)
        else:
            self.language = GPT(with_looks(config.language, config.gated_every))
            self.fusion = GatedFusion(config.seen_width, config.seen_tokens, width, config.resampler)
        self.told = ToldWords(width) if config.points else None

    @property
    def places_per_image(self) -> int:
        """Tokens of a row that an image takes."""
        return self.fusion.places

    @property
    def longest(self) -> int | None:
        """Tokens of a row that the model can read, as far as it says so."""
        return self.language.longest

    @property
    def head_weight(self) -> Float[Tensor, "V D"]:
        """Rows whose products with a token of the trunk are the scores."""
        return self.language.head_weight

    def forward(
        self, tokens: Int[Tensor, "B T"], images: Float[Tensor, "B I S C"] | None = None, **told: Any
    ) -> Float[Tensor, "B T V"]:
        """Scores of each next word. Arguments as of `hidden`."""
        return self.language.logits(self.hidden(tokens, images, **told))

    def hidden(
        self,
        tokens: Int[Tensor, "B T"],
        images: Float[Tensor, "B I S C"] | None = None,
        *,
        is_real: Bool[Tensor, "B held"] | None = None,
        cache: Cache | None = None,
    ) -> Float[Tensor, "B T D"]:
        """The last block's tokens, normalised. `images` are what the vision tower said of each image of a row, in the
        row's order; rows with fewer are filled up with anything. With a cache they are given at every call.

        Raises UserError for a row with places for more images than there are.
        """
        if images is not None:
            images = (images - self.seen_mean) / self.seen_spread
        x = self.fusion.read(self.language, tokens, images, is_real=is_real, cache=cache)
        if self.told is None:
            return x
        turns = turns_of(tokens - self.config.language.vocabulary_size, self.fusion.places, cache)
        return self.told(x, tokens, turns, self.head_weight, cache)

    @torch.no_grad()
    def measure(self, images: Float[Tensor, "N S C"]) -> None:
        """From now on what is seen counts in units of its spread over these images, about their mean."""
        seen = images.flatten(0, 1).double()
        self.seen_mean.copy_(seen.mean(0))
        self.seen_spread.copy_(seen.std(0).clamp_min(_LEAST_SPREAD))


class WithImages(nn.Module):
    """A model and images that it has before it: what is left is called as a `GPT` is, so that `generate`, `stream` and
    `search_beams` drive it, with as many prompts as there are rows of images, in the same order."""

    def __init__(self, model: VisionLanguage, images: Float[Tensor, "B I S C"] | None) -> None:
        super().__init__()
        self.model = model
        self._images = None if images is None else images.to(next(model.parameters()).device)

    @property
    def longest(self) -> int | None:
        """Tokens that the model can read, as far as it says so."""
        return self.model.longest

    def forward(
        self, tokens: Int[Tensor, "B T"], *, is_real: Bool[Tensor, "B held"] | None = None, cache: Cache | None = None
    ) -> Float[Tensor, "B T V"]:
        """Scores of each next word."""
        return self.model(tokens, self._images_of(cache), is_real=is_real, cache=cache)

    def next_scores(
        self, tokens: Int[Tensor, "B T"], *, is_real: Bool[Tensor, "B held"] | None = None, cache: Cache | None = None
    ) -> Float[Tensor, "B V"]:
        """Scores of what comes after the last token alone."""
        x = self.model.hidden(tokens, self._images_of(cache), is_real=is_real, cache=cache)
        return self.model.language.logits(x[:, -1])

    def _images_of(self, cache: Cache | None) -> Tensor | None:
        if self._images is None or cache is None or cache.rows is None:
            return self._images
        return self._images[cache.rows]


def with_looks(language: GPTConfig, every: int) -> GPTConfig:
    """The same language model with gated blocks that look at tokens of its own width."""
    trunk = language.trunk
    gated = GatedConfig(trunk.width, every, attention=trunk.attention, mlp=trunk.mlp)
    return replace(language, trunk=replace(trunk, gated=gated))
