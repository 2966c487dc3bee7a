"""What a run of `train text-to-image` was asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from beholder.inference.guidance import check_guidance
from beholder.models.dalle import Form
from beholder.tokenizers.captions import CaptionConfig
from beholder.types import UserError

Size = Literal["tiny", "small", "base", "debug"]


@dataclass(frozen=True)
class TextToImageTraining:
    """Every choice that decides the numbers; frozen, written to `recipe.json`, compared when a run is resumed."""

    form: Form = "causal"
    """causal: one trunk over the caption and then the picture. encoder-decoder: one trunk reads, another writes."""
    size: Size = "tiny"
    budget: str = "12m"
    """For the model that draws: a time such as "90s", "5m", "2h", or "400 steps"."""
    batch_size: int = 32
    """Pairs a step."""
    lr: float = 2e-3
    captions: CaptionConfig = field(default_factory=CaptionConfig)
    caption_share: float = 1 / 8
    """How much the caption's tokens count as something to foretell, beside the picture's (DALL-E: 1/8); not
    at all in the form of two trunks, where a caption is read only."""
    drop_share: float = 0.1
    """Share of pairs whose caption is left out, so that guidance knows what is drawn when nothing is asked for (Ho and
    Salimans 2022, arXiv 2207.12598: 0.1 to 0.2)."""
    num_views: int = 2
    """2: each picture is read as it is and mirrored, unless its caption tells left from right; 1: as it is."""
    reranker_share: float = 0.2
    """Of the budget, in addition to it, for the model that reranks; 0: none is trained."""
    guidance: float = 3.0
    """Of the pictures that are drawn along the way and to be judged."""
    num_judged: int = 96
    """Most held-out captions that tell the result."""
    num_candidates: int = 4
    """Pictures drawn for each of them, of which the reranker chooses one."""
    group: str | None = None
    """A column of the table, or "folder": what belongs together and stays on one side of the split."""


def check(settings: TextToImageTraining) -> None:
    """Raises UserError for numbers that cannot work, before anything is read."""
    for name, least in (("batch_size", 2), ("num_views", 1), ("num_judged", 2), ("num_candidates", 1)):
        if getattr(settings, name) < least:
            told = (
                f"--batch-size {settings.batch_size}" if name == "batch_size" else f"{name}={getattr(settings, name)}"
            )
            raise UserError(f"{told}: at least {least} is needed.")
    if settings.num_views > 2:
        raise UserError(f"num_views={settings.num_views}: a picture is read as it is and mirrored; give 1 or 2.")
    for name in ("caption_share", "drop_share", "reranker_share"):
        if not 0 <= getattr(settings, name) < 1:
            raise UserError(f"{name}={getattr(settings, name)}: it must be a share from 0 up to 1, without 1.")
    check_guidance(settings.guidance)
