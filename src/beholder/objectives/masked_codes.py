"""Masked visual tokens: some codes of a picture are hidden, and told from the rest (MaskGIT: Chang et al. 2022, arXiv
2202.04200).

The share that is hidden is the cosine of a uniform angle, so that the model meets every stage of decoding, most often
the early ones. Places are hidden one by one, as decoding leaves them, or as a rectangle, as a user's mask does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.types import Batch, Losses


@dataclass(frozen=True)
class MaskedCodesConfig:
    """What is hidden, and what is asked."""

    block_share: float = 0.3
    """Of the pictures in which a rectangle is hidden, in the place of scattered codes."""
    drop_condition: float = 0.1
    """Share of pictures that are told without their class and caption, so that guidance has something to go away from
    (Ho and Salimans 2022, arXiv 2207.12598). Where there are both, each is left out alone as often again."""
    smoothing: float = 0.1
    """Of the labels, as published."""


class MaskedCodes(nn.Module):
    """Objective over batches with "codes" (B T), and with "classes" (B) and "captions" (B words) where there are some.

    The model is a `MaskGIT`, or what offers the same. Draws from torch's global generator on the CPU.
    """

    def __init__(self, config: MaskedCodesConfig = MaskedCodesConfig()) -> None:
        super().__init__()
        self.config = config

    def forward(self, model: Any, batch: Batch) -> Losses:
        """The mean cross-entropy of hidden codes, with smoothed labels. Parts: "nats", without smoothing; "accuracy",
        the share of hidden codes that were the likeliest."""
        codes = batch["codes"]
        is_hidden = hide(len(codes), model.config.grid, self.config.block_share).to(codes.device)
        logits = model(codes.masked_fill(is_hidden, model.hidden), **self._asked(model, batch))
        told, right = logits.float()[is_hidden], codes[is_hidden]  # what is not hidden costs nothing
        total = F.cross_entropy(told, right, label_smoothing=self.config.smoothing)
        with torch.no_grad():
            nats, accuracy = F.cross_entropy(told, right), (told.argmax(-1) == right).float().mean()
        return Losses(total, {"nats": float(nats), "accuracy": float(accuracy)})

    def _asked(self, model: Any, batch: Batch) -> dict[str, Tensor]:
        """Classes and captions, some of them left out."""
        empty = {"classes": model.no_class, "captions": model.no_word}
        present = [name for name in empty if name in batch]
        count, share = len(batch["codes"]), self.config.drop_condition
        both = torch.rand(count) < share
        asked = {}
        for name in present:
            is_dropped = both | (torch.rand(count) < share) if len(present) > 1 else both
            values = batch[name]
            is_dropped = is_dropped.to(values.device).view(-1, *[1] * (values.ndim - 1))
            asked[name] = values.masked_fill(is_dropped, empty[name])
        return asked

    def after_step(self, model: Any, progress: float) -> None:
        """Nothing follows a step."""


def hide(count: int, grid: tuple[int, int], block_share: float) -> Bool[Tensor, "B T"]:
    """Which places of each picture are hidden: at least one, all at the most."""
    num_places = grid[0] * grid[1]
    num_hidden = (share_hidden(torch.rand(count)) * num_places).ceil().clamp(1, num_places)
    order = torch.rand(count, num_places)
    is_block = torch.rand(count) < block_share
    order = torch.where(is_block[:, None], _distances(count, grid) + 1e-3 * order, order)
    ranks = order.argsort(1).argsort(1)
    return ranks < num_hidden[:, None]


def share_hidden(progress: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """How much is hidden after that share of the steps, from all at 0 to nothing at 1."""
    return torch.cos(progress * (math.pi / 2))


def _distances(count: int, grid: tuple[int, int]) -> Float[Tensor, "B T"]:
    """Of each place from a random one, such that what is near is a rectangle of a random shape."""
    rows, columns = torch.arange(grid[0]).float(), torch.arange(grid[1]).float()
    centre = torch.rand(count, 2) * torch.tensor(grid) - 0.5
    stretch = torch.exp(torch.rand(count, 1) * 1.4 - 0.7)  # half as tall to twice as tall as wide
    down = (rows - centre[:, :1]).abs() / stretch  # B rows
    across = (columns - centre[:, 1:]).abs() * stretch
    return torch.maximum(down[:, :, None], across[:, None, :]).flatten(1)
