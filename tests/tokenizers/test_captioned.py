"""Truths of rows of a caption and its picture: what is written is read again, and what counts is what is foretold."""

from __future__ import annotations

import numpy as np
import pytest

from beholder.tokenizers.captioned import (
    CaptionedConfig,
    read_captioned,
    weigh_captioned,
    without_captions,
    write_captioned,
    write_prompts,
)

CONFIG = CaptionedConfig(num_codes=21, grid=(3, 5), num_words=7, longest=4)
PAD = 6
CAPTIONS = np.array([[0, 1, PAD, PAD], [5, 4, 3, 2], [PAD] * 4])
CODES = np.random.default_rng(0).integers(0, 21, (3, 15))
ROWS = write_captioned(CAPTIONS, CODES, CONFIG)


def test_captions_and_pictures_come_back_from_their_rows() -> None:
    captions, codes = read_captioned(ROWS, CONFIG)
    assert np.array_equal(captions, CAPTIONS) and np.array_equal(codes, CODES)


def test_rows_are_as_long_as_they_say_and_words_are_no_codes() -> None:
    assert ROWS.shape == (3, CONFIG.length) and ROWS.max() < CONFIG.vocabulary_size == 32
    assert ROWS[:, :4].min() > CONFIG.begin == 21 and (ROWS[:, 4] == CONFIG.begin).all() and ROWS[2, 0] == CONFIG.pad


def test_a_prompt_is_the_beginning_of_its_row() -> None:
    assert np.array_equal(write_prompts(CAPTIONS, CONFIG), ROWS[:, :5])


def test_a_dropped_caption_is_an_empty_one() -> None:
    changed = without_captions(ROWS, np.array([True, False, False]), CONFIG)
    assert np.array_equal(changed[0], write_captioned(CAPTIONS[2:], CODES[:1], CONFIG)[0])
    assert np.array_equal(changed[1:], ROWS[1:])


def test_the_caption_counts_for_its_share_up_to_its_end_and_the_picture_for_the_rest() -> None:
    weights = weigh_captioned(ROWS, CONFIG, 1 / 8)
    assert weights[0] == pytest.approx([0, 1 / 16, 1 / 16, 0, 0] + [7 / 8 / 15] * 15)
    assert weights[1, :5] == pytest.approx([0, 1 / 24, 1 / 24, 1 / 24, 0])
    assert (weights[2, :5] == 0).all() and weights[2].sum() == pytest.approx(7 / 8)
