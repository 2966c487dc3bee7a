"""How what was seen in images enters a language model's text: as tokens among its words, by one linear map (Liu et al.
2023, arXiv 2304.08485), or beside them, through gated blocks that look (Flamingo: Alayrac et al. 2022, arXiv
2204.14198).

A row of tokens names what was seen by numbers beyond the vocabulary of V words. With P places an image, V + i (P + 1) +
p is place p of the row's image i, and p = P the one place of an image that is shown briefly: by its summary, which is
the first of its tokens. In shapes, I is the number of images and C the width of what was seen of each.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from beholder.models.gpt import GPT
from beholder.trunk.cache import Cache
from beholder.trunk.embed import Instead
from beholder.trunk.resampler import Resampler, ResamplerConfig
from beholder.types import UserError

_LATEST = "latest image"
_STD = 0.02


class LinearFusion(nn.Module):
    """z = W y + b, each token of an image becoming one of the text."""

    def __init__(self, seen_width: int, num_tokens: int, width: int) -> None:
        super().__init__()
        self.places = num_tokens
        """Tokens of the text that an image takes."""
        self.project = nn.Linear(seen_width, width)
        nn.init.normal_(self.project.weight, std=_STD * seen_width**-0.5)  # as large as a word's row
        nn.init.zeros_(self.project.bias)

    def read(
        self, language: GPT, tokens: Int[Tensor, "B T"], images: Float[Tensor, "B I S C"] | None, **told: Any
    ) -> Float[Tensor, "B T D"]:
        """The last block's tokens."""
        number = tokens - language.config.vocabulary_size
        if images is None or not (number >= 0).any():  # such as every word that is written after the images
            return language.hidden(tokens, **told)
        check_numbers(number, images.shape[1], self.places)
        values = self.project(images).flatten(1, 2)  # B (I S) D
        image, place = number.div(self.places + 1, rounding_mode="floor"), number.remainder(self.places + 1)
        index = image * self.places + torch.where(place == self.places, 0, place)
        index = index.clamp(0, values.shape[1] - 1)
        values = values.gather(1, index[:, :, None].expand(-1, -1, values.shape[2]))
        return language.hidden(tokens, instead=Instead(number >= 0, values), **told)


class GatedFusion(nn.Module):
    """The image has one token in the text, and each token after it looks at what a resampler made of that image. With
    its gates shut, the language model is what it was."""

    def __init__(self, seen_width: int, num_tokens: int, width: int, resampler: ResamplerConfig | None) -> None:
        super().__init__()
        self.places = 1
        """Tokens of the text that an image takes."""
        self.project = nn.Linear(seen_width, width)
        self.where = nn.Parameter(torch.randn(num_tokens, width) * _STD)
        """Tells each token of an image its place in it."""
        self.mark = nn.Parameter(torch.randn(width) * _STD)
        """Stands in the text for an image."""
        self.resampler = None if resampler is None else Resampler(resampler, width)

    def read(
        self, language: GPT, tokens: Int[Tensor, "B T"], images: Float[Tensor, "B I S C"] | None, *,
        cache: Cache | None = None, **told: Any,
    ) -> Float[Tensor, "B T D"]:  # fmt: skip
        """The last block's tokens. Each looks at the last image at or before it, at none where there is none yet."""
        number = tokens - language.config.vocabulary_size
        image = number.div(self.places + 1, rounding_mode="floor") + 1  # from 1; none below
        latest = image.clamp_min(0).cummax(1).values
        if cache is not None:
            latest = latest.maximum(cache.marks.get(_LATEST, latest.new_zeros(len(tokens), 1)))
            cache.marks[_LATEST] = latest[:, -1:]
        width = self.mark.shape[0]
        if images is None:
            source, num_images, each = self.mark.new_zeros(len(tokens), 1, width), 1, 1
            latest = torch.zeros_like(latest)
        else:
            num_images = images.shape[1]
            check_numbers(number, num_images, self.places)
            each = self._num_read(images)
            is_read = cache is not None and bool(cache.sources)  # its keys and values lie in the cache
            nothing = self.mark.new_zeros(1).expand(len(tokens), num_images * each, width)
            source = nothing if is_read else self._seen(images)
        looks_at = latest[:, :, None] == torch.arange(1, num_images + 1, device=tokens.device)
        looks_at = looks_at.repeat_interleave(each, dim=2)  # B T (I Q)
        instead = Instead(number >= 0, self.mark.expand(*tokens.shape, -1))
        return language.hidden(tokens, instead=instead, source=source, looks_at=looks_at, cache=cache, **told)

    def _num_read(self, images: Tensor) -> int:
        """Tokens that each image is read as."""
        return images.shape[2] if self.resampler is None else self.resampler.config.num_queries

    def _seen(self, images: Float[Tensor, "B I S C"]) -> Float[Tensor, "B J D"]:
        x = (self.project(images) + self.where).flatten(0, 1)
        x = x if self.resampler is None else self.resampler(x)
        return x.unflatten(0, images.shape[:2]).flatten(1, 2)


def check_numbers(number: Int[Tensor, "B T"], num_given: int, places: int) -> None:
    """Raises UserError when a text names more images than are given."""
    named = int(number.max()) // (places + 1) + 1 if number.numel() else 0
    if named > num_given:
        raise UserError(
            f"The text has places for {named:,} images and {num_given:,} are given; give one for each place."
        )
