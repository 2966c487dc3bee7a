"""What a run of `scale-law` was asked to do."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from beholder.evaluate.scaling_law import FEWEST_SIZES
from beholder.models.lvm import llama_trunk
from beholder.recipes.lvm.settings import LVMTraining
from beholder.recipes.lvm.settings import check as check_sentences
from beholder.runtime.log import size as size_of
from beholder.trunk.transformer import TransformerConfig
from beholder.types import UserError

SIZES = ("32x2", "64x2", "96x3", "128x4", "192x5")
"""With 1,024 codes on an 8 x 8 grid: 0.06, 0.18, 0.44, 0.95 and 2.4 million weights."""
_HEAD_WIDTH = 32
_LEAST_RATIO = 1.5
"""Of the weights of a size to those of the one before; sizes closer than that tell the same thing twice."""
_USUAL_WIDTH = 128
_DEEPEST = 200
_BYTES_PER_WEIGHT = 16
"""In training: the weight, its gradient, and two averages of the optimizer, of 4 bytes each."""
LR_RULE = "{lr:g} × √(128 / width): that of train lvm at its usual width, lower for wider models"


@dataclass(frozen=True)
class ScaleLaw:
    """Every choice that decides the numbers; frozen, written to `recipe.json`, compared when a run is resumed."""

    sizes: tuple[str, ...] = SIZES
    """WIDTHxDEPTH, each once."""
    tasks: tuple[str, ...] | None = None
    """As of `train lvm`."""
    budget: str = "20m"
    """Of the training of all sizes together."""
    num_pictures: int = 8
    """In a sentence."""
    batch_size: int = 16
    """Sentences a step, for every size."""
    lr: float = 2e-3
    """Of a model of width 128; it falls with the root of the width."""
    num_seeds: int = 3
    """Trainings of the smallest size, whose spread is taken as the luck of every size's training."""
    num_held_out: int = 96
    """Most held-out pictures that judge."""
    group: str | None = None
    """A column of the table, or "folder": what belongs together and stays on one side of the split."""

    def sentences(self) -> LVMTraining:
        """As `train lvm` writes them; its size is not used."""
        return LVMTraining(
            tasks=self.tasks,
            budget=self.budget,
            num_pictures=self.num_pictures,
            batch_size=self.batch_size,
            lr=self.lr,
            group=self.group,
        )

    def lr_of(self, width: int) -> float:
        """Highest learning rate of a model of that width."""
        return self.lr * math.sqrt(_USUAL_WIDTH / width)


def parse_size(text: str) -> TransformerConfig:
    """A trunk from WIDTHxDEPTH. Raises UserError for anything else."""
    found = re.fullmatch(r"(\d+)[x×](\d+)", text.strip())
    if not found:
        raise UserError(f"--sizes {text}: a size is WIDTHxDEPTH, such as 128x4.")
    width, depth = int(found[1]), int(found[2])
    if width % _HEAD_WIDTH or not width or not 1 <= depth <= _DEEPEST:
        raise UserError(
            f"--sizes {text}: the width is a multiple of {_HEAD_WIDTH}, and the depth lies between 1 and {_DEEPEST}."
        )
    return llama_trunk(width, depth, width // _HEAD_WIDTH)


def check(settings: ScaleLaw) -> None:
    """Raises UserError for what cannot work, before anything is read."""
    for size in settings.sizes:
        parse_size(size)
    if len(set(settings.sizes)) < FEWEST_SIZES:
        raise UserError(
            f"--sizes names {len(set(settings.sizes))} sizes: the law is fitted to all but the largest and has to "
            f"foretell that one, which takes at least {FEWEST_SIZES}; give more, such as {' '.join(SIZES)}."
        )
    if len(set(settings.sizes)) < len(settings.sizes):
        raise UserError(f"--sizes {' '.join(settings.sizes)}: give each once.")
    if settings.num_seeds < 2 or settings.num_held_out < 2:
        raise UserError(
            f"num_seeds={settings.num_seeds}, num_held_out={settings.num_held_out}: a spread takes two of each."
        )
    if settings.tasks == ("frames",):
        raise UserError("--tasks frames: no held-out picture ends a sentence of frames; name another task beside it.")
    check_sentences(settings.sentences())


def check_growth(names: Sequence[str], counts: Sequence[int]) -> None:
    """Raises UserError where a size, in rising order, is hardly larger than the one before."""
    for place in range(1, len(counts)):
        if counts[place] < _LEAST_RATIO * counts[place - 1]:
            raise UserError(
                f"--sizes {names[place - 1]} {names[place]}: they have {counts[place - 1]:,} and {counts[place]:,} "
                f"weights, and each size has to have {_LEAST_RATIO:g} times those of the one before; double them about."
            )


def check_memory(name: str, count: int, memory: int | None) -> None:
    """Raises UserError where the weights of a size and what training keeps of each exceed so many bytes."""
    if memory is not None and count * _BYTES_PER_WEIGHT > memory:
        raise UserError(
            f"--sizes {name}: {count:,} weights take {size_of(count * _BYTES_PER_WEIGHT)} to train, and there are "
            f"{size_of(memory)} of memory; give smaller sizes."
        )
