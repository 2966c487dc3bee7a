"""Text read in both directions (BERT: Devlin et al. 2018, arXiv 1810.04805): masked words are foretold from all others.

Models of whole sentences, such as MiniLM, are it without a head: the mean of the tokens stands for the sentence
(Reimers & Gurevych 2019, arXiv 1908.10084).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.trunk.attention import AttentionConfig
from beholder.trunk.embed import TokenEmbedding
from beholder.trunk.init import initialise_language
from beholder.trunk.mlp import ACTIVATIONS
from beholder.trunk.norm import NormConfig, build_norm
from beholder.trunk.transformer import Transformer, TransformerConfig


@dataclass(frozen=True)
class BERTConfig:
    """Shape of the model."""

    vocabulary_size: int = 30522
    num_positions: int = 512
    """Rows of the learned table of positions, which is also the longest text."""
    num_kinds: int = 2
    """Rows of the table that tells the first text from the second."""
    has_word_head: bool = True
    """Whether it foretells masked words; the table of tokens is the last map of that head."""
    has_pooler: bool = False
    """Whether a learned map of the first token stands for the whole text."""
    has_order_head: bool = False
    """Whether it tells, from the pooled token, if the second text followed the first."""
    trunk: TransformerConfig = field(default_factory=TransformerConfig)


def bert_trunk(width: int, depth: int, num_heads: int) -> TransformerConfig:
    """As published: a norm after each sum and none at the end."""
    return TransformerConfig(
        width, depth, AttentionConfig(num_heads), norm=NormConfig(eps=1e-12), norm_at="post", has_final_norm=False
    )


PRESETS = {
    "bert-base": BERTConfig(trunk=bert_trunk(768, 12, 12)),
    "minilm-l6": BERTConfig(has_word_head=False, has_pooler=True, trunk=bert_trunk(384, 6, 12)),
    "debug": BERTConfig(64, 32, trunk=bert_trunk(24, 2, 3)),
}


class WordHead(nn.Module):
    """Scores of every word for every token: dense map, activation, norm, and the table of tokens."""

    def __init__(self, config: BERTConfig) -> None:
        super().__init__()
        width = config.trunk.width
        self.dense = nn.Linear(width, width)
        self.activation = ACTIVATIONS[config.trunk.mlp.activation]
        self.norm = build_norm(config.trunk.norm, width)
        self.bias = nn.Parameter(torch.zeros(config.vocabulary_size))

    def forward(self, x: Float[Tensor, "B T D"], table: Float[Tensor, "V D"]) -> Float[Tensor, "B T V"]:
        return F.linear(self.norm(self.activation(self.dense(x))), table, self.bias)


class BERT(nn.Module):
    """Token numbers to tokens that know their surroundings, and with the head for it to scores of words."""

    def __init__(self, config: BERTConfig = PRESETS["bert-base"]) -> None:
        super().__init__()
        assert config.has_pooler or not config.has_order_head, "the order head reads the pooled token"
        self.config = config
        width, norm = config.trunk.width, config.trunk.norm
        self.embed = TokenEmbedding(
            config.vocabulary_size, width, config.num_positions, num_kinds=config.num_kinds, norm=norm
        )
        self.trunk = Transformer(config.trunk)
        self.head = WordHead(config) if config.has_word_head else None
        self.pooler = nn.Linear(width, width) if config.has_pooler else None
        self.order_head = nn.Linear(width, 2) if config.has_order_head else None
        initialise_language(self)

    def forward(
        self,
        tokens: Int[Tensor, "B T"],
        *,
        is_real: Bool[Tensor, "B T"] | None = None,
        kinds: Int[Tensor, "B T"] | None = None,
        rows: Int[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B T V"]:
        """Scores of every word at every place."""
        return self.logits(self.hidden(tokens, is_real=is_real, kinds=kinds, rows=rows))

    def hidden(
        self,
        tokens: Int[Tensor, "B T"],
        *,
        is_real: Bool[Tensor, "B T"] | None = None,
        kinds: Int[Tensor, "B T"] | None = None,
        rows: Int[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B T D"]:
        """The last block's tokens; those of padding mean nothing.

        `is_real` is False for padding, on either side: positions are counted over real tokens. `kinds` are 0 for the
        first text and 1 for the second, 0 where not given. `rows` are the numbers of packed examples.
        """
        x = self.embed(tokens, self.embed.places(tokens, is_real, rows, None), kinds)
        return self.trunk(x, is_real=is_real, rows=rows)[-1]

    def logits(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T V"]:
        """Scores of all words from the last block's tokens."""
        assert self.head is not None, "this model has no head for masked words"
        return self.head(x, self.embed.tokens.weight)

    def pooled(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B D"]:
        """What stands for each text, in [-1, 1], from the last block's tokens; the first of them must be real."""
        assert self.pooler is not None, "this model has no pooler"
        return self.pooler(x[:, 0]).tanh()

    def order(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B 2"]:
        """Scores of "the second text follows the first" and of "it does not"."""
        assert self.order_head is not None, "this model has no head for the order of texts"
        return self.order_head(self.pooled(x))

    def sentence(self, tokens: Int[Tensor, "B T"], is_real: Bool[Tensor, "B T"] | None = None) -> Float[Tensor, "B D"]:
        """One vector of unit length for each text, the mean of its real tokens, for models trained to this end."""
        x = self.hidden(tokens, is_real=is_real)
        if is_real is None:
            return F.normalize(x.mean(1), dim=-1)
        share = is_real.to(x.dtype) / is_real.sum(1, keepdim=True).clamp_min(1)  # B T
        return F.normalize((x * share[:, :, None]).sum(1), dim=-1)
