"""Conversations are written as a tokenizer's template says, and as `transformers` writes them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tokenizers import AddedToken

from beholder.data.conversations import MARK
from beholder.tokenizers.captions import as_words, learn_captions
from beholder.tokenizers.chat import Chat, chat_of
from beholder.tokenizers.dialogues import DialogueRows
from beholder.tokenizers.text import Words, WordsConfig
from beholder.types import UserError

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TURNS = [(f"{MARK} what is it?", "a red cup"), ("how many?", "two")]


@pytest.fixture(scope="module")
def words() -> Words:
    learned = as_words(learn_captions(["a red cup on a table", "what is it?", "how many? two", "user assistant"]))
    learned.table.add_special_tokens([AddedToken(name, special=True) for name in ("<|im_start|>", "<|im_end|>")])
    declared = {"chat_template": CHATML, "bos_token": {"content": "<|startoftext|>"}}
    return replace(learned, config=WordsConfig(None, None), declared=declared)


@pytest.fixture(scope="module")
def rows(words: Words) -> DialogueRows:
    return DialogueRows(words, places=3, vocabulary_size=words.size + 5, chat=chat_of(words))


def test_pieces_are_the_text_that_transformers_writes(words: Words) -> None:
    from transformers import PreTrainedTokenizerFast

    theirs = PreTrainedTokenizerFast(tokenizer_object=words.table, chat_template=CHATML)
    messages = [
        {"role": role, "content": text}
        for turn in TURNS
        for role, text in zip(("user", "assistant"), turn, strict=True)
    ]
    chat = chat_of(words)
    assert chat is not None
    whole = "".join(piece.text for piece in chat.pieces(TURNS))
    assert whole == theirs.apply_chat_template(messages, tokenize=False)
    asked = "".join(piece.text for piece in chat.pieces(TURNS[:1], "how many?"))
    assert asked == theirs.apply_chat_template(messages[:3], tokenize=False, add_generation_prompt=True)
    assert [piece.is_answer for piece in chat.pieces(TURNS)] == [False, True, False, True]


def test_answers_with_the_end_of_their_turn_alone_are_learned(rows: DialogueRows, words: Words) -> None:
    row = rows.write(TURNS)
    end = words.number_of("<|im_end|>")
    learned = [token for token, is_answer in zip(row.tokens, row.is_answer, strict=True) if is_answer]
    assert learned == [*words.numbers("a red cup"), end, *words.numbers("two"), end]
    assert end in rows.stops and rows.end in rows.stops


def test_images_stand_where_their_marks_are(rows: DialogueRows) -> None:
    row = rows.write([*TURNS, (f"{MARK} and {MARK}?", "cups")])
    assert row.num_images == 3
    assert [token for token in row.tokens if token >= rows.vocabulary_size] == [
        rows.vocabulary_size + 4 * image + place for image in range(3) for place in range(3)
    ]


def test_what_is_asked_begins_what_was_learned(rows: DialogueRows) -> None:
    whole, asked = rows.write(TURNS), rows.prompt("how many?", TURNS[:1])
    assert whole.tokens[: len(asked.tokens)] == asked.tokens
    assert whole.is_answer[len(asked.tokens)] and not whole.is_answer[len(asked.tokens) - 1]


def test_a_tokenizer_may_have_none_or_several(words: Words) -> None:
    assert chat_of(replace(words, declared={})) is None
    several = [{"name": "tools", "template": "x"}, {"name": "default", "template": CHATML}]
    chosen = chat_of(replace(words, declared={"chat_template": several}))
    assert chosen is not None and chosen.template == CHATML


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{% for", "cannot be read"),
        ("{{ raise_exception('no system') }}", r"cannot be used \(no system\)"),
        ("{{ messages[9].content }}", "cannot be used"),
        ("{{ messages | length }}{% if add_generation_prompt %}!{% endif %}", "writes earlier turns otherwise"),
        ("{{ ''.__class__.__mro__ }}", "cannot be used"),
    ],
)
def test_a_template_that_cannot_be_used_is_told(template: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        list(Chat(template, {}).pieces(TURNS))
