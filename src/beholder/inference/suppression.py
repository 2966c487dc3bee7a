"""Tokens that are not to be told, whatever the model thinks of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Suppression:
    """Which tokens, and when; numbers outside the vocabulary are nobody's, and do no harm."""

    always: tuple[int, ...] = ()
    first: tuple[int, ...] = ()
    """Not as the first new token, such as the end, which would leave nothing."""

    def apply(self, scores: Float[Tensor, "B V"], step: int) -> Float[Tensor, "B V"]:
        """Minus infinity for what is not to be told at this step; steps are counted from 1."""
        tokens = self.always + (self.first if step == 1 else ())
        known = [token for token in tokens if 0 <= token < scores.shape[1]]
        return scores.index_fill(1, torch.tensor(known, device=scores.device), -torch.inf) if known else scores


NOTHING = Suppression()
