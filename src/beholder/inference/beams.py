"""Beam search: several continuations are kept side by side, and the most likely one is told (Graves 2012, arXiv
1211.3711)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from beholder.inference.reader import Reader
from beholder.inference.suppression import NOTHING, Suppression
from beholder.types import UserError


@dataclass(frozen=True)
class BeamConfig:
    """How many continuations are kept, and how long and short ones compare."""

    num_beams: int = 4
    num_tokens: int = 128
    """Most new tokens of a row."""
    stops: tuple[int, ...] = ()
    """Tokens that end a continuation."""
    length_exponent: float = 1.0
    """A finished one is worth its log-probability over its length to this power: 0 favours short ones, 1 the mean."""
    suppression: Suppression = NOTHING
    """The others are not made likelier by it: what a continuation is worth stays the model's own word."""
    ends: Callable[[list[int]], bool] | None = None
    """Tells from a continuation's tokens whether it ends there, such as by words; None: only `stops` end it."""


@dataclass
class _Beams:
    """What one prompt has so far."""

    running: list[list[int]]
    scores: list[float]
    """Log-probabilities of the running ones, best first."""
    finished: list[tuple[float, list[int]]] = field(default_factory=list)
    """Worth and tokens, best first; no more than there are beams."""

    def is_over(self, config: BeamConfig) -> bool:
        """Whether all are full and the best running one, as long as it is now, is worth less than the worst of them."""
        length = len(self.running[0])
        is_full = len(self.finished) == config.num_beams
        return is_full and self.scores[0] / length**config.length_exponent <= self.finished[-1][0]


@torch.no_grad()
def search_beams(
    model: nn.Module, prompts: Sequence[Sequence[int]], config: BeamConfig = BeamConfig()
) -> list[list[int]]:
    """The most likely continuation that was found for each prompt; else as `search_several`."""
    return [found[0][1] for found in search_several(model, prompts, config)]


@torch.no_grad()
def search_several(
    model: nn.Module, prompts: Sequence[Sequence[int]], config: BeamConfig = BeamConfig()
) -> list[list[tuple[float, list[int]]]]:
    """What was found for each prompt, at most as many continuations as there are beams, the best first, each with its
    worth (`BeamConfig.length_exponent`); a stop token that ended one is its last.

    `model(tokens, is_real=, cache=)` gives scores of the next tokens, as `GPT` does. Raises UserError where a prompt is
    empty, there is no beam, or the model cannot read so far.
    """
    if config.num_beams < 1:
        raise UserError(f"num_beams={config.num_beams}: at least 1 continuation must be kept.")
    if not prompts:
        return []
    reader = Reader(model, prompts, config.num_tokens)
    device, num_beams = reader.prompts.device, config.num_beams
    logits = reader.begin().repeat_interleave(num_beams, 0)
    reader.go_on_from(torch.arange(len(prompts), device=device).repeat_interleave(num_beams))
    start = [0.0] + [-torch.inf] * (num_beams - 1)  # all beams are alike: only the first one may be continued
    found = [_Beams([[] for _ in start], start) for _ in prompts]
    going = found
    for step in range(1, config.num_tokens + 1):
        origins = _advance(going, logits, config, step)
        places = [place for place, beams in enumerate(going) if beams.running and not beams.is_over(config)]
        if not places:
            break
        going = [going[place] for place in places]
        reader.go_on_from(torch.tensor([origin for place in places for origin in origins[place]], device=device))
        last = [[tokens[-1]] for beams in going for tokens in beams.running]
        logits = reader.read(torch.tensor(last, device=device))
    return [beams.finished for beams in found]


def _advance(going: Sequence[_Beams], logits: Float[Tensor, "R V"], config: BeamConfig, step: int) -> list[list[int]]:
    """Every beam one token longer; for each prompt, the rows of `logits` that its running beams came from.

    So many candidates are looked at that enough remain when every stop token is among the best of every beam. One that
    stops counts only among the best `num_beams`: a worse one would not have been kept either.
    """
    num_beams, vocabulary_size, is_last = config.num_beams, logits.shape[-1], step == config.num_tokens
    scores = logits.new_tensor([beams.scores for beams in going], dtype=torch.float32)  # prompts beams
    likely = config.suppression.apply(logits.float().log_softmax(-1), step)
    likely = likely.unflatten(0, (-1, num_beams)) + scores[:, :, None]
    num_candidates = min(max(2, 1 + len(config.stops)) * num_beams, num_beams * vocabulary_size)
    best, places = likely.flatten(1).topk(num_candidates)
    origins = []
    for number, (beams, values, where) in enumerate(zip(going, best.tolist(), places.tolist(), strict=True)):
        running, kept, rows = [], [], []
        for rank, (value, place) in enumerate(zip(values, where, strict=True)):
            beam, token = divmod(place, vocabulary_size)
            tokens = [*beams.running[beam], token]
            if token in config.stops or is_last or (config.ends is not None and config.ends(tokens)):
                if rank < num_beams and value > -torch.inf:
                    beams.finished.append((value / len(tokens) ** config.length_exponent, tokens))
            elif len(running) < num_beams:
                running.append(tokens)
                kept.append(value)
                rows.append(number * num_beams + beam)
        while running and len(running) < num_beams:  # so many ended that too few go on: a copy that is never the best
            running.append(running[0])
            kept.append(-torch.inf)
            rows.append(rows[0])
        beams.running, beams.scores = running, kept
        beams.finished = sorted(beams.finished, key=lambda pair: -pair[0])[:num_beams]
        origins.append(rows)
    return origins
