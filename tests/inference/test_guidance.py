"""Truths of guidance: one is the model itself, nought forgets the question, and the formula lies between and beyond."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from beholder.inference.generate import GenerationConfig, generate
from beholder.inference.guidance import Guided, guided
from beholder.inference.sampling import GREEDY, SamplingConfig
from beholder.models.dalle import TextToImage, TextToImageConfig, build_text_to_image
from beholder.models.lvm import TRUNKS
from beholder.types import UserError

PROMPTS = [[22, 23, 21], [24, 25, 21], [26, 26, 21]]
CONFIG = GenerationConfig(num_tokens=12, sampling=GREEDY)
Without = Callable[[Tensor], Tensor]


@pytest.fixture(params=["causal", "encoder-decoder"])
def model(request: pytest.FixtureRequest) -> TextToImage:
    torch.manual_seed(0)
    config = TextToImageConfig(21, (3, 4), 5, 2, 32, request.param, TRUNKS["debug"])
    built = build_text_to_image(config)
    with torch.no_grad():
        for value in built.parameters():
            value.add_(0.3 * torch.randn_like(value))
    return built.eval()


def empty(prompts: Tensor) -> Tensor:
    changed = prompts.clone()
    changed[:, :2] = 26
    return changed


def test_one_is_the_model_itself(model: TextToImage) -> None:
    assert guided(model, 1.0, empty) is model
    assert generate(Guided(model, 1.0, empty), PROMPTS, CONFIG) == generate(model, PROMPTS, CONFIG)


def test_nought_draws_as_if_nothing_were_asked_for(model: TextToImage) -> None:
    unasked = generate(model, [[26, 26, 21]], CONFIG)[0]
    assert generate(guided(model, 0.0, empty), PROMPTS, CONFIG) == [unasked] * 3


@torch.no_grad()
def test_each_choice_follows_the_formula(model: TextToImage) -> None:
    (found,) = generate(guided(model, 2.5, empty), PROMPTS[:1], CONFIG)
    for place in range(12):  # without a cache
        rows = torch.tensor([[*PROMPTS[0], *found[:place]], [26, 26, 21, *found[:place]]])
        asked, free = model(rows)[:, -1, :21]
        assert found[place] == int((free + 2.5 * (asked - free)).argmax())


def test_a_row_is_drawn_beside_others_as_alone(model: TextToImage) -> None:
    config = GenerationConfig(num_tokens=12, sampling=SamplingConfig(temperature=1.0))
    together = generate(guided(model, 3.0, empty), PROMPTS, config, seed=5)
    assert together[2:] == generate(guided(model, 3.0, empty), PROMPTS[2:], config, seed=7)


def test_guidance_below_nought_is_refused(model: TextToImage) -> None:
    for scale in (-1.0, float("nan"), float("inf")):
        with pytest.raises(UserError, match="give a number from 0 on"):
            guided(model, scale, empty)
