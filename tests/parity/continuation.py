"""What a family writes on is what its reference writes on: each function is one truth about a reference and ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from parity.contract import Pair, draw_tokens

from beholder.inference.beams import BeamConfig, search_beams
from beholder.inference.generate import GenerationConfig, generate
from beholder.inference.sampling import SamplingConfig


def generates_the_same_tokens(pair: Pair) -> None:
    """Greedily: all rows equally long, then with a penalty so that no token comes twice, then with padding on the left,
    then with several tokens that end a row."""
    prompts = draw_tokens(pair, 3).tolist()
    equal = generate(pair.ours, prompts, GenerationConfig(12))
    assert equal == _reference_tokens(pair, prompts, 12, ())
    varied = generate(pair.ours, prompts, GenerationConfig(12, (), SamplingConfig(1e3, temperature=0)))
    assert varied == _reference_tokens(pair, prompts, 12, (), repetition_penalty=1e3)
    assert all(len(set(row)) == 12 for row in varied)
    prompts = [prompts[0], prompts[1][:17], prompts[2][:5]]
    open_ended = generate(pair.ours, prompts, GenerationConfig(12))
    assert open_ended == _reference_tokens(pair, prompts, 12, ())
    stops = tuple({open_ended[0][3], open_ended[1][7]})
    ended = generate(pair.ours, prompts, GenerationConfig(12, stops))
    assert ended == _reference_tokens(pair, prompts, 12, stops)
    assert len(ended[0]) <= 4


def finds_the_same_beams(pair: Pair) -> None:
    """With padding on the left; without tokens that end a row, and with so many that rows end early and late."""
    prompts = [row[: 23 - 6 * number] for number, row in enumerate(draw_tokens(pair, 3).tolist())]
    assert search_beams(pair.ours, prompts, BeamConfig(3, 9)) == _reference_tokens(pair, prompts, 9, (), num_beams=3)
    stops = tuple(range(5, 23, 3))
    for exponent in (1.0, 0.0, 2.0):
        found = search_beams(pair.ours, prompts, BeamConfig(2, 16, stops, exponent))
        assert found == _reference_tokens(pair, prompts, 16, stops, num_beams=2, length_penalty=exponent)


def _reference_tokens(
    pair: Pair, prompts: list[list[int]], num_tokens: int, stops: tuple[int, ...], **settings: Any
) -> list[list[int]]:
    from transformers import GenerationConfig as ReferenceConfig

    longest = max(map(len, prompts))
    padded = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    pad = stops[0] if stops else 0
    told = ReferenceConfig(
        do_sample=False, max_new_tokens=num_tokens, eos_token_id=list(stops) or None, pad_token_id=pad, **settings
    )
    found = pair.reference.generate(padded, attention_mask=mask, generation_config=told)[:, longest:].tolist()
    ends = [next((place for place, token in enumerate(row) if token in stops), len(row)) for row in found]
    return [row[: end + 1] for row, end in zip(found, ends, strict=True)]


CONTINUATIONS: tuple[Callable[[Pair], None], ...] = (generates_the_same_tokens, finds_the_same_beams)
