"""A model twice: plain, and with the low-rank updates that learn."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import cast

from torch import nn

from beholder.runtime.seed import seed_everything
from beholder.tasks.shared_space import SharedSpace
from beholder.trunk.lowrank import attach_low_rank, write_low_rank


@dataclass(frozen=True)
class Tunable:
    """The space is of the plain model, whose weights `at` writes."""

    space: SharedSpace
    learning: nn.Module

    def at(self, share: float) -> SharedSpace:
        """The space with this share of what was learned in its model, to the bit as it would ship; it holds until the
        next call."""
        write_low_rank(self.learning, self.plain, share)
        return self.space

    @property
    def plain(self) -> nn.Module:
        return cast(nn.Module, self.space.model)


def make_tunable(space: SharedSpace, rank: int, seed: int) -> Tunable:
    """Fresh updates of all matrices of both towers, the same ones for the same seed."""
    learning = copy.deepcopy(cast(nn.Module, space.model))
    seed_everything(seed, "tuning")
    return Tunable(space, attach_low_rank(learning, rank))
