"""Prompts of different lengths, read side by side with padding on their left, and what a model says comes next."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.trunk.cache import Cache
from beholder.types import UserError

_CHUNK = 512
"""Tokens of a prompt that are read at once: a model without `next_scores` makes scores of all of them, and a
vocabulary is large."""


class Reader:
    """Feeds a model `model(tokens, is_real=, cache=) -> logits` with what it has not read yet. One that has
    `next_scores`, as `GPT`, is asked for those of the last token alone.

    `model.longest`, where there is such a number, is the most tokens that it can read. Raises UserError where a prompt
    is empty, or leaves no room for `num_tokens` more.
    """

    def __init__(self, model: nn.Module, prompts: Sequence[Sequence[int]], num_tokens: int) -> None:
        lengths = [len(prompt) for prompt in prompts]
        _check(model, lengths, num_tokens)
        longest = max(lengths)
        capacity = longest + num_tokens - 1  # the last token is told, not read
        device = next(model.parameters()).device
        self._model = model
        self._next_scores = getattr(model, "next_scores", None)
        self._cache = Cache(capacity)
        padded = [[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
        self.prompts = torch.tensor(padded, device=device)
        starts = longest - torch.tensor(lengths, device=device)
        self.is_real = torch.arange(capacity, device=device)[None] >= starts[:, None]  # B S
        self._is_padded = min(lengths) < longest

    def begin(self) -> Float[Tensor, "B V"]:
        """Reads the prompts; scores of the first token after each."""
        logits = [self.read(part) for part in self.prompts.split(_CHUNK, dim=1)]
        return logits[-1]

    def read(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B V"]:
        """Reads on; scores of the next token."""
        end = self._cache.length + tokens.shape[1]
        is_real = self.is_real[:, :end] if self._is_padded else None
        if self._next_scores is not None:
            return self._next_scores(tokens, is_real=is_real, cache=self._cache)
        return self._model(tokens, is_real=is_real, cache=self._cache)[:, -1]

    @property
    def is_plain(self) -> bool:
        """Whether its rows can stand beside those of another reader of the same model."""
        return self._cache.is_plain

    @classmethod
    def side_by_side(cls, model: nn.Module, readers: Sequence[Reader], num_tokens: int) -> Reader:
        """One that reads on for the rows of all, in their order, with room for so many more tokens."""
        made = cls.__new__(cls)
        length = max(one._cache.length for one in readers)
        made._model, made._next_scores = model, getattr(model, "next_scores", None)
        made._cache = Cache.side_by_side([one._cache for one in readers], length + num_tokens)
        parts = []
        for one in readers:
            held = one.is_real[:, : one._cache.length]
            parts.append(F.pad(F.pad(held, (length - held.shape[1], 0)), (0, num_tokens), value=True))
        made.is_real = torch.cat(parts)
        made._is_padded = not bool(made.is_real.all())
        made.prompts = made.is_real.new_zeros(len(made.is_real), 0, dtype=torch.long)
        return made

    @property
    def room(self) -> int:
        """Tokens that can still be read."""
        return self._cache.capacity - self._cache.length

    def go_on_from(self, rows: Int[Tensor, " R"]) -> None:
        """From here on the rows are these of the present ones; some may be left out, some may come twice."""
        self._cache.reorder(rows)
        self.is_real = self.is_real.index_select(0, rows)


def _check(model: nn.Module, lengths: Sequence[int], num_tokens: int) -> None:
    if num_tokens < 1:
        raise UserError(f"num_tokens={num_tokens}: ask for at least 1 token.")
    for row, length in enumerate(lengths):
        if not length:
            raise UserError(f"Prompt {row} is empty; begin it with at least one token, such as the beginning-of-text.")
    longest = getattr(model, "longest", None)
    if lengths and longest is not None and max(lengths) + num_tokens - 1 > longest:
        room = longest - max(lengths) + 1
        remedy = f"ask for at most {room:,}" if room > 0 else "shorten the prompt"
        raise UserError(
            f"A prompt of {max(lengths):,} tokens and {num_tokens:,} more are longer than the {longest:,} that this "
            f"model reads; {remedy}."
        )
