"""Truths of T5."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from beholder.config import from_json, to_json
from beholder.models.t5 import PRESETS, T5, T5Config

DEBUG = PRESETS["debug"]


def t5(config: T5Config = DEBUG) -> T5:
    torch.manual_seed(0)
    return T5(config).eval()


def texts(source_length: int = 11, length: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randint(1, 64, (2, source_length), generator=generator),
        torch.randint(1, 64, (2, length), generator=generator),
    )


def test_every_token_of_the_target_knows_the_whole_source() -> None:
    model, (source, target) = t5(), texts()
    other = source.clone()
    other[:, -1] = other[:, -1] % 63 + 1
    assert ((model(other, target) - model(source, target)).abs().amax(2) > 0).all()


def test_padding_of_the_source_is_not_read() -> None:
    model, (source, target) = t5(), texts()
    is_real = F.pad(torch.ones_like(source, dtype=torch.bool), (2, 3))
    padded = F.pad(source, (2, 3), value=5)
    torch.testing.assert_close(
        model(padded, target, source_is_real=is_real), model(source, target), rtol=1e-4, atol=1e-5
    )


def test_the_source_is_a_sequence_and_no_set() -> None:
    model, (source, target) = t5(), texts()
    assert (model(source.flip(1), target) - model(source, target)).abs().max() > 1e-3


@pytest.mark.parametrize("is_tied", [True, False])
def test_every_parameter_gets_a_gradient(is_tied: bool) -> None:
    model, (source, target) = t5(replace(DEBUG, is_tied=is_tied)), texts(40, 30)
    model(source, target).pow(3).sum().backward()
    silent = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []


@pytest.mark.parametrize("config", [DEBUG, replace(DEBUG, is_tied=False, is_scaled=False)], ids=["1.0", "1.1"])
def test_scores_of_a_fresh_model_are_of_the_order_of_one(config: T5Config) -> None:
    assert 0.5 < t5(config)(*texts(20, 40)).std().item() < 2.0


def test_a_preset_survives_json() -> None:
    for config in PRESETS.values():
        assert from_json(T5Config, to_json(config)) == config
