"""Pairs to learn from, as pure functions of (seed, step): rows of tokens for what draws, pixels and texts for what
reranks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int, UInt8

from beholder.data.augment import AugmentConfig, augment
from beholder.recipes.coded_pictures import CodeTables
from beholder.recipes.text_to_image.material import Material
from beholder.recipes.text_to_image.settings import TextToImageTraining
from beholder.runtime.seed import numpy_generator, torch_generator
from beholder.tokenizers.captioned import CaptionedConfig, weigh_captioned, without_captions, write_captioned
from beholder.types import Batch

_CROPS = (0.7, 1.0)
"""Shares of a picture that what reranks sees; colours stay, for captions name them."""


@dataclass(frozen=True)
class CaptionedStream:
    """Endless rows of a caption and its picture, some without the caption."""

    material: Material
    tables: CodeTables
    grammar: CaptionedConfig
    settings: TextToImageTraining
    batch_size: int
    seed: int

    def batch(self, step: int) -> Batch:
        """ "tokens": int64 B T; "weights": float B T, how much each counts as something to foretell."""
        generator = numpy_generator(self.seed, "rows", step)
        places = generator.choice(self.material.places(False), self.batch_size)
        is_mirrored = draw_mirrored(self.material, places, self.settings.num_views, generator)
        codes = np.stack([self.tables.plain(int(p), int(v)) for p, v in zip(places, is_mirrored, strict=True)])
        tokens = write_captioned(self.material.rows[places], codes, self.grammar)
        is_dropped = generator.random(len(tokens)) < self.settings.drop_share
        tokens = without_captions(tokens, is_dropped, self.grammar)
        is_foretold = self.settings.form == "causal"  # else captions are read, and codes alone are written
        weights = weigh_captioned(tokens, self.grammar, self.settings.caption_share if is_foretold else 0.0)
        return {"tokens": torch.from_numpy(tokens), "weights": torch.from_numpy(weights)}


@dataclass(frozen=True)
class SeenPairs:
    """Endless pictures beside their texts, each picture as it is or as the tokenizer paints it: what is drawn later on
    is painted."""

    material: Material
    squares: UInt8[np.ndarray, "n S S 3"]
    painted: UInt8[np.ndarray, "n S S 3"]
    texts: Int[torch.Tensor, "m T"]
    """The distinct texts, as the reranker reads them."""
    text_of: Int[np.ndarray, " n"]
    """Which of them each picture has."""
    batch_size: int
    num_views: int
    seed: int

    def batch(self, step: int) -> Batch:
        """ "pixels": float B 3 S S; "tokens": Q T, the distinct texts of the batch; "text_of": B, each picture's."""
        generator = numpy_generator(self.seed, "seen", step)
        known = self.material.places(False)
        places = generator.choice(known, min(self.batch_size, len(known)), replace=False)
        is_painted = generator.random(len(places)) < 0.5
        pictures = np.where(is_painted[:, None, None, None], self.painted[places], self.squares[places])
        is_mirrored = draw_mirrored(self.material, places, self.num_views, generator)
        pictures = np.where(is_mirrored[:, None, None, None], pictures[:, :, ::-1], pictures)
        views = AugmentConfig(
            size=pictures.shape[1], crop_area=_CROPS, horizontal_flip=0.0, jitter=0.0, grey=0.0, blur=0.0
        )
        pixels = augment(
            torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))), views,
            torch_generator(self.seed, "crops", step),
        )  # fmt: skip
        rows, owners = np.unique(self.text_of[places], return_inverse=True)
        return {"pixels": pixels, "tokens": self.texts[rows], "text_of": torch.from_numpy(owners.reshape(-1))}


def draw_mirrored(
    material: Material, places: Int[np.ndarray, " B"], num_views: int, generator: np.random.Generator
) -> np.ndarray:
    """Which pictures are taken mirrored (bool B): half of them, but none whose caption tells left from right."""
    drawn = generator.integers(0, num_views, len(places)).astype(bool)
    return drawn & ~material.is_sided[places]
