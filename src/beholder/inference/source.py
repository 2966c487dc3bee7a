"""Encoder-decoders write as every language model does, once their source has been read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from beholder.trunk.cache import Cache
from beholder.types import UserError


class WithSource(nn.Module):
    """A model and a source that it has read: what is left is called as a `GPT` is, so that `generate`, `stream` and
    `search_beams` drive it.

    `model` has `encode(source)`, `decode(tokens, source, cache)` and `config.start_token`, as `T5` and `Whisper` do.
    The source is encoded here and now, once; its keys and values are made at the first step, and lie in the cache. One
    object serves any number of runs, each with as many prompts as the source has rows, in the same order.
    """

    def __init__(self, model: nn.Module, source: Tensor, is_real: Bool[Tensor, "B S"] | None = None) -> None:
        """`source` is what the encoder takes: B S tokens, or a spectrogram B C frames. `is_real` is False for padding,
        and only for encoders of tokens. It lies where the model does."""
        super().__init__()
        self.model = model
        given: Any = model
        device = next(model.parameters()).device
        self._is_real = None if is_real is None else is_real.to(device)
        with torch.no_grad():
            told = () if self._is_real is None else (self._is_real,)
            self._source: Float[Tensor, "B S D"] = given.encode(source.to(device), *told)

    @property
    def longest(self) -> int | None:
        """Tokens that the decoder can write, as far as it says so."""
        return getattr(self.model, "longest", None)

    def prompts(self, forced: Sequence[int] = ()) -> list[list[int]]:
        """For each row of the source, what writing begins with: the model's start token, and what is forced to follow.

        Raises UserError when the checkpoint tells no start token.
        """
        model: Any = self.model
        start = model.config.start_token
        if start is None:
            raise UserError(
                "This model's config.json tells no decoder_start_token_id; write the prompts yourself, each beginning "
                "with the token that the decoder was trained to read first."
            )
        return [[start, *forced] for _ in range(len(self._source))]

    def forward(
        self,
        tokens: Int[Tensor, "B T"],
        *,
        is_real: Bool[Tensor, "B held"] | None = None,
        cache: Cache | None = None,
    ) -> Float[Tensor, "B T V"]:
        """Scores of each next token. Raises UserError when there are other rows than the source has."""
        source, source_is_real = self._source, self._is_real
        if cache is not None and cache.rows is not None:
            source = source[:1].expand(len(tokens), -1, -1)  # the cache holds what was made of it
            source_is_real = None if source_is_real is None else source_is_real[cache.rows]
        if len(tokens) != len(source):
            raise UserError(
                f"{len(tokens):,} prompts and a source of {len(source):,} rows: give one prompt for each row, in order."
            )
        told = {} if source_is_real is None else {"source_is_real": source_is_real}
        model: Any = self.model
        return model.decode(tokens, source, cache, is_real=is_real, **told)


def with_texts(model: nn.Module, texts: Sequence[Sequence[int]]) -> WithSource:
    """A model that has read these rows of tokens, which may be of different lengths. Raises UserError for an empty one,
    and for none at all."""
    empty = [row for row, text in enumerate(texts) if not text]
    if empty or not texts:
        which = f"Source {empty[0]} is empty" if empty else "There is no source"
        raise UserError(f"{which}; give at least one token, such as the end of a text.")
    lengths = torch.tensor([len(text) for text in texts])
    longest = int(lengths.max())
    tokens = torch.tensor([[*text, *[0] * (longest - len(text))] for text in texts])
    is_real = torch.arange(longest)[None] < lengths[:, None]
    return WithSource(model, tokens, None if bool(is_real.all()) else is_real)
