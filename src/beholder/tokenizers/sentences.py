"""Visual sentences: pictures as codes, one after the other, in one row of tokens (Bai et al. 2023, arXiv 2312.00785).

    begin  open a a a a  open b b b b  open c c c c ...

A code keeps its number; the special tokens come after the codes. Examples and answers alternate: A A' B B' C C'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

_MULTIPLE = 8
"""Of which a vocabulary is: products of matrices are fastest so."""


@dataclass(frozen=True)
class SentenceConfig:
    """Which tokens there are, and how many of them a picture takes."""

    num_codes: int
    """Of the codec."""
    grid: tuple[int, int]
    """Rows and columns of codes of a picture."""

    @property
    def begin(self) -> int:
        """The token that a sentence begins with."""
        return self.num_codes

    @property
    def open(self) -> int:
        """The token that opens each picture."""
        return self.num_codes + 1

    @property
    def vocabulary_size(self) -> int:
        """Codes and special tokens, filled up to a multiple of 8."""
        return -(-(self.num_codes + 2) // _MULTIPLE) * _MULTIPLE

    @property
    def codes_per_picture(self) -> int:
        return self.grid[0] * self.grid[1]

    def length(self, num_pictures: int) -> int:
        """Tokens of a sentence of so many pictures."""
        return 1 + num_pictures * (1 + self.codes_per_picture)


def write_sentences(codes: Int[np.ndarray, "B pictures codes"], config: SentenceConfig) -> Int[np.ndarray, "B T"]:
    """A sentence of each row's pictures, whose codes stand row by row."""
    num_rows, num_pictures, num_codes = codes.shape
    assert num_codes == config.codes_per_picture, (num_codes, config.grid)
    opened = np.concatenate([np.full((num_rows, num_pictures, 1), config.open), codes], axis=2)
    begun = np.full((num_rows, 1), config.begin)
    return np.concatenate([begun, opened.reshape(num_rows, -1)], axis=1).astype(np.int64)


def read_sentences(tokens: Int[np.ndarray, "B T"], config: SentenceConfig) -> Int[np.ndarray, "B pictures codes"]:
    """The pictures' codes: what `write_sentences` was given."""
    opened = tokens[:, 1:].reshape(len(tokens), -1, 1 + config.codes_per_picture)
    assert (tokens[:, 0] == config.begin).all() and (opened[:, :, 0] == config.open).all(), "no sentence of pictures"
    return opened[:, :, 1:]


def write_prompt(codes: Int[np.ndarray, "pictures codes"], config: SentenceConfig) -> list[int]:
    """The sentence of these pictures with one more opened: what is foretold next is that picture's first code."""
    return [*write_sentences(codes[None], config)[0].tolist(), config.open]


def weigh_pictures(weights: Sequence[float], config: SentenceConfig) -> np.ndarray:
    """How much each token of a sentence counts as something to foretell (float T), from how much each picture does.

    Special tokens do not count: where they stand is known.
    """
    each = np.zeros((len(weights), 1 + config.codes_per_picture), np.float32)
    each[:, 1:] = np.asarray(weights, np.float32)[:, None]
    return np.concatenate([np.zeros(1, np.float32), each.reshape(-1)])
