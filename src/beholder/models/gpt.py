"""Language models that read from left to right (GPT: Radford et al. 2018, 2019): every token foretells the next.

GPT-2, OPT, BLOOM, GPT-NeoX, LLaMA and LVM, SmolLM, Qwen and Mixtral are settings of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.trunk.attention import AttentionConfig
from beholder.trunk.cache import Cache
from beholder.trunk.embed import Instead, TokenEmbedding
from beholder.trunk.init import initialise_language
from beholder.trunk.mask import MaskConfig
from beholder.trunk.mlp import MLPConfig
from beholder.trunk.norm import NormConfig
from beholder.trunk.transformer import Transformer, TransformerConfig


@dataclass(frozen=True)
class GPTConfig:
    """Shape of the model."""

    vocabulary_size: int = 50257
    num_positions: int | None = 1024
    """Rows of the learned table of positions, which is also the longest text; None: the trunk tells places."""
    position_offset: int = 0
    """Rows of that table before the first position (OPT: 2)."""
    embedding_norm: NormConfig | None = None
    """Of the tokens before the first block (BLOOM)."""
    is_tied: bool = True
    """Whether the table of tokens is also the head."""
    context_length: int | None = None
    """Longest text that the model was trained on, where no table of positions says so."""
    trunk: TransformerConfig = field(default_factory=TransformerConfig)


def _gpt2(width: int, depth: int, num_heads: int) -> TransformerConfig:
    return TransformerConfig(
        width, depth, AttentionConfig(num_heads), MLPConfig(activation="gelu_tanh"), NormConfig(eps=1e-5),
        mask=MaskConfig(is_causal=True),
    )  # fmt: skip


PRESETS = {
    "gpt2": GPTConfig(trunk=_gpt2(768, 12, 12)),
    "debug": GPTConfig(vocabulary_size=64, num_positions=32, trunk=_gpt2(32, 2, 2)),
}


class GPT(nn.Module):
    """Token numbers to scores of the next token."""

    def __init__(self, config: GPTConfig = PRESETS["gpt2"]) -> None:
        super().__init__()
        self.config = config
        width = config.trunk.width
        self.embed = TokenEmbedding(
            config.vocabulary_size, width, config.num_positions, config.position_offset, norm=config.embedding_norm
        )
        self.trunk = Transformer(config.trunk)
        self.head = None if config.is_tied else nn.Linear(width, config.vocabulary_size, bias=False)
        initialise_language(self)

    @property
    def longest(self) -> int | None:
        """Tokens that the model can read, as far as it says so."""
        return self.config.num_positions or self.config.context_length

    def forward(self, tokens: Int[Tensor, "B T"], **told: Any) -> Float[Tensor, "B T V"]:
        """Scores of each next token. Arguments as of `hidden`."""
        return self.logits(self.hidden(tokens, **told))

    def next_scores(self, tokens: Int[Tensor, "B T"], **told: Any) -> Float[Tensor, "B V"]:
        """Scores of what comes after the last token alone, which saves the others' share of a large vocabulary."""
        return self.logits(self.hidden(tokens, **told)[:, -1])

    def hidden(self, tokens: Int[Tensor, "B T"], **told: Any) -> Float[Tensor, "B T D"]:
        """The last block's tokens, normalised. Arguments as of `depths`."""
        return self.depths(tokens, **told)[-1]

    def depths(
        self,
        tokens: Int[Tensor, "B T"],
        *,
        is_real: Bool[Tensor, "B S"] | None = None,
        rows: Int[Tensor, "B T"] | None = None,
        positions: Int[Tensor, "A T"] | None = None,
        cache: Cache | None = None,
        added: Float[Tensor, "A T D"] | None = None,
        instead: Instead | None = None,
        taps: Sequence[int] = (),
        **seen: Any,
    ) -> tuple[Float[Tensor, "B T D"], ...]:
        """The tokens after each block in `taps` and after the last, normalised. Arguments as of `Transformer`; `seen`
        are a source and who may look at it. With `is_real`, positions are counted over the tokens that are real;
        `added` is what else is known of the tokens, `instead` what stands in the place of some."""
        if positions is None and rows is None and is_real is None and cache is not None:
            positions = cache.places(tokens)[:, cache.length :]
        positions = self.embed.places(tokens, is_real, rows, positions)
        x = self.embed(tokens, positions, instead=instead)
        if added is not None:
            x = x + added
        return self.trunk(x, positions=positions, is_real=is_real, rows=rows, cache=cache, taps=taps, **seen)

    def logits(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B V"]:
        """Scores of all tokens."""
        return F.linear(x, self.embed.tokens.weight) if self.head is None else self.head(x)

    @property
    def head_weight(self) -> Float[Tensor, "V D"]:
        """Rows whose products with a token of the trunk are the scores."""
        return self.embed.tokens.weight if self.head is None else self.head.weight
