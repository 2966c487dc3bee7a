"""What is learned from: texts packed one after the other into full rows, none of which sees another's words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from beholder.recipes.language.material import Written
from beholder.runtime.seed import numpy_generator
from beholder.types import Batch


@dataclass(frozen=True)
class Pack:
    """Rows of so many tokens that hold all texts without a gap; what is left over is one row more, filled up."""

    tokens: np.ndarray
    counts: np.ndarray
    texts: np.ndarray
    """To which of the texts each token belongs, counted from 1; 0 where a row is filled up."""


@dataclass
class PackedTexts:
    """Endless epochs. In each the texts stand in another order, so that rows begin elsewhere; every token comes once.

    A text that goes on in another row is read from there on without its beginning.
    """

    texts: Sequence[Written]
    length: int
    batch_size: int
    seed: int
    _epoch: int = field(default=-1, init=False)
    _packed: Pack | None = field(default=None, init=False)

    @property
    def rows_per_epoch(self) -> int:
        return -(-sum(len(one.tokens) for one in self.texts) // self.length)

    def batch(self, step: int) -> Batch:
        """ "tokens", "weights" and "rows" B T: weights are 0 for what is not to be foretold, rows the number of the
        text that a token belongs to. A function of seed and step."""
        places = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs, ranks = np.divmod(places, self.rows_per_epoch)
        found = []
        for epoch in np.unique(epochs):
            packed = self._of(int(epoch))
            order = numpy_generator(self.seed, "rows", int(epoch)).permutation(len(packed.tokens))
            chosen = order[ranks[epochs == epoch]]
            found.append((packed.tokens[chosen], packed.counts[chosen], packed.texts[chosen]))
        tokens, counts, texts = (np.concatenate(listed) for listed in zip(*found, strict=True))
        return {
            "tokens": torch.from_numpy(tokens),
            "weights": torch.from_numpy(counts.astype(np.float32)),
            "rows": torch.from_numpy(texts),
        }

    def _of(self, epoch: int) -> Pack:
        """That of an epoch, kept until another is asked for."""
        if self._packed is None or self._epoch != epoch:
            order = numpy_generator(self.seed, "texts", epoch).permutation(len(self.texts))
            self._packed, self._epoch = pack([self.texts[place] for place in order], self.length), epoch
        return self._packed


def pack(texts: Sequence[Written], length: int) -> Pack:
    """These texts in this order."""
    sizes = [len(one.tokens) for one in texts]
    num_rows = -(-sum(sizes) // length)
    shape, room = (num_rows, length), num_rows * length - sum(sizes)

    def rows_of(listed: Sequence[np.ndarray]) -> np.ndarray:
        return np.pad(np.concatenate(listed), (0, room)).reshape(shape)

    counts = rows_of([one.counts for one in texts])
    counts[:, 0] = False  # its past is in another row
    owners = np.repeat(np.arange(1, len(texts) + 1), sizes)
    return Pack(rows_of([one.tokens for one in texts]), counts, rows_of([owners]))
