"""Sequential modelling of pictures (LVM: Bai et al. 2023, arXiv 2312.00785): a causal trunk in LLaMA's shape (Touvron
et al. 2023, arXiv 2302.13971) that foretells the next code of a visual sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.models.gpt import GPT, GPTConfig
from beholder.trunk.attention import AttentionConfig
from beholder.trunk.cache import Cache
from beholder.trunk.init import initialise_tables
from beholder.trunk.mask import MaskConfig
from beholder.trunk.mlp import MLPConfig
from beholder.trunk.norm import NormConfig
from beholder.trunk.position import RotaryConfig
from beholder.trunk.transformer import TransformerConfig


def llama_trunk(width: int, depth: int, num_heads: int) -> TransformerConfig:
    """LLaMA's shape: root-mean-square norms, gated feed-forward networks, rotary positions, no biases."""
    inner = -(-8 * width // 3 // 32) * 32  # the gate is a third matrix, so that each has two thirds of the usual width
    return TransformerConfig(
        width, depth, AttentionConfig(num_heads, biases=()),
        MLPConfig(inner, "silu", is_gated=True, has_bias=False), NormConfig("rms", 1e-6),
        mask=MaskConfig(is_causal=True), rotary=RotaryConfig(),
    )  # fmt: skip


TRUNKS = {
    "tiny": llama_trunk(128, 4, 4),
    "small": llama_trunk(256, 6, 4),
    "base": llama_trunk(512, 8, 8),
    "debug": llama_trunk(32, 2, 2),
}
"""By size."""


@dataclass(frozen=True)
class LVMConfig:
    """Shape of the model, and of the sentences that it reads (`tokenizers.sentences`)."""

    num_codes: int
    """Of the codec; they are the first tokens."""
    grid: tuple[int, int]
    """Rows and columns of a picture's codes; before them stands the token that opens the picture."""
    vocabulary_size: int
    """Codes, special tokens, and what fills them up."""
    context_length: int
    """Tokens of the longest sentence: one that begins it, and its pictures."""
    has_places: bool = True
    """Whether learned tables tell each token its place in its picture, and its picture's in the sentence, beside the
    rotary positions: the same place of the example is then found by its row of the table. The published LVM has
    none."""
    is_tied: bool = True
    """Whether the table of tokens is also the head. The published LVM has two."""
    trunk: TransformerConfig = field(default_factory=lambda: TRUNKS["tiny"])

    @property
    def tokens_per_picture(self) -> int:
        return 1 + self.grid[0] * self.grid[1]

    @property
    def num_pictures(self) -> int:
        """Most pictures in a sentence."""
        return (self.context_length - 1) // self.tokens_per_picture


class LVM(nn.Module):
    """Tokens of visual sentences to scores of the next token. It is a GPT, and generates as one."""

    def __init__(self, config: LVMConfig) -> None:
        super().__init__()
        self.config = config
        self.gpt = GPT(
            GPTConfig(
                config.vocabulary_size, None, is_tied=config.is_tied, context_length=config.context_length,
                trunk=config.trunk,
            )
        )  # fmt: skip
        width = config.trunk.width
        self.places = nn.Embedding(config.tokens_per_picture, width) if config.has_places else None
        self.order = nn.Embedding(config.num_pictures, width) if config.has_places else None
        initialise_tables(self)

    @property
    def code_table(self) -> nn.Embedding:
        """Whose first rows are the codes."""
        return self.gpt.embed.tokens

    @property
    def longest(self) -> int:
        """Tokens that the model can read."""
        return self.config.context_length

    def forward(
        self, tokens: Int[Tensor, "B T"], *, is_real: Bool[Tensor, "B S"] | None = None, cache: Cache | None = None
    ) -> Float[Tensor, "B T V"]:
        """Scores of each next token."""
        return self.gpt.logits(self.hidden(tokens, is_real=is_real, cache=cache))

    def hidden(
        self, tokens: Int[Tensor, "B T"], *, is_real: Bool[Tensor, "B S"] | None = None, cache: Cache | None = None
    ) -> Float[Tensor, "B T D"]:
        """The last block's tokens, normalised."""
        return self.depths(tokens, is_real=is_real, cache=cache)[-1]

    @property
    def head_weight(self) -> Float[Tensor, "V D"]:
        """Rows whose products with a token of the trunk are the scores."""
        return self.gpt.head_weight

    def depths(
        self,
        tokens: Int[Tensor, "B T"],
        taps: Sequence[int] = (),
        *,
        is_real: Bool[Tensor, "B S"] | None = None,
        cache: Cache | None = None,
    ) -> tuple[Float[Tensor, "B T D"], ...]:
        """The tokens after each block in `taps` (from 1) and after the last, normalised."""
        if self.places is None or self.order is None:
            return self.gpt.depths(tokens, is_real=is_real, cache=cache, taps=taps)
        positions = self.gpt.embed.places(tokens, is_real, None, None, cache.length if cache else 0)
        after = (positions - 1).clamp_min(0)  # the token that begins the sentence counts to its first picture
        picture = (after // self.config.tokens_per_picture).clamp_max(self.config.num_pictures - 1)
        added = self.places(after % self.config.tokens_per_picture) + self.order(picture)
        return self.gpt.depths(tokens, is_real=is_real, positions=positions, cache=cache, added=added, taps=taps)

    def losses(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B rest"]:
        """Nats that each token from the second on costs, given all before it: T - 1 numbers a sentence."""
        logits = self(tokens[:, :-1]).float()
        return F.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none")

    def surprise(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B pictures"]:
        """Mean nats a code of each picture of each sentence, given the pictures before it."""
        pictures = self.losses(tokens).unflatten(1, (-1, self.config.tokens_per_picture))
        return pictures[:, :, 1:].mean(2)
