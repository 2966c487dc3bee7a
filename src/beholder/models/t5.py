"""Text to text (T5: Raffel et al. 2019, arXiv 1910.10683): one trunk reads the source, another writes the target.

Version 1.0 bends with relu and ties its head to the table of tokens; version 1.1 and FLAN-T5 have a gated gelu and a
head of their own (Shazeer 2020, arXiv 2002.05202). Nothing has a bias, and scores are not scaled.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.trunk.attention import AttentionConfig
from beholder.trunk.cache import Cache
from beholder.trunk.init import initialise_unscaled
from beholder.trunk.mask import MaskConfig
from beholder.trunk.mlp import MLPConfig
from beholder.trunk.norm import NormConfig
from beholder.trunk.position import BucketConfig
from beholder.trunk.transformer import Transformer, TransformerConfig


@dataclass(frozen=True)
class T5Config:
    """Shape of the model."""

    vocabulary_size: int = 32128
    is_tied: bool = True
    """Whether the table of tokens is also the head."""
    is_scaled: bool = True
    """Whether the last tokens are divided by the root of their width before the head (version 1.0)."""
    start_token: int | None = 0
    """What the decoder reads first, where the checkpoint tells it."""
    encoder: TransformerConfig = field(default_factory=TransformerConfig)
    decoder: TransformerConfig = field(default_factory=TransformerConfig)


def t5_encoder(width: int, depth: int, attention: AttentionConfig, mlp: MLPConfig) -> TransformerConfig:
    """As published: root-mean-square norms before each branch, and distances in 32 buckets up to 128."""
    norm = NormConfig("rms", 1e-6)
    return TransformerConfig(width, depth, attention, mlp, norm, distance=BucketConfig())


def t5_attention(num_heads: int, head_width: int) -> AttentionConfig:
    """Heads without biases and without scale, of a width that is free."""
    return AttentionConfig(num_heads, head_width=head_width, biases=(), scale=1.0)


def decoder_of(encoder: TransformerConfig, depth: int | None = None) -> TransformerConfig:
    """The same trunk, reading from left to right and the encoder's tokens beside; `depth` may differ."""
    depth = encoder.depth if depth is None else depth
    return replace(encoder, depth=depth, mask=MaskConfig(is_causal=True), source_width=encoder.width)


def _preset(width: int, depth: int, num_heads: int, inner: int, vocabulary_size: int = 32128) -> T5Config:
    mlp = MLPConfig(inner, "relu", has_bias=False)
    encoder = t5_encoder(width, depth, t5_attention(num_heads, 64 if width > 64 else 12), mlp)
    return T5Config(vocabulary_size, encoder=encoder, decoder=decoder_of(encoder))


PRESETS = {
    "t5-small": _preset(512, 6, 8, 2048),
    "t5-base": _preset(768, 12, 12, 3072),
    "debug": _preset(24, 2, 3, 48, vocabulary_size=64),
}


class T5(nn.Module):
    """Source tokens and the target so far to scores of the target's next token."""

    def __init__(self, config: T5Config = PRESETS["t5-small"]) -> None:
        super().__init__()
        assert config.decoder.source_width == config.encoder.width, "the decoder reads what the encoder gives"
        assert config.decoder.mask.is_causal, "the decoder reads from left to right"
        self.config = config
        self.tokens = nn.Embedding(config.vocabulary_size, config.encoder.width)
        self.encoder = Transformer(config.encoder)
        self.decoder = Transformer(config.decoder)
        self.head = None if config.is_tied else nn.Linear(config.decoder.width, config.vocabulary_size, bias=False)
        initialise_unscaled(self)

    def forward(
        self,
        source_tokens: Int[Tensor, "B S"],
        tokens: Int[Tensor, "B T"],
        *,
        source_is_real: Bool[Tensor, "B S"] | None = None,
        is_real: Bool[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B T V"]:
        """Scores of each next token of the target. `is_real` are False for padding, on either side."""
        source = self.encode(source_tokens, source_is_real)
        return self.decode(tokens, source, source_is_real=source_is_real, is_real=is_real)

    def encode(self, tokens: Int[Tensor, "B S"], is_real: Bool[Tensor, "B S"] | None = None) -> Float[Tensor, "B S D"]:
        """What the decoder reads of the source."""
        return self.encoder(self.tokens(tokens), is_real=is_real)[-1]

    def decode(
        self,
        tokens: Int[Tensor, "B T"],
        source: Float[Tensor, "B S D"],
        cache: Cache | None = None,
        *,
        source_is_real: Bool[Tensor, "B S"] | None = None,
        is_real: Bool[Tensor, "B held"] | None = None,
    ) -> Float[Tensor, "B T V"]:
        """Scores of each next token. With a cache, the source is read once, at the first call; `is_real` then tells of
        the tokens that the cache holds too."""
        x = self.decoder(
            self.tokens(tokens), is_real=is_real, source=source, source_is_real=source_is_real, cache=cache
        )[-1]
        return self.logits(x)

    def logits(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T V"]:
        """Scores of all tokens."""
        if self.config.is_scaled:
            x = x * x.shape[-1] ** -0.5
        return F.linear(x, self.tokens.weight) if self.head is None else self.head(x)
