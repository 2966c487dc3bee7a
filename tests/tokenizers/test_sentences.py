"""Truths of visual sentences: what is written is read again, and lengths are known beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from beholder.models.lvm import LVMConfig
from beholder.tokenizers.sentences import SentenceConfig, read_sentences, weigh_pictures, write_prompt, write_sentences

GRAMMAR = SentenceConfig(num_codes=21, grid=(3, 5))
CODES = np.random.default_rng(0).integers(0, 21, (4, 6, 15))


def test_pictures_come_back_from_their_sentence() -> None:
    assert np.array_equal(read_sentences(write_sentences(CODES, GRAMMAR), GRAMMAR), CODES)


@pytest.mark.parametrize("num_pictures", [1, 2, 6])
def test_a_sentence_is_as_long_as_it_says(num_pictures: int) -> None:
    assert write_sentences(CODES[:, :num_pictures], GRAMMAR).shape == (4, GRAMMAR.length(num_pictures))


def test_codes_and_special_tokens_are_apart_and_all_in_the_vocabulary() -> None:
    tokens = write_sentences(CODES, GRAMMAR)
    assert {GRAMMAR.begin, GRAMMAR.open}.isdisjoint(range(GRAMMAR.num_codes))
    assert tokens.max() < GRAMMAR.vocabulary_size == 24
    assert (tokens >= GRAMMAR.num_codes).sum() == 4 * (1 + 6)


def test_a_prompt_is_the_beginning_of_the_sentence_that_it_asks_for() -> None:
    prompt = write_prompt(CODES[0, :5], GRAMMAR)
    whole = write_sentences(CODES[:1], GRAMMAR)[0]
    assert prompt == whole[: len(prompt)].tolist() and len(whole) - len(prompt) == GRAMMAR.codes_per_picture


def test_only_codes_are_foretold_and_each_as_much_as_its_picture_counts() -> None:
    weights = weigh_pictures([0.25, 1.0], GRAMMAR)
    tokens = write_sentences(CODES[:1, :2], GRAMMAR)[0]
    assert (weights[tokens >= GRAMMAR.num_codes] == 0).all()
    assert weights.sum() == pytest.approx(15 * 1.25)


def test_the_model_counts_as_the_sentences_do() -> None:
    config = LVMConfig(21, (3, 5), GRAMMAR.vocabulary_size, GRAMMAR.length(6))
    assert config.num_pictures == 6 and config.tokens_per_picture == GRAMMAR.length(1) - 1
