"""Truths of hearing: what is heard is what the reference hears, and a file says the same however it is written."""

from __future__ import annotations

import math
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from beholder.tokenizers.audio import RATE, SpectrogramConfig, log_mel, mel_filters, read_wav
from beholder.types import UserError


def chirp(num_seconds: float, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """A rising tone in a little noise, at most 0.9."""
    time = np.arange(round(num_seconds * rate)) / rate
    noise = np.random.default_rng(seed).normal(size=len(time)) * 0.01
    return 0.8 * np.sin(2 * np.pi * (200 * time + 300 * time**2)) + noise.clip(-0.1, 0.1)


def write_wav(path: Path, samples: np.ndarray, rate: int = RATE, width: int = 2, num_channels: int = 1) -> Path:
    whole = np.round(samples * (2 ** (8 * width - 1) - 1)).astype(np.int64) + (128 if width == 1 else 0)
    data = b"".join(int(one).to_bytes(width, "little", signed=width > 1) for one in whole)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(num_channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(data)
    return path


@pytest.mark.parametrize("num_mels", [80, 128])
@pytest.mark.parametrize(("num_seconds", "loudness"), [(0.3, 1.0), (7.31, 1e-4), (30.0, 0.1)])
def test_it_is_what_the_reference_hears(num_mels: int, num_seconds: float, loudness: float) -> None:
    transformers = pytest.importorskip("transformers", reason="the reference comes from it")
    sound = (loudness * chirp(num_seconds)).astype(np.float32)
    extractor = transformers.WhisperFeatureExtractor(feature_size=num_mels)
    expected = torch.from_numpy(extractor(sound, sampling_rate=RATE, return_tensors="np")["input_features"][0])
    found = log_mel(torch.from_numpy(sound), SpectrogramConfig(num_mels))
    assert found.shape == expected.shape == (num_mels, 3000)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    theirs = torch.from_numpy(extractor.mel_filters.T.copy()).float()
    torch.testing.assert_close(mel_filters(SpectrogramConfig(num_mels)), theirs, rtol=0, atol=1e-8)


def loudest_band(sound: Tensor) -> int:
    return int(log_mel(sound)[:, 10:90].mean(1).argmax())


def test_a_higher_tone_is_heard_in_a_higher_band_and_a_louder_one_in_the_same() -> None:
    time = torch.arange(RATE) / RATE
    tones = [0.1 * torch.sin(2 * math.pi * pitch * time) for pitch in (150, 400, 1000, 2500, 6000)]
    bands = [loudest_band(tone) for tone in tones]
    assert bands == sorted(set(bands))
    assert [loudest_band(4 * tone) for tone in tones] == bands


def test_bands_are_triangles_of_equal_area_that_reach_half_the_rate() -> None:
    filters = mel_filters(SpectrogramConfig(window=8000))
    areas = filters.sum(1) * RATE / 8000
    torch.testing.assert_close(areas, torch.ones(80), rtol=0.02, atol=0)
    assert filters[0].nonzero().min() <= 1 and filters[-1].nonzero().max() >= 3990


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("num_channels", [1, 3])
def test_a_wav_file_says_its_samples_whatever_their_size(tmp_path: Path, width: int, num_channels: int) -> None:
    sound = chirp(0.1)
    voices = np.stack([sound * gain for gain in (0.5, 1.0, 0.0)[:num_channels]], axis=1)
    found = read_wav(write_wav(tmp_path / "a.wav", voices.flatten(), width=width, num_channels=num_channels))
    assert found.dtype == torch.float32
    torch.testing.assert_close(
        found.double(), torch.from_numpy(voices.mean(1)), rtol=0, atol=2.0 ** (2 - 8 * width) + 1e-7
    )


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_another_rate_is_the_same_sound(tmp_path: Path, rate: int) -> None:
    """But for its ends, where the filter looks beyond."""
    found = read_wav(write_wav(tmp_path / "a.wav", chirp(0.5, rate), rate))
    expected = torch.from_numpy(chirp(0.5)).float()
    assert abs(len(found) - len(expected)) <= 1
    error = (found[200:-200] - expected[200 : len(found) - 200]).square().mean().sqrt()
    assert error < 0.02  # the noise, which is another one


def test_what_is_no_sound_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_wav(tmp_path / "none.wav")
    for name, data in {
        "text.wav": b"not a sound at all, not at all",
        "short.wav": b"RIFF",
        "voice.ogg": b"OggS\0",
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=r"is no WAV file of whole numbers .*ffmpeg"):
            read_wav(tmp_path / name)
    with pytest.raises(UserError, match="holds no sound"):
        read_wav(write_wav(tmp_path / "empty.wav", np.zeros(0)))
    with pytest.raises(UserError, match=r"30\.1 s cannot be heard at once"):
        log_mel(torch.zeros(round(30.1 * RATE)))
    with pytest.raises(UserError, match="not nothing"):
        log_mel(torch.zeros(0))
    with pytest.raises(UserError, match="NaN"):
        log_mel(torch.full((RATE,), torch.nan))
