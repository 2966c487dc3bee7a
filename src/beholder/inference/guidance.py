"""Guidance without a classifier: what is drawn goes further from what would be drawn if nothing were asked for (Ho and
Salimans 2022, arXiv 2207.12598; of tokens: Gafni et al. 2022, arXiv 2203.13131)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from beholder.trunk.cache import Cache
from beholder.types import UserError


def check_guidance(scale: float) -> None:
    """Raises UserError for what scores cannot be multiplied with."""
    if not 0 <= scale < math.inf:
        raise UserError(
            f"--guidance {scale:g}: give a number from 0 on; 1 is the model as it is, 3 follows what is asked for more."
        )


class Guided(nn.Module):
    """A model whose rows are read twice, side by side: as they are, and with nothing asked for. What is left is called
    as the model is, so that `generate` and `stream` drive it.

    Scores are those without, and `scale` times what asking adds; 1 is the model itself. Rows cannot be left out or
    taken twice on the way, as stop tokens and beams would have it.
    """

    def __init__(self, model: nn.Module, scale: float, without: Callable[[Tensor], Tensor]) -> None:
        """`without` makes of prompts B T the same with nothing asked for. Raises UserError for a negative scale."""
        super().__init__()
        check_guidance(scale)
        self.model, self.scale = model, scale
        self._without = without

    @property
    def longest(self) -> int | None:
        """Tokens that the model can read, as far as it says so."""
        return getattr(self.model, "longest", None)

    def next_scores(
        self, tokens: Int[Tensor, "B T"], *, is_real: Bool[Tensor, "B S"] | None = None, cache: Cache
    ) -> Float[Tensor, "B V"]:
        """Scores of what comes after the last token."""
        assert is_real is None and cache.rows is None, "rows stay as they are"
        others = tokens if cache.length else self._without(tokens)
        model: Any = self.model
        asked, free = model.next_scores(torch.cat([tokens, others]), cache=cache).float().chunk(2)
        return free + self.scale * (asked - free)


def guided(model: nn.Module, scale: float, without: Callable[[Tensor], Tensor]) -> nn.Module:
    """The model under guidance; it itself for a scale of 1, which then costs half as much."""
    return model if scale == 1 else Guided(model, scale, without)
