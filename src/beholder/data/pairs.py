"""Batches of images beside their texts: features that were computed once, or pictures and the texts that they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from beholder.data.stream import ImageStream
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


@dataclass(frozen=True)
class TextRows:
    """Texts as a model reads them, a row each."""

    tokens: Int[Tensor, "Q T"]
    is_real: Bool[Tensor, "Q T"] | None = None
    """False for padding; None where the model reads that too."""

    def take(self, rows: Int[np.ndarray, " q"]) -> TextRows:
        """Those texts, without columns that are padding in all of them."""
        chosen = torch.from_numpy(rows)
        tokens = self.tokens[chosen]
        if self.is_real is None:
            return TextRows(tokens)
        is_real = self.is_real[chosen]
        is_used = is_real.any(0)
        return TextRows(tokens[:, is_used], is_real[:, is_used])


class SharedTextStream:
    """Pictures and the distinct texts that they share, such as names of classes."""

    def __init__(
        self,
        images: ImageStream,
        text_of: Int[np.ndarray, " N"],
        wordings: Sequence[TextRows],
        *,
        seed: int,
        shows_all: bool = False,
    ) -> None:
        """`text_of` is the text of each image, a row of each of `wordings`: the same texts, each time in other words,
        of which a batch draws one. `shows_all`: all texts stand in every batch, not only those of its images."""
        assert len(text_of) == len(images.images) and wordings and images.num_views == 1
        self.images, self.text_of, self.wordings = images, text_of, wordings
        self.seed, self.shows_all = seed, shows_all

    def batch(self, step: int) -> Batch:
        """ "pixels": float B 3 S S; "tokens" and, unless padding is read, "is_real": Q T; "text_of": B, the row of each
        image's text. A function of seed and step."""
        seen = self.images.batch(step)
        wording = self.wordings[int(numpy_generator(self.seed, "wording", step).integers(len(self.wordings)))]
        owners = self.text_of[seen["indices"].numpy()]
        if self.shows_all:
            rows = np.arange(len(wording.tokens))
        else:
            rows, owners = np.unique(owners, return_inverse=True)
        texts = wording.take(rows)
        padding = {} if texts.is_real is None else {"is_real": texts.is_real}
        text_of = torch.from_numpy(owners.reshape(-1).astype(np.int64))
        return {"pixels": seen["views"][0], "tokens": texts.tokens, **padding, "text_of": text_of}
