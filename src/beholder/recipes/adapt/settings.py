"""What a run of `adapt` was asked to do: the part of `recipe.json` that decides its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from beholder.config import from_json, to_json
from beholder.data.decode import Limits
from beholder.recipes.budget import parse_budget
from beholder.types import UserError

FRACTIONS = (0.01, 0.05, 0.10, 0.25, 0.50, 1.0)
RESOLUTIONS = (128, 224, 300)


@dataclass(frozen=True)
class AdaptConfig:
    """Every choice of a run; frozen, written to `recipe.json`, compared when a run is resumed."""

    photos: str
    """The folder, or a table of images."""
    labels: str | None = None
    """A table of labels, "auto" for those that the layout carries, None for none."""
    group: str | None = None
    """Column (or "folder") whose values never straddle a split."""
    normal: str | None = None
    """The class of normal images; found by its name where None."""
    budget: str = "5m"
    """For pretraining: a time such as "90s", "5m", "2h", or "400 steps", or "0" for none."""
    backbone: Literal["conv", "vit"] = "conv"
    """conv continues from ImageNet weights; vit is a small transformer from scratch."""
    objective: Literal["auto", "teacher", "masked", "own-class"] = "auto"
    """How it learns from images without labels; `method` says what auto is."""
    finetune: Literal["none", "low-rank", "full"] = "none"
    """Whether the backbone also learns from the labels, by thin matrices or with all its weights."""
    lvm: str | None = None
    """A model of visual sentences whose features are judged beside the others, and never shipped."""
    thorough: bool = False
    """Repeat everything on four grouped folds instead of one split."""
    resolutions: tuple[int, ...] = RESOLUTIONS
    embedding_width: int = 256
    fractions: tuple[float, ...] = FRACTIONS
    num_label_seeds: int = 3
    max_pixels: int = 100_000_000
    """Larger images are quarantined before they are decoded."""
    seed: int = 0
    device: str = "auto"
    threads: int | None = None

    @property
    def method(self) -> Literal["teacher", "masked", "own-class"]:
        """The objective: the one that was asked for, or the one that suits the backbone (docs/labels.md measured
        own-class on the generic network; a transformer from scratch was measured with the teacher)."""
        if self.objective != "auto":
            return self.objective
        return "own-class" if self.backbone == "conv" else "teacher"


def check(config: AdaptConfig) -> AdaptConfig:
    """The same settings, of the right types. Raises UserError for what cannot work, before anything is read."""
    config = from_json(AdaptConfig, to_json(config))
    parse_budget(config.budget)
    for side in config.resolutions:
        if not 32 <= side <= 2048:
            raise UserError(
                f"--resolutions {side}: a side lies between 32 and 2048 pixels; the default is 128 224 300."
            )
    if not config.resolutions:
        raise UserError("--resolutions is empty; name at least one side in pixels, such as 224.")
    if config.lvm is not None and config.labels is None:
        raise UserError(
            f"--lvm {config.lvm}: its features are judged by what few labels make of them, and there are none; give "
            "--labels, or leave --lvm out."
        )
    Limits(config.max_pixels)
    return config
