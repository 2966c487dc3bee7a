"""Dialogues about images as rows of tokens: places for images, questions, and answers, which alone are learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from beholder.data.conversations import MARK
from beholder.tokenizers.text import Words
from beholder.types import UserError

Turn = tuple[str, str]
"""A question with a mark for each image, and its answer; no words beside the marks ask for a caption."""
_ASKED = " Question: {} Answer:"


@dataclass(frozen=True)
class Row:
    """Tokens, and which of them are answers."""

    tokens: list[int]
    is_answer: list[bool]
    num_images: int


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

    @property
    def end(self) -> int:
        """Ends an answer. Raises UserError for a tokenizer without such a token."""
        end = self.words.special.end
        if end is None:
            raise UserError("This tokenizer has no token that ends a text; choose a language model that has one.")
        return end

    def write(self, turns: Sequence[Turn]) -> Row:
        """A whole dialogue, each answer with its end. Raises UserError for one that the model cannot read."""
        tokens, is_answer, num_images = self._begin(), [], 0
        is_answer = [False] * len(tokens)
        for question, answer in turns:
            asked, num_images = self._ask(question, num_images)
            said = [*self.words.numbers(f" {answer}"), self.end]
            tokens += asked + said
            is_answer += [False] * len(asked) + [True] * len(said)
        self.check(len(tokens), num_images)
        return Row(tokens, is_answer, num_images)

    def prompt(self, question: str, before: Sequence[Turn] = (), num_new: int = 0) -> Row:
        """What the model reads before it answers, with room for so many tokens of an answer. `before` are turns that
        were taken, or examples. Raises UserError for one that does not fit."""
        row = self.write(before)
        asked, num_images = self._ask(question, row.num_images)
        tokens = row.tokens + asked
        self.check(len(tokens) + num_new, num_images)
        return Row(tokens, [False] * len(tokens), num_images)

    def check(self, num_tokens: int, num_images: int) -> None:
        """Raises UserError when so many do not fit, and tells how many images do."""
        if self.longest is None or num_tokens <= self.longest:
            return
        text = num_tokens - num_images * self.places
        fit = max(0, (self.longest - text) // self.places)
        raise UserError(
            f"{num_images:,} images of {self.places:,} tokens and {text:,} tokens of text are longer than the "
            f"{self.longest:,} that this model reads; "
            + (f"show at most {fit:,} images with this text." if fit else "shorten the text.")
        )

    def _begin(self) -> list[int]:
        begin = self.words.special.begin
        return [] if begin is None else [begin]

    def _ask(self, question: str, num_before: int) -> tuple[list[int], int]:
        """Tokens of a question, and how many images there are by now."""
        tokens: list[int] = []
        pieces = question.split(MARK)
        number = num_before
        for at, piece in enumerate(pieces):
            if at:
                first = self.vocabulary_size + number * self.places
                tokens += range(first, first + self.places)
                number += 1
            if piece.strip():
                is_last = at == len(pieces) - 1
                tokens += self.words.numbers(_ASKED.format(piece.strip()) if is_last else f" {piece.strip()}")
        if not tokens:
            raise UserError("A question without words and images asks for nothing; write one.")
        return tokens, number
