"""What a run of `train describe` was asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from beholder.models.gpt import GPTConfig
from beholder.models.vision_language import FusionName
from beholder.recipes.language.settings import TRUNKS
from beholder.tokenizers.captions import CaptionConfig
from beholder.types import UserError

Size = Literal["tiny", "small", "debug"]
Tuning = Literal["frozen", "low-rank", "full"]
CONTEXT = 512
"""Tokens that it reads: a few images with examples of what to say."""


@dataclass(frozen=True)
class DescribeTraining:
    """Every choice that decides the numbers; frozen, written to `recipe.json`, compared when a run is resumed."""

    fusion: FusionName = "linear"
    """linear: what is seen stands among the words. gated: blocks that look are put between the language model's."""
    tuning: Tuning = "frozen"
    """Of a named language model. frozen: it stays as it is. low-rank: two thin matrices a layer are learned and merged.
    full: all of it learns, at a rate of its own."""
    rank: int = 8
    """Of the thin matrices."""
    full_rate: float = 0.05
    """How many times as fast as what is new a named language model learns as a whole."""
    vision_tuning: Tuning = "frozen"
    """Of what sees, in the same ways; it learns first, with a speaker that is then set aside."""
    vision_rate: float = 0.02
    """How many times as fast as what is new a vision backbone learns as a whole."""
    seeing_share: float = 0.5
    """Of the budget, in addition to it, for a vision backbone that is tuned."""
    size: Size = "tiny"
    """Of a language model of one's own."""
    budget: str = "8m"
    """For learning to speak of images: a time such as "90s", "5m", "2h", or "400 steps"."""
    language_share: float = 0.25
    """Of the budget, in addition to it, for a language model of one's own to learn the language first, from the texts
    alone; 0: it learns it with the images."""
    batch_size: int = 32
    """Answers a step."""
    lr: float = 1e-3
    words: CaptionConfig = field(default_factory=lambda: CaptionConfig(vocabulary_size=2048))
    """Of a language model of one's own."""
    side: int = 4
    """An image is seen as its summary and so many times so many parts."""
    num_views: int = 2
    """2: each image is seen as it is and mirrored, unless what is said tells left from right; 1: as it is."""
    dropout: float = 0.3
    """Share of an image's tokens that a step does not see."""
    blank_share: float = 0.1
    """Of images that are not shown at all, so that the model knows what to say without looking."""
    num_shots: int = 4
    """Most examples that stand before a question in training, so that the model can be shown some when it is asked
    (Flamingo: 4 and more). With few images it also learns more from such rows: docs/benchmarks.md."""
    regions: bool = False
    """Whether images are also taken apart, and phrases about their parts joined into a description."""
    joining_share: float = 0.5
    """Of the budget, in addition to it, for learning to join phrases."""
    joining_rate: float = 0.3
    """How many times as fast joining is learned: what goes on from learned weights at the full rate forgets."""
    num_beams: int = 3
    num_judged: int = 300
    """Most held-out images, or questions, that tell the result."""

    def language(self, vocabulary_size: int) -> GPTConfig:
        """A language model of one's own."""
        return GPTConfig(vocabulary_size, None, context_length=CONTEXT, trunk=TRUNKS[self.size])


def check(settings: DescribeTraining) -> None:
    """Raises UserError for numbers that cannot work, before anything is read."""
    least_of = {"batch_size": 1, "side": 1, "num_beams": 1, "num_judged": 2, "num_shots": 0, "rank": 1}
    for name, least in least_of.items():
        if getattr(settings, name) < least:
            raise UserError(f"{name}={getattr(settings, name)}: at least {least} is needed.")
    if settings.num_views not in (1, 2):
        raise UserError(f"num_views={settings.num_views}: an image is seen as it is and mirrored; give 1 or 2.")
    for name in ("full_rate", "vision_rate", "seeing_share", "joining_share", "joining_rate"):
        if not 0 < getattr(settings, name) <= 1:
            raise UserError(f"{name}={getattr(settings, name)}: it must be a share above 0, up to 1.")
    for name in ("language_share", "dropout", "blank_share"):
        if not 0 <= getattr(settings, name) < 1:
            raise UserError(f"{name}={getattr(settings, name)}: it must be a share from 0 up to 1, without 1.")
