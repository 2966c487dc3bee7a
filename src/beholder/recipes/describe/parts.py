"""The two sides of a describer: what sees, and what speaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from beholder.models.gpt import GPT, GPTConfig
from beholder.models.seen import SeenTokens
from beholder.models.vision_language import VisionLanguage, VisionLanguageConfig
from beholder.pretrained.bundle import Bundle
from beholder.pretrained.describer_folder import embedded_vision
from beholder.pretrained.embedded import DEFAULT_PAIRS
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.pretrained.load import load
from beholder.pretrained.part_folder import need_whole
from beholder.recipes.describe.settings import DescribeTraining
from beholder.runtime.seed import seed_everything
from beholder.tokenizers.captions import as_words, learn_captions
from beholder.tokenizers.pixels import PixelConfig
from beholder.tokenizers.text import Words, WordsConfig
from beholder.trunk.lowrank import attach_low_rank
from beholder.types import UserError

OWN = "own"
"""The name of a language model that is trained here."""


@dataclass(frozen=True)
class Vision:
    """What sees."""

    tokens: SeenTokens
    pixels: PixelConfig
    is_embedded: bool


@dataclass(frozen=True)
class Language:
    """What speaks, and its words."""

    config: GPTConfig
    words: Words
    model: GPT | None
    """None: it is trained here."""


def open_vision(name: str, side: int) -> Vision:
    """By name: embedded, a model that adapt made, a ViT, DINO or CLIP. Raises UserError for what gives no tokens."""
    if name == DEFAULT_PAIRS:
        return Vision(embedded_vision(side), PixelConfig(), True)
    loaded = need_whole(load(name))
    if isinstance(loaded, Bundle):
        return Vision(SeenTokens(loaded.model.embedder.backbones[-1], side), loaded.pixels, False)
    return Vision(SeenTokens(loaded.model, side), loaded.need_pixels(), False)


def open_language(name: str, settings: DescribeTraining, texts: Sequence[str]) -> Language:
    """By name: own, whose words are learned from these texts, or a GPT, LLaMA or the like. Raises UserError for one
    that does not write, or has no tokenizer or none that ends a text."""
    if name == OWN:
        words = as_words(learn_captions(texts, settings.words))
        words = replace(words, config=WordsConfig(None, words.config.num_rows))
        assert words.config.num_rows is not None
        return Language(settings.language(words.config.num_rows), words, None)
    loaded = need_whole(load(name))
    if not isinstance(loaded, Foreign) or not isinstance(loaded.model, GPT):
        raise UserError(f"{name} is no language model that writes; name a GPT, LLaMA, Qwen or the like, or {OWN}.")
    return Language(loaded.config, loaded.need_words(), loaded.model)


def build_speaker(
    settings: DescribeTraining, vision: SeenTokens, language: Language, spoken: GPT, seed: int
) -> VisionLanguage:
    """A model whose fusion is fresh, and whose language model is `spoken`."""
    seed_everything(seed, "speaker")
    speaker = VisionLanguage(
        VisionLanguageConfig(
            settings.fusion,
            vision.width,
            vision.num_tokens,
            language.config,
            points=settings.regions and language.model is None,
        )
    ).to(_dtype(spoken))
    told = speaker.language.load_state_dict(spoken.state_dict(), strict=False)
    assert not told.unexpected_keys and all(".looks." in f".{name}" for name in told.missing_keys), told
    return speaker


def choose_what_learns(speaker: VisionLanguage, settings: DescribeTraining) -> None:
    """Of a speaker with a named language model: what was not there before, the fusion and blocks that look; and of the
    language model what its tuning asks for."""
    language = speaker.language
    if settings.tuning == "full":
        return
    language.requires_grad_(False)
    if settings.tuning == "low-rank":
        attach_low_rank(language.trunk.blocks, settings.rank)
    language.trunk.looks.requires_grad_(True)


def rates_of(language: Language, settings: DescribeTraining) -> tuple[tuple[str, float], ...]:
    """How much slower than the rest a named language model learns as a whole."""
    if language.model is None or settings.tuning != "full":
        return ()
    return (("model.language.", settings.full_rate), ("model.language.trunk.looks.", 1.0))


def _dtype(model: nn.Module) -> torch.dtype:
    return torch.float32 if next(model.parameters()).dtype == torch.float16 else next(model.parameters()).dtype
