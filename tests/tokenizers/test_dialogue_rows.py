"""Rows of dialogues: images have places, answers alone are learned, and what is asked is what was learned from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from beholder.data.conversations import MARK, REGION
from beholder.tokenizers.captions import as_words, learn_captions
from beholder.tokenizers.dialogues import DialogueRows
from beholder.tokenizers.text import SpecialTokens, Words, WordsConfig
from beholder.types import UserError

TEXTS = ["a red cup on a table", "two dogs run on grass", "what is it?", "how many dogs are there?"]


@pytest.fixture(scope="module")
def words() -> Words:
    learned = as_words(learn_captions(TEXTS))
    return replace(learned, config=WordsConfig(None, learned.config.num_rows))


@pytest.fixture(scope="module")
def rows(words: Words) -> DialogueRows:
    return DialogueRows(words, places=3, vocabulary_size=words.size + 5)


def test_answers_and_their_ends_alone_are_learned(rows: DialogueRows, words: Words) -> None:
    row = rows.write([(f"{MARK} what is it?", "a red cup"), ("how many?", "two")])
    learned = [token for token, is_answer in zip(row.tokens, row.is_answer, strict=True) if is_answer]
    assert learned == [*words.numbers(" a red cup"), rows.end, *words.numbers(" two"), rows.end]


def test_each_image_has_places_of_its_own_beyond_the_vocabulary(rows: DialogueRows) -> None:
    row = rows.write([(f"{MARK} {MARK} what?", "cup"), (f"{MARK}", "dogs")])
    assert row.num_images == 3
    assert [token for token in row.tokens if token >= rows.vocabulary_size] == [
        rows.vocabulary_size + 4 * image + place for image in range(3) for place in range(3)
    ]


def test_what_is_asked_begins_what_was_learned(rows: DialogueRows) -> None:
    turns = [(f"{MARK} what is it?", "a red cup"), ("how many?", "two")]
    whole = rows.write(turns)
    asked = rows.prompt("how many?", turns[:1])
    assert whole.tokens[: len(asked.tokens)] == asked.tokens
    assert whole.is_answer[len(asked.tokens)] and not whole.is_answer[len(asked.tokens) - 1]


def test_a_caption_is_asked_for_without_a_word(rows: DialogueRows, words: Words) -> None:
    begin = words.special.begin
    assert rows.prompt(MARK).tokens == [begin, *range(rows.vocabulary_size, rows.vocabulary_size + 3)]


def test_what_does_not_fit_is_told_with_what_would(rows: DialogueRows) -> None:
    short = replace(rows, longest=16)
    with pytest.raises(UserError, match=r"12 tokens of text are longer.*at most 1 images|show at most"):
        short.prompt(f"{MARK} {MARK} {MARK}", num_new=10)


def test_nothing_asked_is_told(rows: DialogueRows) -> None:
    with pytest.raises(UserError, match="asks for nothing"):
        rows.prompt(" ")


def test_a_tokenizer_without_an_end_is_told(rows: DialogueRows, words: Words) -> None:
    endless = replace(rows, words=replace(words, special=SpecialTokens()))
    with pytest.raises(UserError, match="no token that ends a text"):
        endless.write([(MARK, "cup")])


def test_a_part_of_an_image_has_one_place_and_what_is_told_of_it_follows(rows: DialogueRows, words: Words) -> None:
    row = rows.prompt(f"{REGION} a red cup {REGION} dogs {MARK}")
    first = rows.vocabulary_size
    told = [*words.numbers(" a red cup"), first + 7, *words.numbers(" dogs"), first + 8, first + 9, first + 10]
    assert row.tokens == [words.special.begin, first + 3, *told] and row.num_images == 3
    asked = rows.prompt(f"{REGION} cup")
    assert asked.tokens == [words.special.begin, first + 3, *words.numbers(" Question: cup Answer:")]
