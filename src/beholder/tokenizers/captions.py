"""A run's own captions to rows of tokens: byte pairs learned from them, one length for all, and the words they taught.

Byte pairs: Sennrich et al. 2016, arXiv 1508.07909; over bytes, so that any text can be written: Radford et al. 2019.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from beholder.runtime.files import read_json, write_json, write_text
from beholder.runtime.log import counted
from beholder.runtime.words import words_of
from beholder.tokenizers.text import SpecialTokens, Words, WordsConfig
from beholder.tokenizers.word_tables import library, parse, surround
from beholder.types import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_TABLE, _WORDS = "tokenizer.json", "words.json"
CAPTION_FILES = (_TABLE, _WORDS)
"""What `Captions.save` writes into a folder."""
_NUM_BYTES = 256
_NUM_NEAR = 3
_ROOM = 8
"""Tokens beside a caption's own: begin, end, and what a text that was cut within a word may take more."""


@dataclass(frozen=True)
class CaptionConfig:
    """How large a table is learned, and how long a row is."""

    vocabulary_size: int = 1024
    """Most tokens: 256 bytes, and pairs as long as one comes twice. DALL-E has 16,384, of 250 million captions."""
    longest: int = 32
    """Tokens of a row, at most: fewer where the longest caption needs fewer. DALL-E: 256."""

    def __post_init__(self) -> None:
        if self.vocabulary_size < _NUM_BYTES:
            raise UserError(f"vocabulary_size={self.vocabulary_size}: the bytes alone are {_NUM_BYTES}; give more.")
        if self.longest < 1:
            raise UserError(f"longest={self.longest}: a caption has at least 1 token.")


@dataclass(frozen=True)
class Captions:
    """What turns captions into the rows that a model of text and pictures reads. Case does not count."""

    table: Tokenizer
    longest: int
    """Tokens of every row; shorter captions are filled up, longer ones lose their end."""
    words: Mapping[str, int]
    """In how many captions each word stood that the table was learned from, the most frequent first."""

    @property
    def pad(self) -> int:
        """What rows are filled with; no text contains it. A row of nothing else is no caption."""
        return self.table.get_vocab_size()

    @property
    def num_tokens(self) -> int:
        """Of the table, and the one that fills."""
        return self.table.get_vocab_size() + 1

    def encode(self, texts: Sequence[str]) -> Int[np.ndarray, "B T"]:
        """A row of `longest` tokens for each. Raises UserError for what is no text."""
        rows = np.full((len(texts), self.longest), self.pad, np.int64)
        for row, numbers in zip(rows, _numbers(self.table, texts), strict=True):
            kept = numbers[: self.longest]
            row[: len(kept)] = kept
        return rows

    def num_cut(self, texts: Sequence[str]) -> list[int]:
        """How many tokens of each text do not fit into its row."""
        return [max(0, len(numbers) - self.longest) for numbers in _numbers(self.table, texts)]

    def decode(self, row: Sequence[int] | Int[np.ndarray, " T"]) -> str:
        """The caption of a row, in lower case, without what fills it."""
        return self.table.decode([int(number) for number in row if number != self.pad]).strip()

    def check(self, prompt: str) -> list[str]:
        """What the user is told of a prompt: words that no caption had, with the nearest that came, and what is cut.

        Raises UserError for a prompt that is empty, or of which no caption had a word.
        """
        asked = list(dict.fromkeys(words_of(prompt)))
        if not asked:
            raise UserError(f"The prompt {prompt!r} has no words; write what the picture should show.")
        strange = [word for word in asked if word not in self.words]
        if len(strange) == len(asked):
            raise UserError(f"The prompt {prompt!r} has no word of the learned captions; {self._hint(strange)}.")
        notes = []
        if strange:
            named = ", ".join(repr(word) for word in strange)
            notes.append(f"no learned caption had {named}; {self._hint(strange)}")
        (num_cut,) = self.num_cut([prompt])
        if num_cut:
            notes.append(
                f"the end of the prompt is not read: it has {counted(num_cut, 'token')} more than the {self.longest} "
                "that the model reads"
            )
        return notes

    def _hint(self, strange: Sequence[str]) -> str:
        near = [one for word in strange for one in difflib.get_close_matches(word, self.words, _NUM_NEAR)]
        if near:
            return f"near are: {', '.join(dict.fromkeys(near))}"
        return f"none is near; frequent ones are: {', '.join(list(self.words)[:10])}"

    def save(self, folder: Path) -> None:
        """Into tokenizer.json, which the library reads too, and words.json."""
        write_json(folder / _WORDS, {"longest": self.longest, "words": dict(self.words)})
        write_text(folder / _TABLE, self.table.to_str(pretty=True))


def as_words(captions: Captions, begin: str = "<|startoftext|>", end: str = "<|endoftext|>") -> Words:
    """The same table as models of images and texts have theirs: begin and end around each text, filled up with ends.
    The end has the largest number, and a few tokens more than the longest caption are read."""
    table = parse(captions.table.to_str())
    table.add_special_tokens([begin, end])
    surround(table, begin, end)
    first, last = table.token_to_id(begin), table.token_to_id(end)
    assert first is not None and last is not None, "they were added a moment ago"
    config = WordsConfig(captions.longest + _ROOM, last + 1)
    return Words(table, SpecialTokens(first, last, pad=last, unknown=last, stops=(last,)), config)


def load_captions(folder: Path) -> Captions:
    """What `Captions.save` wrote. Raises OSError, ValueError or LookupError where it is broken."""
    table = parse((folder / _TABLE).read_text(encoding="utf-8"))
    described = read_json(folder / _WORDS)
    return Captions(table, int(described["longest"]), {str(word): int(n) for word, n in described["words"].items()})


def learn_captions(texts: Sequence[str], config: CaptionConfig = CaptionConfig()) -> Captions:
    """A table of these captions' byte pairs: the same in every process, because equally frequent pairs are taken in
    the order of their tokens. Raises UserError when none has a word."""
    counts = Counter(word for text in texts for word in set(words_of(text)))
    if not counts:
        raise UserError("No caption has a word; give each picture a text that says what it shows.")
    lib = library()
    table = lib.Tokenizer(lib.models.BPE())
    table.normalizer = lib.normalizers.Sequence([lib.normalizers.NFC(), lib.normalizers.Lowercase()])
    table.pre_tokenizer = lib.pre_tokenizers.ByteLevel(add_prefix_space=True)
    table.decoder = lib.decoders.ByteLevel()
    trainer = lib.trainers.BpeTrainer(
        vocab_size=config.vocabulary_size, min_frequency=2, show_progress=False, special_tokens=[],
        initial_alphabet=sorted(lib.pre_tokenizers.ByteLevel.alphabet()),
    )  # fmt: skip
    table.train_from_iterator([_clean(text) for text in texts], trainer)
    longest = max(map(len, _numbers(table, texts)))
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return Captions(table, min(config.longest, longest), dict(ordered))


def _numbers(table: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Tokens of each text, as many as there are."""
    return [found.ids for found in table.encode_batch([_clean(text) for text in texts], add_special_tokens=False)]


def _clean(text: str) -> str:
    """With single spaces. Raises UserError for what is no text."""
    if not isinstance(text, str):
        raise UserError(f"A caption is {type(text).__name__}, not text; give a string.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError("A caption holds lone surrogates; give Unicode text, decoded with its encoding.") from error
    return " ".join(text.split())
