"""The trainings of a run: every size, and the smallest with several seeds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from beholder.models.lvm import LVM
from beholder.recipes.lvm.fit import build_model
from beholder.recipes.scale_law.settings import ScaleLaw, check_growth, parse_size
from beholder.runtime.seed import derive
from beholder.tokenizers.sentences import SentenceConfig


@dataclass(frozen=True)
class Member:
    """One training of one size."""

    name: str
    """Of the stage."""
    size: str
    width: int
    lr: float
    seed: int
    """Of its first weights; what it reads does not depend on it."""
    parameters: int
    trunk_parameters: int

    @property
    def is_again(self) -> bool:
        """Whether it only tells how much luck there is."""
        return self.name != self.size

    def build(self, num_pictures: int, grammar: SentenceConfig) -> LVM:
        """The fresh model."""
        return build_model(parse_size(self.size), num_pictures, grammar, self.seed)


def members_of(settings: ScaleLaw, grammar: SentenceConfig, seed: int) -> list[Member]:
    """The trainings, the smallest size first and several times. Raises UserError for sizes that hardly grow."""
    found = []
    for name in settings.sizes:
        trunk = parse_size(name)
        with torch.device("meta"):  # counted, not made
            model = build_model(trunk, settings.num_pictures, grammar, seed)
        counts = [sum(one.numel() for one in part.parameters()) for part in (model, model.gpt.trunk)]
        found.append(Member(name, name, trunk.width, settings.lr_of(trunk.width), seed, counts[0], counts[1]))
    found.sort(key=lambda member: member.parameters)
    check_growth([member.size for member in found], [member.parameters for member in found])
    again = [
        replace(found[0], name=f"{found[0].size}-again-{turn}", seed=derive(seed, "again", turn))
        for turn in range(1, settings.num_seeds)
    ]
    return [found[0], *again, *found[1:]]
