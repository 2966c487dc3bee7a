"""Dialogues about images as rows of tokens: places for images, questions, and answers, which alone are learned."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from beholder.data.conversations import MARK, REGION
from beholder.tokenizers.chat import Chat
from beholder.tokenizers.text import Words
from beholder.types import UserError

Turn = tuple[str, str]
"""A question with a mark for each image, or part of one, and its answer. Words after the last mark are asked; those
before another are told; none after the last ask for a caption."""
_Piece = tuple[list[int], int, bool]
"""Tokens, those of images as if they were the first; how many images; whether the model says them."""
_MARKS = re.compile(f"({MARK}|{REGION})")
_ASKED = " Question: {} Answer:"


@dataclass(frozen=True)
class Row:
    """Tokens, and which of them are answers."""

    tokens: list[int]
    is_answer: list[bool]
    num_images: int
    """Parts of images count too."""


@dataclass(frozen=True)
class DialogueRows:
    """How one model's rows are written."""

    words: Words
    places: int
    """Tokens that an image takes; they are numbered on from the vocabulary (`models.fusion`)."""
    vocabulary_size: int
    """Of the model, whose table may be longer than its tokenizer's."""
    longest: int | None = None
    """Tokens that the model reads."""

    chat: Chat | None = None
    """How the model was taught conversations, if its tokenizer says so; else questions and answers stand plainly."""

    @property
    def end(self) -> int:
        """Ends an answer. Raises UserError for a tokenizer without such a token."""
        end = self.words.special.end
        if end is None:
            raise UserError("This tokenizer has no token that ends a text; choose a language model that has one.")
        return end

    @cached_property
    def stops(self) -> tuple[int, ...]:
        """All that end what the model says."""
        found = (*self.words.special.stops, self.end)
        if self.chat is not None:
            *_, last = self.chat.pieces([("a", "b")])
            turned = [token for token in self.words.numbers(last.text) if self.words.is_special(token)]
            found = (*found, *turned[:1])
        return tuple(dict.fromkeys(found))

    def text(self, tokens: Sequence[int]) -> str:
        """What they say: without what ends an answer, and without bytes that make no character, which a letter that is
        half said has, and a small model of many letters may say."""
        return self.words.decode([token for token in tokens if token not in self.stops]).replace("\ufffd", "")

    def write(self, turns: Sequence[Turn]) -> Row:
        """A whole dialogue, each answer with its end. Raises UserError for one that the model cannot read."""
        row = self._written(turns, None)
        self.check(row.tokens, row.num_images)
        return row

    def prompt(self, question: str, before: Sequence[Turn] = (), num_new: int = 0) -> Row:
        """What the model reads before it answers, with room for so many tokens of an answer. `before` are turns that
        were taken, or examples. Raises UserError for one that does not fit."""
        row = self._written(before, question)
        self.check(row.tokens, row.num_images, num_new)
        return row

    def check(self, tokens: Sequence[int], num_images: int, num_new: int = 0) -> None:
        """Raises UserError when they do not fit with so many new ones, and tells how many images do."""
        length = len(tokens) + num_new
        if self.longest is None or length <= self.longest:
            return
        text = sum(token < self.vocabulary_size for token in tokens) + num_new
        fit = max(0, (self.longest - text) // self.places)
        raise UserError(
            f"{num_images:,} images in {length - text:,} tokens and {text:,} tokens of text are longer than the "
            f"{self.longest:,} that this model reads; "
            + (f"show at most {fit:,} images with this text." if fit else "shorten the text.")
        )

    def _written(self, turns: Sequence[Turn], question: str | None) -> Row:
        tokens: list[int] = []
        is_answer: list[bool] = []
        num_images = 0
        pieces = self._plain(turns, question) if self.chat is None else self._chatted(self.chat, turns, question)
        for found, num_shown, is_said in pieces:
            shift = num_images * (self.places + 1)
            tokens += [token + shift if token >= self.vocabulary_size else token for token in found]
            is_answer += [is_said] * len(found)
            num_images += num_shown
        return Row(tokens, is_answer, num_images)

    def _plain(self, turns: Sequence[Turn], question: str | None) -> Iterator[_Piece]:
        begin = self.words.special.begin
        yield ([] if begin is None else [begin]), 0, False
        for asked, answer in turns:
            yield *self._ask(asked), False
            yield [*self.words.numbers(f" {answer}"), self.end], 0, True
        if question is not None:
            yield *self._ask(question), False

    def _ask(self, question: str) -> tuple[list[int], int]:
        """Tokens of a question, and how many images it shows."""
        *before, last = _MARKS.split(question)
        told = " ".join(piece for piece in before).strip()
        asked = _ASKED.format(last.strip()) if last.strip() else ""
        tokens, num_images = self._with_images(f"{told}{asked}" if told else asked)
        if not tokens:
            raise UserError("A question without words and images asks for nothing; write one.")
        return tokens, num_images

    def _chatted(self, chat: Chat, turns: Sequence[Turn], question: str | None) -> Iterator[_Piece]:
        for piece in chat.pieces(turns, question):
            tokens, num_images = self._with_images(piece.text, is_exact=True)
            stop = next((at for at, token in enumerate(tokens) if token in self.stops), len(tokens))
            if piece.is_answer:
                yield tokens[: stop + 1], 0, True
                tokens = tokens[stop + 1 :]  # such as the end of the line, which is nobody's
            yield tokens, num_images, False

    def _with_images(self, text: str, *, is_exact: bool = False) -> tuple[list[int], int]:
        """Tokens of a text, those of its images numbered from the vocabulary on, and how many images there are."""
        tokens: list[int] = []
        num_images = 0
        for piece in _MARKS.split(text):
            if piece in (MARK, REGION):
                first = self.vocabulary_size + num_images * (self.places + 1)
                brief = first + self.places
                tokens += range(first, brief) if piece == MARK else [brief]
                num_images += 1
            elif is_exact and piece:
                tokens += self.words.numbers(piece)
            elif piece.strip():
                tokens += self.words.numbers(f" {piece.strip()}")
        return tokens, num_images
