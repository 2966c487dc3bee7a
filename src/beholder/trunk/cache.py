"""Keys and values of what has been read, so that the next token costs one token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor


class Past(Protocol):
    """Keys and values that another library keeps."""

    def reorder(self, rows: Tensor) -> None:
        """As `Cache.reorder`."""
        ...


class Cache:
    """Room for `capacity` tokens in every layer, and what layers made of a source that does not change.

    `length` tokens are held; the trunk moves it on after all layers have added theirs.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.length = 0
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}
        self.sources: dict[int, tuple[Tensor, Tensor]] = {}
        self.marks: dict[str, Tensor] = {}
        """What else a model remembers of each row, by a name of its own."""
        self.rows: Tensor | None = None
        """Which of the rows that came first each present one goes on from; None: they are still the same."""
        self.elsewhere: Past | None = None
        """In the place of all tensors here, where the model is run by another library."""
        self._places: Tensor | None = None

    def places(self, x: Shaped[Tensor, "B T *_"]) -> Int[Tensor, "1 S"]:
        """Of what is held and of these tokens after it in the sequence, from 0; counted out once, for all steps. Raises
        ValueError when they do not fit."""
        self.check_room(x.shape[1])
        if self._places is None:
            self._places = torch.arange(self.capacity, device=x.device)[None]
        return self._places[:, : self.length + x.shape[1]]

    def check_room(self, num_tokens: int) -> None:
        """Raises ValueError when so many more tokens do not fit."""
        if self.length + num_tokens > self.capacity:
            raise ValueError(f"{self.length + num_tokens:,} tokens do not fit into a cache for {self.capacity:,}.")

    def extend(
        self, layer: int, k: Float[Tensor, "B N T K"], v: Float[Tensor, "B N T K"]
    ) -> tuple[Float[Tensor, "B N S K"], Float[Tensor, "B N S K"]]:
        """Keys and values of this layer up to and with the new ones. Raises ValueError when the room is used up."""
        self.check_room(k.shape[2])
        end = self.length + k.shape[2]
        if layer not in self._kept:
            shape = (*k.shape[:2], self.capacity, k.shape[3])
            self._kept[layer] = (k.new_empty(shape), v.new_empty(shape))
        keys, values = self._kept[layer]
        keys[:, :, self.length : end], values[:, :, self.length : end] = k, v
        return keys[:, :, :end], values[:, :, :end]

    def reorder(self, rows: Tensor) -> None:
        """Go on from these rows of the batch, as beam search does."""
        if self.elsewhere is not None:
            self.elsewhere.reorder(rows)
        self.marks = {name: mark.index_select(0, rows) for name, mark in self.marks.items()}
        before = self.rows
        self.rows = rows if before is None else before.index_select(0, rows)
        is_new = before is None or not torch.equal(self.rows, before)  # beams of one prompt read one source
        for held in (self._kept, self.sources) if is_new else (self._kept,):
            for layer, (k, v) in held.items():
                held[layer] = (k.index_select(0, rows), v.index_select(0, rows))

    @property
    def is_plain(self) -> bool:
        """Whether it holds nothing but keys and values of tokens, so that rows of several can stand side by side."""
        return self.elsewhere is None and not self.sources and not self.marks

    @classmethod
    def side_by_side(cls, caches: Sequence[Cache], capacity: int) -> Cache:
        """The rows of all, in their order, with room for so many tokens. What is held ends at one place: rows with less
        have nothing of meaning on their left. Raises ValueError where one does not fit, or holds more than that."""
        assert caches and all(one.is_plain for one in caches), "only keys and values can stand side by side"
        made = cls(capacity)
        made.length = max(one.length for one in caches)
        made.check_room(0)
        for layer, (key, value) in caches[0]._kept.items():
            num_rows = sum(one._kept[layer][0].shape[0] for one in caches)
            pair = tuple(like.new_zeros(num_rows, like.shape[1], capacity, like.shape[3]) for like in (key, value))
            first = 0
            for one in caches:
                held = one._kept[layer]
                last = first + held[0].shape[0]
                for target, source in zip(pair, held, strict=True):
                    target[first:last, :, made.length - one.length : made.length] = source[:, :, : one.length]
                first = last
            made._kept[layer] = (pair[0], pair[1])
        return made

    def num_bytes(self) -> int:
        """Memory that keys and values take."""
        pairs = [*self._kept.values(), *self.sources.values()]
        return sum(tensor.element_size() * torch.numel(tensor) for pair in pairs for tensor in pair)
