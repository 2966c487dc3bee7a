"""Sound as a model of speech hears it: a waveform, and its energy in bands that follow the ear."""

from __future__ import annotations

import math
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from scipy.signal import resample_poly
from torch import Tensor
from torch.nn import functional as F

from beholder.types import UserError

RATE = 16_000
"""Samples a second, of all waveforms here."""
_QUIETEST = 1e-10
_RANGE = 8.0
"""Powers of ten below the loudest band, beyond which nothing is told apart."""
_KNEE_HERTZ, _KNEE_MELS = 1000.0, 15.0
"""Slaney's scale is linear below, three mels in 200 Hz, and logarithmic above, 27 mels for a factor of 6.4."""


@dataclass(frozen=True)
class SpectrogramConfig:
    """As Whisper hears (Radford et al. 2022, arXiv 2212.04356): windows of 25 ms, one every 10 ms."""

    num_mels: int = 80
    window: int = 400
    """Samples that are transformed together, under a Hann window."""
    step: int = 160
    num_seconds: int = 30
    """Shorter sounds are filled up with silence."""


def mel_filters(config: SpectrogramConfig) -> Float[Tensor, "C F"]:
    """How much each frequency of a window counts in each band: triangles of equal area, which overlap by half, evenly
    spaced from 0 to half the rate on the mel scale (Slaney 1998, Auditory Toolbox)."""
    frequencies = torch.linspace(0, RATE / 2, config.window // 2 + 1, dtype=torch.float64)
    mels = torch.linspace(0, _to_mels(RATE / 2), config.num_mels + 2, dtype=torch.float64)
    edges = torch.where(
        mels < _KNEE_MELS, mels * 200 / 3, _KNEE_HERTZ * torch.exp((mels - _KNEE_MELS) * math.log(6.4) / 27)
    )
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (frequencies - low) / (middle - low), (high - frequencies) / (high - middle)
    return (torch.minimum(rising, falling).clamp_min(0) * 2 / (high - low)).float()


def log_mel(
    waveform: Float[Tensor, " samples"], config: SpectrogramConfig = SpectrogramConfig()
) -> Float[Tensor, "C frames"]:
    """Log energy of each band, from about -1 to 1 and more: (log10 + 4) / 4, no more than 2 below the loudest.

    `waveform` has 16,000 samples a second, from -1 to 1; frames are 100 a second. Raises UserError for a
    sound that is longer than `num_seconds`, empty, or not finite.
    """
    longest = config.num_seconds * RATE
    if not 0 < len(waveform) <= longest:
        raise UserError(
            f"A sound of {len(waveform) / RATE:,.1f} s cannot be heard at once, only up to {config.num_seconds} s and "
            "not nothing; cut it into parts."
        )
    if not bool(waveform.isfinite().all()):
        raise UserError("The waveform holds NaN or infinity; read it again from its file.")
    filled = F.pad(waveform.float(), (0, longest - len(waveform)))
    window = torch.hann_window(config.window, device=filled.device)
    waves = torch.stft(filled, config.window, config.step, window=window, return_complex=True)
    energy = waves[:, :-1].abs().square()  # F frames; the last one is centred behind the end
    bands = (mel_filters(config).to(energy.device) @ energy).clamp_min(_QUIETEST).log10()  # C frames
    return (bands.maximum(bands.max() - _RANGE) + 4) / 4


def read_wav(path: Path) -> Float[Tensor, " samples"]:
    """A WAV file as a waveform at 16 kHz, values from -1 to 1: channels are averaged, other rates are resampled.

    Samples are whole numbers of 8 to 32 bits. Raises UserError for what is no such file, or is empty.
    """
    try:
        with wave.open(str(path), "rb") as file:
            rate, num_channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
            data = file.readframes(file.getnframes())
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; name a sound file.") from error
    except (wave.Error, EOFError, OSError) as error:
        reason = str(error) or "it ends too early"
        raise UserError(
            f"{path} is no WAV file of whole numbers ({reason}); convert it, for instance with "
            "`ffmpeg -i SOUND -ac 1 -ar 16000 -c:a pcm_s16le SOUND.wav`."
        ) from error
    samples = _as_numbers(data[: len(data) // (width * num_channels) * width * num_channels], width)
    if not len(samples):
        raise UserError(f"{path} holds no sound; record it again.")
    mono = samples.reshape(-1, num_channels).mean(1)
    return torch.from_numpy(resample(mono, rate).astype(np.float32))


def resample(samples: np.ndarray, rate: int) -> np.ndarray:
    """At 16,000 samples a second, what was at `rate`; frequencies that do not fit are filtered out before."""
    if rate == RATE:
        return samples
    shared = math.gcd(rate, RATE)
    return resample_poly(samples, RATE // shared, rate // shared)


def _as_numbers(data: bytes, width: int) -> np.ndarray:
    """Samples of `width` bytes each, little end first, as numbers from -1 to 1; those of one byte have no sign."""
    if width == 1:
        return (np.frombuffer(data, np.uint8).astype(np.float64) - 128) / 128
    raw = np.frombuffer(data, np.uint8).reshape(-1, width)
    wide = np.zeros((len(raw), 4), np.uint8)  # of four bytes: those that are there are the highest
    wide[:, 4 - width :] = raw
    return wide.view("<i4")[:, 0].astype(np.float64) / 2**31


def _to_mels(hertz: float) -> float:
    return _KNEE_MELS + math.log(hertz / _KNEE_HERTZ) * 27 / math.log(6.4)
