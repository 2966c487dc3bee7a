"""Words that were told of parts of an image are said again more readily: a pointer at them (See et al. 2017, arXiv
1704.04368), whose gates are open one by one.

A small language model of one's own learns to take words over from its text only after very many steps; this gives it
the way from the first one.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.trunk.cache import Cache

_KEY_WIDTH = 64
_KEYS, _ROWS, _TOLD, _OPEN = "told keys", "told rows", "told words", "told last"
_CLOSED, _STRONG = -1.0, 2.0
"""What gates and the strength begin with: a quarter of what raises a word's score by two."""


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
        is_told: Bool[Tensor, "B T"],
        table: Float[Tensor, "V D"],
        cache: Cache | None = None,
    ) -> Float[Tensor, "B T D"]:
        """`table` has the rows whose products with `x` are the words' scores; a word's own is raised by one where a
        gate and the strength are one. Words that come later are not looked at."""
        asked, keys = self.ask(x), self.key(x)
        words = tokens.clamp_max(len(table) - 1)
        if cache is not None:
            keys = _after(cache, _KEYS, keys)
            words = _after(cache, _ROWS, words)
            is_told = _after(cache, _TOLD, is_told)
        num_before = keys.shape[1] - x.shape[1]
        gates = torch.sigmoid(asked @ keys.transpose(1, 2) * _KEY_WIDTH**-0.5 + self.openness)  # B T S
        sees = torch.ones_like(gates[0], dtype=torch.bool).tril(num_before)
        gates = gates * (sees & is_told[:, None])
        rows = F.embedding(words, table)
        rows = rows / rows.square().sum(-1, keepdim=True).clamp_min(1e-6)
        return x + F.softplus(self.strength(x)) * (gates.to(rows) @ rows)


def told_words(number: Int[Tensor, "B T"], places: int, cache: Cache | None = None) -> Bool[Tensor, "B T"]:
    """Which tokens are words after a part of an image that was shown briefly, up to the next image. `number` is that of
    a token among images' (`models.fusion`), below zero for words."""
    brief = number.remainder(places + 1) == places
    step = torch.where(number >= 0, 1 + brief.long(), 0)  # 0 a word, 1 a whole image, 2 a part
    place = torch.arange(1, number.shape[1] + 1, device=number.device) * 3
    latest = torch.where(step > 0, place + step, 0).cummax(1).values % 3  # of the last image at or before
    is_open = latest == 2
    has_image = (step > 0).cumsum(1) > 0
    if cache is not None:
        before = cache.marks.get(_OPEN, torch.zeros_like(is_open[:, :1]))
        is_open = torch.where(has_image, is_open, before)
        cache.marks[_OPEN] = is_open[:, -1:]
    return is_open & (number < 0)


def _after(cache: Cache, name: str, values: Tensor) -> Tensor:
    held = cache.marks.get(name)
    joined = values if held is None else torch.cat([held, values], dim=1)
    cache.marks[name] = joined
    return joined
