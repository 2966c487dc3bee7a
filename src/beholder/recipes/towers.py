"""Towers by name: the embedded ones, or any vision model and any reader of sentences that `load` opens."""

from __future__ import annotations

from torch import nn

from beholder.models.bert import BERT
from beholder.models.families import FAMILIES
from beholder.models.pairs import FrozenImages, FrozenTexts
from beholder.pretrained.bundle import Bundle
from beholder.pretrained.embedded import DEFAULT_PAIRS
from beholder.pretrained.load import load
from beholder.pretrained.part_folder import need_whole
from beholder.pretrained.towers import Towers, embedded_images, embedded_names, embedded_texts
from beholder.tokenizers.pixels import PixelConfig
from beholder.tokenizers.text import Words
from beholder.types import UserError


def open_towers(image: str, text: str) -> Towers:
    """The towers that these names mean. Raises UserError when one is of a kind that cannot be a tower."""
    texts, words = embedded_texts() if text == DEFAULT_PAIRS else _texts(text)
    if image != DEFAULT_PAIRS:
        images, pixels = _images(image)
    else:
        names = embedded_names(texts, words) if text == DEFAULT_PAIRS else None
        images, pixels = embedded_images(names), PixelConfig()
    return Towers(images, texts, pixels, words, image == DEFAULT_PAIRS, text == DEFAULT_PAIRS)


def _images(name: str) -> tuple[FrozenImages, PixelConfig]:
    """Of a model that adapt made, the backbone that it adapted: the last one."""
    loaded = need_whole(load(name))
    backbone: nn.Module = loaded.model.embedder.backbones[-1] if isinstance(loaded, Bundle) else loaded.model
    if not any(type(backbone) is family.module for family in FAMILIES.values()):
        raise UserError(
            f"{name} is no vision model with features; name a model that adapt made, a ViT or DINO, or embedded."
        )
    pixels = loaded.pixels if isinstance(loaded, Bundle) else loaded.need_pixels()
    return FrozenImages(backbone), pixels


def _texts(name: str) -> tuple[FrozenTexts, Words]:
    loaded = need_whole(load(name))
    if isinstance(loaded, Bundle) or not isinstance(loaded.model, BERT):
        raise UserError(f"{name} is no reader of sentences; name one of BERT's kind, such as MiniLM, or embedded.")
    return FrozenTexts(loaded.model), loaded.need_words()
