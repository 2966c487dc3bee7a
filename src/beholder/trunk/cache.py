"""Keys and values of what has been read, so that the next token costs one token."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


class Cache:
    """Room for `capacity` tokens in every layer, and what layers made of a source that does not change.

    `length` tokens are held; the trunk moves it on after all layers have added theirs.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.length = 0
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}
        self.sources: dict[int, tuple[Tensor, Tensor]] = {}

    def extend(
        self, layer: int, k: Float[Tensor, "B N T K"], v: Float[Tensor, "B N T K"]
    ) -> tuple[Float[Tensor, "B N S K"], Float[Tensor, "B N S K"]]:
        """Keys and values of this layer up to and with the new ones. Raises ValueError when the room is used up."""
        end = self.length + k.shape[2]
        if end > self.capacity:
            raise ValueError(f"{end:,} tokens do not fit into a cache for {self.capacity:,}.")
        if layer not in self._kept:
            shape = (*k.shape[:2], self.capacity, k.shape[3])
            self._kept[layer] = (k.new_empty(shape), v.new_empty(shape))
        keys, values = self._kept[layer]
        keys[:, :, self.length : end], values[:, :, self.length : end] = k, v
        return keys[:, :, :end], values[:, :, :end]

    def reorder(self, rows: Tensor) -> None:
        """Go on from these rows of the batch, as beam search does."""
        for held in (self._kept, self.sources):
            for layer, (k, v) in held.items():
                held[layer] = (k.index_select(0, rows), v.index_select(0, rows))

    def num_bytes(self) -> int:
        """Memory that keys and values take."""
        pairs = [*self._kept.values(), *self.sources.values()]
        return sum(tensor.element_size() * torch.numel(tensor) for pair in pairs for tensor in pair)
