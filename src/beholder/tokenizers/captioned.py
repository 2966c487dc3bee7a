"""A caption and its picture in one row of tokens of one vocabulary (DALL-E: Ramesh et al. 2021, arXiv 2102.12092).

    w w w w .  begin  a a a a a a a a a

Codes keep their numbers; the token that begins the picture comes after them, and then those of the captions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from beholder.tokenizers.captions import Captions

_MULTIPLE = 8
"""Of which a vocabulary is: products of matrices are fastest so."""


@dataclass(frozen=True)
class CaptionedConfig:
    """Which tokens there are, and how many of them a caption and a picture take."""

    num_codes: int
    """Of the codec."""
    grid: tuple[int, int]
    """Rows and columns of codes of a picture."""
    num_words: int
    """Tokens of captions, with the one that fills them up, which is the last."""
    longest: int
    """Tokens of each caption."""

    @property
    def begin(self) -> int:
        """The token that begins the picture."""
        return self.num_codes

    @property
    def pad(self) -> int:
        """The token that fills captions up."""
        return self.num_codes + self.num_words

    @property
    def vocabulary_size(self) -> int:
        """All tokens, filled up to a multiple of 8."""
        return -(-(self.num_codes + 1 + self.num_words) // _MULTIPLE) * _MULTIPLE

    @property
    def codes_per_picture(self) -> int:
        return self.grid[0] * self.grid[1]

    @property
    def length(self) -> int:
        """Tokens of a row."""
        return self.longest + 1 + self.codes_per_picture


def config_of(captions: Captions, num_codes: int, grid: tuple[int, int]) -> CaptionedConfig:
    """Rows of these captions and of pictures of such codes."""
    return CaptionedConfig(num_codes, grid, captions.num_tokens, captions.longest)


def write_prompts(captions: Int[np.ndarray, "B words"], config: CaptionedConfig) -> Int[np.ndarray, "B T"]:
    """Rows that end where the picture begins: what is foretold next is its first code."""
    assert captions.shape[1] == config.longest and captions.max(initial=0) < config.num_words, captions.shape
    begun = np.full((len(captions), 1), config.begin)
    return np.concatenate([captions + config.num_codes + 1, begun], axis=1)


def write_captioned(
    captions: Int[np.ndarray, "B words"], codes: Int[np.ndarray, "B codes"], config: CaptionedConfig
) -> Int[np.ndarray, "B T"]:
    """Whole rows."""
    assert codes.shape[1] == config.codes_per_picture, (codes.shape, config.grid)
    return np.concatenate([write_prompts(captions, config), codes.astype(np.int64)], axis=1)


def read_captioned(
    tokens: Int[np.ndarray, "B T"], config: CaptionedConfig
) -> tuple[Int[np.ndarray, "B words"], Int[np.ndarray, "B codes"]]:
    """What `write_captioned` was given."""
    assert (tokens[:, config.longest] == config.begin).all(), "no rows of a caption and its picture"
    return tokens[:, : config.longest] - config.num_codes - 1, tokens[:, config.longest + 1 :]


def without_captions(
    tokens: Int[np.ndarray, "B T"], is_dropped: Bool[np.ndarray, " B"], config: CaptionedConfig
) -> Int[np.ndarray, "B T"]:
    """The same rows, some of them with an empty caption: what a model learns to draw when nothing is asked for."""
    changed = tokens.copy()
    changed[is_dropped, : config.longest] = config.pad
    return changed


def weigh_captioned(
    tokens: Int[np.ndarray, "B T"], config: CaptionedConfig, caption_share: float
) -> Float[np.ndarray, "B T"]:
    """How much each token counts as something to foretell: `caption_share` of a row is its caption, up to the first
    token that fills it up, and the rest its picture. Empty captions and the beginning of the picture do not count."""
    weights = np.zeros(tokens.shape, np.float32)
    words = tokens[:, : config.longest]
    is_word = words != config.pad
    is_word[:, 1:] |= is_word[:, :-1]  # where a caption ends is foretold too
    is_word &= is_word[:, :1]
    is_word[:, 0] = False  # the first one is given
    weights[:, : config.longest] = caption_share * is_word / np.maximum(is_word.sum(1, keepdims=True), 1)
    weights[:, config.longest + 1 :] = (1 - caption_share) / config.codes_per_picture
    return weights
