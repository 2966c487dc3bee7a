"""Speech to text (Whisper: Radford et al. 2022, arXiv 2212.04356): one trunk hears a mel spectrogram, one writes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.trunk.attention import AttentionConfig
from beholder.trunk.cache import Cache
from beholder.trunk.embed import TokenEmbedding
from beholder.trunk.init import initialise_language
from beholder.trunk.mask import MaskConfig
from beholder.trunk.mlp import MLPConfig
from beholder.trunk.norm import NormConfig
from beholder.trunk.transformer import Transformer, TransformerConfig
from beholder.types import UserError


@dataclass(frozen=True)
class WhisperConfig:
    """Shape of the model."""

    num_mels: int = 80
    """Frequency bands of the spectrogram."""
    num_source_positions: int = 1500
    """Tokens of the longest sound, half as many as its frames: 30 s at 100 frames a second."""
    vocabulary_size: int = 51865
    num_positions: int = 448
    """Tokens of the longest text."""
    start_token: int = 50257
    """What the decoder reads first."""
    end_tokens: tuple[int, ...] = (50256,)
    padding_token: int | None = 50256
    forced_tokens: tuple[int, ...] = ()
    """What follows the start token before the text begins; none where that depends on the language."""
    suppressed_tokens: tuple[int, ...] = ()
    """Never to be told: brackets, notes of music and the like, with which subtitles mark what is no speech."""
    first_suppressed_tokens: tuple[int, ...] = ()
    """Not to be told first: a space, and the end."""
    encoder: TransformerConfig = field(default_factory=TransformerConfig)
    decoder: TransformerConfig = field(default_factory=TransformerConfig)

    @property
    def is_multilingual(self) -> bool:
        """Whether it must be told the language; models of English alone have 51,864 tokens, and others more."""
        return self.vocabulary_size > 51864


def whisper_trunk(
    width: int, depth: int, num_heads: int, mlp: MLPConfig | None = None, *, is_decoder: bool
) -> TransformerConfig:
    """As published: norms before each branch, and keys without a bias."""
    return TransformerConfig(
        width,
        depth,
        AttentionConfig(num_heads, biases=("query", "value", "out")),
        mlp or MLPConfig(),
        NormConfig(eps=1e-5),
        mask=MaskConfig(is_causal=is_decoder),
        source_width=width if is_decoder else None,
    )


def _preset(width: int, depth: int, num_heads: int, vocabulary_size: int = 51865) -> WhisperConfig:
    """The vocabulary of many languages has a word more than that of English alone; special tokens follow the words."""
    end = 50257 if vocabulary_size == 51865 else 50256
    encoder, decoder = (whisper_trunk(width, depth, num_heads, is_decoder=which) for which in (False, True))
    return WhisperConfig(
        vocabulary_size=vocabulary_size, start_token=end + 1, end_tokens=(end,), padding_token=end, encoder=encoder,
        decoder=decoder,
    )  # fmt: skip


PRESETS = {
    "whisper-tiny": _preset(384, 4, 6),
    "whisper-tiny.en": _preset(384, 4, 6, 51864),
    "debug": replace(_preset(24, 2, 3, 64), num_mels=8, num_source_positions=20, num_positions=32, start_token=1,
                     end_tokens=(2,), padding_token=0),
}  # fmt: skip


def sine_times(length: int, width: int) -> Float[Tensor, "T D"]:
    """Fixed sines, then cosines, of the time, with wavelengths from 2 pi to 20,000 pi tokens; values in [-1, 1]."""
    assert width % 2 == 0 and width >= 4, f"sines and cosines share the width, so that it is even, not {width}"
    rates = torch.exp(-math.log(10_000.0) / (width // 2 - 1) * torch.arange(width // 2))
    angles = torch.arange(length)[:, None] * rates  # T D/2
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class SoundEncoder(nn.Module):
    """Two convolutions over the spectrogram, the second of which halves the frames; times; the trunk."""

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        width = config.encoder.width
        self.first = nn.Conv1d(config.num_mels, width, kernel_size=3, padding=1)
        self.second = nn.Conv1d(width, width, kernel_size=3, stride=2, padding=1)
        self.times: Tensor
        self.register_buffer("times", sine_times(config.num_source_positions, width))  # not trained, but saved
        self.trunk = Transformer(config.encoder)

    def forward(self, spectrogram: Float[Tensor, "B C frames"]) -> Float[Tensor, "B S D"]:
        """Raises UserError when the sound is longer than the model hears, or of other bands."""
        if spectrogram.shape[1] != self.first.in_channels:
            raise UserError(
                f"A spectrogram of {spectrogram.shape[1]} mel bands does not fit a model that hears "
                f"{self.first.in_channels}; make it with as many."
            )
        x = F.gelu(self.second(F.gelu(self.first(spectrogram)))).transpose(1, 2)  # B S D
        longest = len(self.times)
        if x.shape[1] > longest:
            raise UserError(
                f"A spectrogram of {spectrogram.shape[2]:,} frames is longer than the {2 * longest:,} that this model "
                "hears; cut the sound into shorter parts."
            )
        return self.trunk(x + self.times[: x.shape[1]])[-1]


class Whisper(nn.Module):
    """A spectrogram and the text so far to scores of the text's next token; the table of tokens is also the head."""

    def __init__(self, config: WhisperConfig = PRESETS["whisper-tiny"]) -> None:
        super().__init__()
        assert config.decoder.source_width == config.encoder.width, "the decoder reads what the encoder gives"
        assert config.decoder.mask.is_causal, "the decoder reads from left to right"
        self.config = config
        self.encoder = SoundEncoder(config)
        self.embed = TokenEmbedding(config.vocabulary_size, config.decoder.width, config.num_positions)
        self.decoder = Transformer(config.decoder)
        initialise_language(self)

    @property
    def longest(self) -> int:
        """Tokens of the longest text."""
        return self.config.num_positions

    def forward(
        self,
        spectrogram: Float[Tensor, "B C frames"],
        tokens: Int[Tensor, "B T"],
        *,
        is_real: Bool[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B T V"]:
        """Scores of each next token of the text. `is_real` is False for padding, on either side."""
        return self.decode(tokens, self.encode(spectrogram), is_real=is_real)

    def encode(self, spectrogram: Float[Tensor, "B C frames"]) -> Float[Tensor, "B S D"]:
        """What the decoder hears. The published models were trained on exactly 30 s, short sounds filled up with
        silence; they hear shorter ones, but were not made for it."""
        return self.encoder(spectrogram)

    def decode(
        self,
        tokens: Int[Tensor, "B T"],
        source: Float[Tensor, "B S D"],
        cache: Cache | None = None,
        *,
        is_real: Bool[Tensor, "B held"] | None = None,
    ) -> Float[Tensor, "B T V"]:
        """Scores of each next token. With a cache, the source is read once, at the first call; `is_real` then tells of
        the tokens that the cache holds too."""
        positions = self.embed.places(tokens, is_real, None, None, cache.length if cache else 0)
        x = self.decoder(self.embed(tokens, positions), is_real=is_real, source=source, cache=cache)[-1]
        return F.linear(x, self.embed.tokens.weight)
