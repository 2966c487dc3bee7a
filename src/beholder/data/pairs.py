"""Batches of pairs out of features that were computed once: images' rows beside the rows of their texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from beholder.runtime.seed import numpy_generator
from beholder.types import Batch, UserError


class PairStream:
    """Endless shuffled epochs over images, each with one of its texts, drawn anew each time.

    No text stands in a batch twice: it would be called wrong for the image beside it. So a batch may be a little
    smaller than asked for.
    """

    def __init__(
        self,
        images: Float[Tensor, "N F"],
        texts: Float[Tensor, "M D"],
        texts_of: Sequence[Int[np.ndarray, " _"]],
        *,
        batch_size: int,
        seed: int,
    ) -> None:
        """`texts_of` are the rows of each image's texts."""
        assert len(images) == len(texts_of) and batch_size > 1, (len(images), len(texts_of), batch_size)
        if len({int(row) for rows in texts_of for row in rows}) < 2:
            raise UserError("All images have the same text, so there is nothing to tell apart; give each its own.")
        self.images, self.texts, self.texts_of = images, texts, texts_of
        self.batch_size, self.seed = batch_size, seed

    def batch(self, step: int) -> Batch:
        """ "pixels": float B F; "tokens": float B D, the features of one text each; a function of seed and step."""
        places = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs, ranks = np.divmod(places, len(self.images))
        generator = numpy_generator(self.seed, "texts", step)
        chosen: dict[int, int] = {}
        seen: set[int] = set()
        for epoch in np.unique(epochs):
            order = numpy_generator(self.seed, "epoch", int(epoch)).permutation(len(self.images))
            for image in order[ranks[epochs == epoch]].tolist():
                text = int(generator.choice(self.texts_of[image]))
                if text not in chosen and image not in seen:
                    chosen[text] = image
                    seen.add(image)
        return {"pixels": self.images[list(chosen.values())], "tokens": self.texts[list(chosen)]}
