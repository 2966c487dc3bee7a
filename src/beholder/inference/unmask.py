"""Hidden codes told in a few steps: all at once, of which the surest are kept, and again (MaskGIT: Chang et al. 2022,
arXiv 2202.04200)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from beholder.inference.guidance import check_guidance
from beholder.inference.sampling import check_temperature
from beholder.objectives.masked_codes import share_hidden
from beholder.types import UserError


@dataclass(frozen=True)
class UnmaskConfig:
    """How hidden codes are told. Raises UserError for values that are out of range."""

    num_steps: int = 12
    """Looks at the picture; the published model takes 8 to 12 for 256 codes."""
    temperature: float = 1.0
    """What scores of codes are divided by before one is drawn; 0 takes the likeliest code and the surest place."""
    unrest: float = 4.5
    """Gumbel noise on how sure a code is, which falls to nothing towards the last step: with less of it the surest
    codes come first and pictures are alike, with more of it codes that do not fit together are kept."""
    guidance: float = 1.0
    """Scores are those without class and caption, and so many times what these add; grows from 1 to this value over
    the steps, as in Muse. 1 is the model as it is, and costs half as much."""

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise UserError(f"--steps {self.num_steps}: at least 1 step is needed; 12 are usual.")
        check_temperature(self.temperature, "code")
        if not 0 <= self.unrest < math.inf:
            raise UserError(f"unrest={self.unrest}: it must not be below 0; 4.5 is usual.")
        check_guidance(self.guidance)


@torch.inference_mode()
def unmask(
    model: Any,
    codes: Int[Tensor, "B T"],
    is_hidden: Bool[Tensor, "B T"],
    config: UnmaskConfig = UnmaskConfig(),
    seeds: Sequence[int] | None = None,
    **asked: Tensor,
) -> Int[Tensor, "B T"]:
    """The same codes with the hidden ones told; the others stay as they are.

    `model` is a `MaskGIT`, or what offers the same; `asked` are its `classes` (B) and `captions` (B words). Every row
    draws from a generator of its own, of the seed that is given for it (else 0, 1, 2, ...): beside other rows it
    becomes the same as alone. A picture with fewer hidden codes than steps is done earlier.
    """
    seeds = range(len(codes)) if seeds is None else seeds
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    assert len(generators) == len(codes), (len(generators), len(codes))
    codes, is_hidden = codes.masked_fill(is_hidden, model.hidden), is_hidden.clone()
    num_at_first = is_hidden.sum(1)
    for step in range(1, config.num_steps + 1):
        if not is_hidden.any():
            break
        done = step / config.num_steps
        logits = _scores(model, codes, asked, 1 + (config.guidance - 1) * done)
        told, sureness = _draw(logits, config, 1 - done, generators)
        remain = (num_at_first * float(share_hidden(torch.tensor(done)))).floor().long()
        remain = remain.minimum(is_hidden.sum(1) - 1).clamp_min(0) if step < config.num_steps else 0 * remain
        order = sureness.masked_fill(~is_hidden, -math.inf).argsort(dim=1, descending=True, stable=True).argsort(1)
        is_told = is_hidden & (order < (is_hidden.sum(1) - remain)[:, None])
        codes = torch.where(is_told, told, codes)
        is_hidden &= ~is_told
    return codes


def _scores(model: Any, codes: Tensor, asked: dict[str, Tensor], guidance: float) -> Float[Tensor, "B T V"]:
    if guidance == 1 or not asked:
        return model(codes, **asked).float()
    free = model(codes).float()
    return free + guidance * (model(codes, **asked).float() - free)


def _draw(
    logits: Float[Tensor, "B T V"], config: UnmaskConfig, rest: float, generators: Sequence[torch.Generator]
) -> tuple[Int[Tensor, "B T"], Float[Tensor, "B T"]]:
    """A code for each place, and how sure it is; `rest` is the share of the steps that follow."""
    nats = logits.log_softmax(-1)
    if config.temperature == 0:
        sureness, told = nats.max(-1)
        return told, sureness
    shape = logits.shape[1:]
    noise = torch.stack([_gumbel(shape, own) for own in generators]).to(logits)
    told = (logits / config.temperature + noise).argmax(-1)
    sureness = nats.gather(-1, told[..., None])[..., 0]
    unrest = torch.stack([_gumbel(shape[:1], own) for own in generators]).to(logits)
    return told, sureness + config.unrest * rest * unrest


def _gumbel(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Drawn on the CPU, so that a seed gives the same on every device. Adding it to scores and taking the largest draws
    as the softmax does."""
    return -(-torch.rand(tuple(shape), generator=generator).clamp(1e-9, 1 - 1e-7).log()).log()
