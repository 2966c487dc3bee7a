"""Text to picture, in two forms behind one interface: one causal trunk over the caption and then the picture's codes
(DALL-E: Ramesh et al. 2021, arXiv 2102.12092), or a trunk that reads the caption and one that writes the codes (Parti:
Yu et al. 2022, arXiv 2206.10789).

Both read whole rows, the caption's tokens, the beginning, the codes (`tokenizers.captioned`), and generate as a GPT.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.models.gpt import GPT, GPTConfig
from beholder.models.lvm import TRUNKS
from beholder.trunk.cache import Cache
from beholder.trunk.init import initialise_language, initialise_tables
from beholder.trunk.mask import MaskConfig
from beholder.trunk.transformer import Transformer, TransformerConfig

Form = Literal["causal", "encoder-decoder"]


@dataclass(frozen=True)
class TextToImageConfig:
    """Shape of the model, and of the rows that it reads."""

    num_codes: int
    """Of the codec; they are the first tokens, and the one that begins a picture comes next."""
    grid: tuple[int, int]
    """Rows and columns of a picture's codes."""
    num_words: int
    """Tokens of captions, the last of which fills them up."""
    longest_caption: int
    """Tokens of each caption."""
    vocabulary_size: int
    """All of these, and what fills them up."""
    form: Form = "causal"
    trunk: TransformerConfig = field(default_factory=lambda: TRUNKS["tiny"])
    """What writes codes: LLaMA's shape, with rotary positions beside the learned tables of places."""
    encoder_depth: int | None = None
    """Blocks of the trunk that reads captions, in the form of two; None: half as many as write."""

    @property
    def codes_per_picture(self) -> int:
        return self.grid[0] * self.grid[1]

    @property
    def length(self) -> int:
        """Tokens of a row."""
        return self.longest_caption + 1 + self.codes_per_picture


class Places(nn.Module):
    """Tables that tell each token its place: one row for each of a caption, one for the picture's beginning, and of
    codes the sum of their row's and their column's."""

    def __init__(self, longest_caption: int, grid: tuple[int, int], width: int) -> None:
        super().__init__()
        self.longest_caption, self.grid = longest_caption, grid
        self.caption = nn.Embedding(longest_caption + 1, width)
        self.rows, self.columns = nn.Embedding(grid[0], width), nn.Embedding(grid[1], width)

    def forward(self, first: int, num_tokens: int) -> Float[Tensor, "1 T D"]:
        """Of so many tokens of a row, from that one on."""
        places = torch.arange(first, first + num_tokens, device=self.caption.weight.device)
        code = places - self.longest_caption - 1
        told = self.caption(places.clamp_max(self.longest_caption))
        row = torch.div(code.clamp_min(0), self.grid[1], rounding_mode="floor")
        drawn = self.rows(row) + self.columns(code.clamp_min(0) % self.grid[1])
        return torch.where((code < 0)[:, None], told, drawn)[None]


class CausalDrawer(nn.Module):
    """One trunk: caption and picture are one text."""

    def __init__(self, config: TextToImageConfig) -> None:
        super().__init__()
        self.config = config
        self.gpt = GPT(GPTConfig(config.vocabulary_size, None, context_length=config.length, trunk=config.trunk))
        self.places = Places(config.longest_caption, config.grid, config.trunk.width)
        initialise_tables(self)

    @property
    def code_table(self) -> nn.Embedding:
        """Whose first rows are the codes."""
        return self.gpt.embed.tokens

    @property
    def longest(self) -> int:
        """Tokens that the model can read."""
        return self.config.length

    def forward(
        self, tokens: Int[Tensor, "B T"], *, is_real: Bool[Tensor, "B S"] | None = None, cache: Cache | None = None
    ) -> Float[Tensor, "B T V"]:
        """Scores of each next token."""
        return self.gpt.logits(self.hidden(tokens, is_real=is_real, cache=cache))

    def next_scores(
        self, tokens: Int[Tensor, "B T"], *, is_real: Bool[Tensor, "B S"] | None = None, cache: Cache | None = None
    ) -> Float[Tensor, "B K"]:
        """Scores of the next code alone: no other token can follow where a picture has begun."""
        x = self.hidden(tokens, is_real=is_real, cache=cache)[:, -1]
        return F.linear(x, self.head_weight[: self.config.num_codes])

    @property
    def head_weight(self) -> Float[Tensor, "V D"]:
        """Rows whose products with a token of the trunk are the scores."""
        return self.gpt.head_weight

    def hidden(
        self, tokens: Int[Tensor, "B T"], *, is_real: Bool[Tensor, "B S"] | None = None, cache: Cache | None = None
    ) -> Float[Tensor, "B T D"]:
        """The last block's tokens, normalised."""
        assert is_real is None, "rows have one length"
        held = cache.length if cache else 0
        return self.gpt.hidden(tokens, cache=cache, added=self.places(held, tokens.shape[1]))


class EncoderDecoder(nn.Module):
    """Two trunks: what writes the codes looks at what was read of the caption."""

    def __init__(self, config: TextToImageConfig) -> None:
        super().__init__()
        self.config = config
        writer, width = config.trunk, config.trunk.width
        depth = max(1, writer.depth // 2) if config.encoder_depth is None else config.encoder_depth
        self.tokens = nn.Embedding(config.vocabulary_size, width)
        self.encoder = Transformer(replace(writer, depth=depth, mask=MaskConfig()))
        self.decoder = Transformer(replace(writer, source_width=width))
        self.places = Places(config.longest_caption, config.grid, width)
        initialise_language(self)
        initialise_tables(self)

    @property
    def code_table(self) -> nn.Embedding:
        """Whose first rows are the codes."""
        return self.tokens

    @property
    def longest(self) -> int:
        """Tokens that the model can read."""
        return self.config.length

    def forward(
        self, tokens: Int[Tensor, "B T"], *, is_real: Bool[Tensor, "B S"] | None = None, cache: Cache | None = None
    ) -> Float[Tensor, "B T K"]:
        """Scores of each next code; those of a caption's tokens are zeros, for they are read and never foretold."""
        scores = self._scores(self._write(tokens, is_real, cache))
        num_before = tokens.shape[1] - scores.shape[1]
        return F.pad(scores, (0, 0, num_before, 0)) if num_before else scores

    def next_scores(
        self, tokens: Int[Tensor, "B T"], *, is_real: Bool[Tensor, "B S"] | None = None, cache: Cache | None = None
    ) -> Float[Tensor, "B K"]:
        """Scores of the next code."""
        return self._scores(self._write(tokens, is_real, cache)[:, -1])

    def encode(self, captions: Int[Tensor, "B words"]) -> Float[Tensor, "B words D"]:
        """What the decoder reads of the caption. What fills it up is read too: an empty caption is nothing else."""
        return self.encoder(self.tokens(captions) + self.places(0, captions.shape[1]))[-1]

    def _scores(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B K"]:
        return F.linear(x, self.tokens.weight[: self.config.num_codes])

    def _write(self, tokens: Tensor, is_real: Tensor | None, cache: Cache | None) -> Float[Tensor, "B T D"]:
        """The decoder's tokens, from the beginning of the picture on. With a cache the caption is read at the first
        call, and what was made of it lies in the cache."""
        assert is_real is None, "rows have one length"
        longest, held = self.config.longest_caption, cache.length if cache else 0
        if held:
            source = self.tokens.weight.new_zeros(len(tokens), 1, self.config.trunk.width)
        else:
            source, tokens = self.encode(tokens[:, :longest]), tokens[:, longest:]
        x = self.tokens(tokens) + self.places(longest + held, tokens.shape[1])
        return self.decoder(x, source=source, cache=cache)[-1]


TextToImage = CausalDrawer | EncoderDecoder


def build_text_to_image(config: TextToImageConfig) -> TextToImage:
    """Fresh weights from torch's global generator."""
    return CausalDrawer(config) if config.form == "causal" else EncoderDecoder(config)


def code_losses(model: TextToImage, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B codes"]:
    """Nats that each code of whole rows costs, given the caption and the codes before it."""
    config = model.config
    logits = model(tokens[:, :-1])[:, -config.codes_per_picture :, : config.num_codes].float()
    targets = tokens[:, -config.codes_per_picture :]
    return F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
