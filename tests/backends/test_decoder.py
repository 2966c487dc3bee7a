"""Truths of writing with packed weights: the same tokens in fp32, nearly the same scores in bfloat16."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
import torch

from beholder.backends.decode import prepare_decoder
from beholder.backends.outputs import distance
from beholder.inference.generate import GenerationConfig, generate
from beholder.models.gpt import GPT, PRESETS, GPTConfig
from beholder.trunk.mlp import MLPConfig
from beholder.trunk.position import RotaryConfig
from beholder.types import UserError

TIED = PRESETS["debug"]
GATED = replace(
    TIED, is_tied=False, num_positions=None, context_length=40,
    trunk=replace(TIED.trunk, rotary=RotaryConfig(), mlp=MLPConfig(activation="silu", is_gated=True, has_bias=False)),
)  # fmt: skip
PROMPTS = [[3, 14, 15, 9, 2, 6, 5, 35, 8, 9, 7], [27, 18, 28], [31]]


def loud(config: GPTConfig) -> GPT:
    torch.manual_seed(0)
    built = GPT(config)
    with torch.no_grad():
        for value in built.parameters():
            value.add_((0.3 if value.ndim > 1 else 0.1) * torch.randn_like(value))
    return built.eval()


@pytest.mark.parametrize("num_rows", [1, 3])
@pytest.mark.parametrize("config", [TIED, GATED], ids=["tied", "gated"])
def test_packed_weights_say_the_same(config: GPTConfig, num_rows: int) -> None:
    model = loud(config)
    kept = [value.clone() for value in model.parameters()]
    packed = prepare_decoder(model, "packed", "fp32", num_rows)
    assert generate(packed, PROMPTS, GenerationConfig(12)) == generate(model, PROMPTS, GenerationConfig(12))
    assert all(torch.equal(value, old) for value, old in zip(model.parameters(), kept, strict=True))


@pytest.mark.parametrize("backend", ["plain", "packed"])
@pytest.mark.parametrize("config", [TIED, GATED], ids=["tied", "gated"])
def test_bfloat16_gives_nearly_the_same_scores(config: GPTConfig, backend: Literal["plain", "packed"]) -> None:
    model, tokens = loud(config), torch.randint(64, (2, 20), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = prepare_decoder(model, backend, "bf16")(tokens)
        assert 0 < distance([found], [model(tokens)]) < 0.05


def test_what_is_not_known_is_told() -> None:
    model = loud(TIED)
    with torch.no_grad():
        model.trunk.norm.weight[3] = torch.nan
    with pytest.raises(UserError, match="lie nan away"):
        prepare_decoder(model)
    with pytest.raises(UserError, match="choose fp32 or bf16"):
        prepare_decoder(loud(TIED), "plain", "int8")
