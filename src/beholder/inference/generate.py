"""What comes after a prompt, token by token: each is chosen, told, and read as the next one's past."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from beholder.inference.reader import Reader
from beholder.inference.sampling import GREEDY, SamplingConfig, choose
from beholder.inference.suppression import NOTHING, Suppression


@dataclass(frozen=True)
class GenerationConfig:
    """How tokens are chosen and when a row ends."""

    num_tokens: int = 128
    """Most new tokens of a row."""
    stops: tuple[int, ...] = ()
    """Tokens that end their row."""
    sampling: SamplingConfig = GREEDY
    suppression: Suppression = NOTHING
    allowed: Callable[[int], Bool[Tensor, " V"]] | None = None
    """Tells which tokens may be chosen at a step, counted from 1; None: all."""
    ends: Callable[[list[int]], bool] | None = None
    """Tells from a row's new tokens whether it ends there, such as by words; None: only `stops` end it."""


def generate(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    config: GenerationConfig = GenerationConfig(),
    seed: int = 0,
) -> list[list[int]]:
    """The new tokens of each prompt; a row that was ended by a stop token has it as its last. Else as `stream`."""
    rows: list[list[int]] = [[] for _ in prompts]
    for told in stream(model, prompts, config, seed):
        for row, token in zip(rows, told, strict=True):
            if token is not None:
                row.append(token)
    return rows


def stream(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    config: GenerationConfig = GenerationConfig(),
    seed: int = 0,
) -> Iterator[list[int | None]]:
    """The next token of every prompt, step by step; None where a row has ended.

    `model(tokens, is_real=, cache=)` gives scores of the next tokens, as `GPT` does. Row r draws from a generator of
    its own, of seed `seed` + r: beside other rows it says the same as alone. Raises UserError where a prompt is empty,
    or the model cannot read so far.
    """
    reader = Reader(model, prompts, config.num_tokens) if prompts else None
    return _steps(reader, len(prompts), config, seed) if reader else iter(())


@torch.inference_mode()
def _steps(reader: Reader, num_rows: int, config: GenerationConfig, seed: int) -> Iterator[list[int | None]]:
    device = reader.prompts.device
    generators = [torch.Generator(device).manual_seed(seed + row) for row in range(num_rows)]
    said: list[list[int]] = [[] for _ in range(num_rows)]
    going = list(range(num_rows))  # rows that have not ended, in the order in which the reader holds them
    logits = reader.begin()
    seen = _seen(reader, logits) if config.sampling.repetition_penalty != 1 else None
    for step in range(1, config.num_tokens + 1):
        if config.allowed is not None:
            logits = logits.masked_fill(~config.allowed(step).to(device), -torch.inf)
        logits = config.suppression.apply(logits, step)
        chosen = choose(logits, config.sampling, [generators[row] for row in going], seen)
        told = dict(zip(going, chosen.tolist(), strict=True))
        yield [told.get(row) for row in range(num_rows)]
        for row, token in told.items():
            said[row].append(token)
        places = [place for place, row in enumerate(going) if not _is_over(said[row], config)]
        if not places or step == config.num_tokens:
            return
        if seen is not None:
            seen = seen.scatter(1, chosen[:, None], True)
        if len(places) < len(going):  # what has ended costs nothing more
            kept = torch.tensor(places, device=device)
            going, chosen = [going[place] for place in places], chosen[kept]
            seen = seen[kept] if seen is not None else None
            reader.go_on_from(kept)
        logits = reader.read(chosen[:, None])


def _is_over(tokens: list[int], config: GenerationConfig) -> bool:
    return tokens[-1] in config.stops or (config.ends is not None and config.ends(tokens))


def _seen(reader: Reader, logits: Tensor) -> Tensor:
    """B V; the tokens of each prompt, without its padding."""
    is_real = reader.is_real[:, : reader.prompts.shape[1]]
    counts = torch.zeros_like(logits, dtype=torch.long).scatter_add(1, reader.prompts, is_real.long())
    return counts > 0
