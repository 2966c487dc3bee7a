"""Truths of Whisper."""

from __future__ import annotations

import pytest
import torch

from beholder.config import from_json, to_json
from beholder.models.whisper import PRESETS, Whisper, WhisperConfig, sine_times
from beholder.types import UserError


def whisper() -> Whisper:
    torch.manual_seed(0)
    return Whisper(PRESETS["debug"]).eval()


def sound(num_frames: int = 40) -> torch.Tensor:
    return torch.randn(2, 8, num_frames, generator=torch.Generator().manual_seed(1))


TOKENS = torch.arange(10).view(2, 5)


def test_two_frames_are_one_token_and_a_last_odd_one_is_one_too() -> None:
    assert whisper().encode(sound(40)).shape == (2, 20, 24)
    assert whisper().encode(sound(31)).shape == (2, 16, 24)


def test_a_sound_that_is_too_long_is_refused() -> None:
    with pytest.raises(UserError, match="41 frames is longer than the 40"):
        whisper().encode(sound(41))


def test_other_bands_are_refused() -> None:
    with pytest.raises(UserError, match="of 9 mel bands does not fit a model that hears 8"):
        whisper().encode(torch.zeros(1, 9, 40))


def test_every_token_of_the_text_hears_the_whole_sound() -> None:
    model, other = whisper(), sound()
    other[:, :, -1] += 2.0
    assert ((model(other, TOKENS) - model(sound(), TOKENS)).abs().amax(2) > 0).all()


def test_every_parameter_gets_a_gradient_and_times_are_saved_but_not_trained() -> None:
    model = whisper()
    model(sound(), torch.arange(64).view(2, 32)).pow(3).sum().backward()
    silent = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []
    assert "encoder.times" in model.state_dict() and "encoder.times" not in dict(model.named_parameters())


def test_times_turn_about_once_in_two_pi_at_the_fastest_and_hardly_at_the_slowest() -> None:
    table = sine_times(100, 16)
    position = torch.arange(100.0)
    torch.testing.assert_close(table[:, 0], position.sin())
    torch.testing.assert_close(table[:, 15], (position / 10_000).cos())
    assert table.abs().max() <= 1


def test_a_preset_survives_json() -> None:
    for config in PRESETS.values():
        assert from_json(WhisperConfig, to_json(config)) == config
