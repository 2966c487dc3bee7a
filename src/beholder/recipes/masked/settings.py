"""What a run of `train masked` was asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from beholder.inference.unmask import UnmaskConfig
from beholder.objectives.masked_codes import MaskedCodesConfig
from beholder.tokenizers.captions import CaptionConfig
from beholder.types import UserError

Size = Literal["tiny", "small", "base", "debug"]


@dataclass(frozen=True)
class MaskedTraining:
    """Every choice that decides the numbers; frozen, written to `recipe.json`, compared when a run is resumed."""

    size: Size = "tiny"
    has_labels: bool = True
    """Whether classes are learned as something to ask for, where the data have them."""
    has_texts: bool = True
    """Whether captions are, where the data have them."""
    budget: str = "12m"
    """A time such as "90s", "5m", "2h", or "400 steps"."""
    batch_size: int = 64
    """Pictures a step."""
    lr: float = 2e-3
    objective: MaskedCodesConfig = field(default_factory=MaskedCodesConfig)
    captions: CaptionConfig = field(default_factory=CaptionConfig)
    decoding: UnmaskConfig = field(default_factory=UnmaskConfig)
    """Of the pictures by which it is judged."""
    guidance: float = 2.0
    """Of those that are asked for by a class or a caption."""
    num_judged: int = 48
    """Most held-out pictures into which holes are put, each twice."""
    num_samples: int = 192
    """Pictures painted from nothing, and as many by class, by which those are judged."""
    group: str | None = None
    """A column of the table, or "folder": what belongs together and stays on one side of the split."""

    @property
    def asked(self) -> UnmaskConfig:
        """The decoding of pictures that something is asked of."""
        return replace(self.decoding, guidance=self.guidance)


def check(settings: MaskedTraining) -> None:
    """Raises UserError for counts that cannot work, before anything is read."""
    for name, option in (
        ("batch_size", "--batch-size"),
        ("num_judged", "num_judged="),
        ("num_samples", "num_samples="),
    ):
        if getattr(settings, name) < 1:
            gap = "" if option.endswith("=") else " "
            raise UserError(f"{option}{gap}{getattr(settings, name)}: at least 1 is needed.")
    if not settings.lr > 0:
        raise UserError(f"lr={settings.lr}: it must be above 0; 2e-3 is usual.")
    for name in ("block_share", "drop_condition", "smoothing"):
        if not 0 <= getattr(settings.objective, name) < 1:
            raise UserError(
                f"{name}={getattr(settings.objective, name)}: it must be a share from 0 up to 1, without 1."
            )
