"""Which token comes next: scores are bent by what the user asks for, and one token is drawn from what remains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from beholder.types import UserError

LOWEST_TEMPERATURE = 1e-6
"""Above 0; scores that are divided by less are no numbers any more."""


@dataclass(frozen=True)
class SamplingConfig:
    """How a token is drawn, in steps of the fields' order. Raises UserError for values that are out of range."""

    repetition_penalty: float = 1.0
    """What scores of tokens that have been seen are divided by, or multiplied with where they are negative (Keskar et
    al. 2019, arXiv 1909.05858); 1 changes nothing."""
    temperature: float = 1.0
    """What scores are divided by; 0 takes the most likely token."""
    top_k: int | None = None
    """Only so many tokens may be drawn (Fan et al. 2018, arXiv 1805.04833)."""
    top_p: float | None = None
    """Only the fewest tokens that together have this share may be drawn (Holtzman et al. 2019, arXiv 1904.09751)."""

    def __post_init__(self) -> None:
        if not self.repetition_penalty > 0:
            raise UserError(f"repetition_penalty={self.repetition_penalty}: it must be above 0; 1 changes nothing.")
        check_temperature(self.temperature, "token")
        if self.top_k is not None and self.top_k < 1:
            raise UserError(f"--top-k {self.top_k}: at least 1 token must remain; leave it out to keep all.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UserError(f"--top-p {self.top_p:g}: give a share above 0 and up to 1; leave it out to keep all.")


def check_temperature(value: float, what: str) -> None:
    """Raises UserError for what scores cannot be divided by; `what` is drawn."""
    if value < 0:
        raise UserError(f"--temperature {value:g}: it must not be below 0; 0 takes the likeliest {what}.")
    if value != 0 and not LOWEST_TEMPERATURE <= value < math.inf:
        raise UserError(
            f"--temperature {value:g}: it must be 0, which takes the likeliest {what}, or a number from "
            f"{LOWEST_TEMPERATURE:g} on; 1 is usual."
        )


GREEDY = SamplingConfig(temperature=0.0)


def choose(
    logits: Float[Tensor, "B V"],
    config: SamplingConfig,
    generators: Sequence[torch.Generator],
    seen: Bool[Tensor, "B V"] | None = None,
) -> Int[Tensor, " B"]:
    """One token for each row, drawn by the row's own generator, so that a row's text does not depend on its
    neighbours. `seen` marks what the penalty for repetition is for."""
    if seen is not None:
        logits = penalise_repetition(logits, seen, config.repetition_penalty)
    if config.temperature == 0:
        return logits.argmax(-1)
    logits = logits.float() / config.temperature
    if config.top_k is not None:
        logits = keep_top_k(logits, config.top_k)
    if config.top_p is not None:
        logits = keep_top_p(logits, config.top_p)
    return draw(logits, generators)


def penalise_repetition(
    logits: Float[Tensor, "B V"], seen: Bool[Tensor, "B V"], penalty: float
) -> Float[Tensor, "B V"]:
    """Tokens that have been seen are less likely for a penalty above 1."""
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def keep_top_k(logits: Float[Tensor, "B V"], num_kept: int) -> Float[Tensor, "B V"]:
    """The `num_kept` highest scores of each row, no more where scores are equal; minus infinity elsewhere."""
    values, places = logits.topk(min(num_kept, logits.shape[-1]))
    return torch.full_like(logits, -torch.inf).scatter(-1, places, values)


def keep_top_p(logits: Float[Tensor, "B V"], share: float) -> Float[Tensor, "B V"]:
    """The fewest tokens whose probabilities sum to `share`, at least one; minus infinity elsewhere."""
    values, places = logits.sort(dim=-1, descending=True)
    shares = values.softmax(-1)
    is_kept = shares.cumsum(-1) - shares < share  # what comes before a token is not enough yet
    is_kept[..., 0] = True
    return torch.full_like(logits, -torch.inf).scatter(-1, places, values.masked_fill(~is_kept, -torch.inf))


def draw(logits: Float[Tensor, "B V"], generators: Sequence[torch.Generator]) -> Int[Tensor, " B"]:
    """A token of each row, as often as the softmax of its scores says."""
    shares = logits.softmax(-1)
    drawn = [torch.multinomial(row, 1, generator=own) for row, own in zip(shares, generators, strict=True)]
    return torch.cat(drawn)
