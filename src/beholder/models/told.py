"""Words that were told of parts of an image are said again more readily: a pointer at them (See et al. 2017, arXiv
1704.04368), whose gates are open one by one.

A small language model of one's own learns to take words over from its text only after very many steps; this gives it
the way from the first one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.trunk.cache import Cache

_KEY_WIDTH = 64
_KEYS, _WORDS, _TURNS, _LATEST = "told keys", "told words", "told turns", "told latest"
_CLOSED, _STRONG = -1.0, 2.0
"""What gates and the strength begin with: a quarter of what raises a word's score by two."""
_NEVER = torch.iinfo(torch.long).max


class ToldWords(nn.Module):
    """Adds to each token of the last block what raises the scores of the told words that it looks at."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ask, self.key = nn.Linear(width, _KEY_WIDTH), nn.Linear(width, _KEY_WIDTH)
        self.openness = nn.Parameter(torch.tensor(_CLOSED))
        self.strength = nn.Linear(width, 1)
        nn.init.zeros_(self.strength.weight)
        nn.init.constant_(self.strength.bias, _STRONG)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        tokens: Int[Tensor, "B T"],
        turns: Turns,
        table: Float[Tensor, "V D"],
        cache: Cache | None = None,
    ) -> Float[Tensor, "B T D"]:
        """`table` has the rows whose products with `x` are the words' scores; a word's own is raised by one where a
        gate and the strength are one."""
        asked, keys = self.ask(x), self.key(x)
        words, told_at = tokens.clamp_max(len(table) - 1), turns.told_at
        if cache is not None:
            keys, words, told_at = (
                _after(cache, name, values) for name, values in ((_KEYS, keys), (_WORDS, words), (_TURNS, told_at))
            )
        gates = torch.sigmoid(asked @ keys.transpose(1, 2) * _KEY_WIDTH**-0.5 + self.openness)  # B T S
        gates = gates * (told_at[:, None] <= turns.now[:, :, None])
        rows = F.embedding(words, table)
        rows = rows / rows.square().sum(-1, keepdim=True).clamp_min(1e-6)
        return x + F.softplus(self.strength(x)) * (gates.to(rows) @ rows)


@dataclass(frozen=True)
class Turns:
    """When words are told. Words after an image that was shown briefly, a part of one, are told from the next image on:
    what is being said of the part itself is not."""

    now: Int[Tensor, "B T"]
    """Images shown up to each token."""
    told_at: Int[Tensor, "B T"]
    """Images from which on each token is a told word."""


def turns_of(number: Int[Tensor, "B T"], places: int, cache: Cache | None = None) -> Turns:
    """`number` is that of a token among images' (`models.fusion`), below zero for words."""
    image, place = number.div(places + 1, rounding_mode="floor"), number.remainder(places + 1)
    latest = torch.where(number >= 0, 2 * (image + 1) + (place == places), 0)  # images are numbered on; odd: briefly
    latest = latest.cummax(1).values
    if cache is not None:
        latest = latest.maximum(cache.marks.get(_LATEST, latest.new_zeros(len(latest), 1)))
        cache.marks[_LATEST] = latest[:, -1:]
    now = latest.div(2, rounding_mode="floor")
    return Turns(now, torch.where((latest % 2 == 1) & (number < 0), now + 1, _NEVER))


def _after(cache: Cache, name: str, values: Tensor) -> Tensor:
    held = cache.marks.get(name)
    joined = values if held is None else torch.cat([held, values], dim=1)
    cache.marks[name] = joined
    return joined
