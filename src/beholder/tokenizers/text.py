"""Text to token numbers and back. `word_tables` makes the tables; nothing is cut or filled without being told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from beholder.types import UserError

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

Side = Literal["left", "right"]


@dataclass(frozen=True)
class SpecialTokens:
    """Numbers of the tokens that stand for no letters; None where a tokenizer has none of the kind."""

    begin: int | None = None
    """In front of a text; BERT's [CLS]."""
    end: int | None = None
    """After a text; BERT's [SEP]."""
    pad: int | None = None
    unknown: int | None = None
    mask: int | None = None
    stops: tuple[int, ...] = ()
    """All that end what a model writes: the end token, and those of a conversation's turns."""


@dataclass(frozen=True)
class WordsConfig:
    """What a model asks of its texts, beside the table of tokens."""

    longest: int | None = None
    """Tokens that the model reads at once, special ones included; None: as many as there are."""
    num_rows: int | None = None
    """Rows of the model's table of tokens; a greater number cannot be looked up. None: not known."""
    pad_side: Side = "right"
    cut_side: Side = "right"
    """Where a text that is cut loses tokens."""
    is_full: bool = False
    """Whether every row is filled up to `longest`, because the model was trained so and looks at the filling (SigLIP,
    Zhai et al. 2023, arXiv 2303.15343)."""


@dataclass(frozen=True)
class EncodedTexts:
    """A batch of texts as a language model reads it."""

    numbers: Int[Tensor, "B T"]
    is_real: Bool[Tensor, "B T"] | None
    """False where a row was filled up; None for a model that reads the filling too."""
    num_cut: tuple[int, ...]
    """Tokens of each text that were left out; only where cutting was asked for is one of them above zero."""


@dataclass(frozen=True)
class Words:
    """A tokenizer of text: what a language model calls its words."""

    table: Tokenizer
    special: SpecialTokens = field(default_factory=SpecialTokens)
    config: WordsConfig = field(default_factory=WordsConfig)
    declared: Mapping[str, Any] = field(default_factory=dict)
    """The checkpoint's tokenizer_config.json, kept for writing it again."""

    @property
    def size(self) -> int:
        """How many tokens there are, special ones included."""
        return self.table.get_vocab_size(with_added_tokens=True)

    def encode(
        self,
        texts: str | Sequence[str],
        *,
        pad_side: Side | None = None,
        longest: int | None = None,
        is_cut: bool = False,
        has_special: bool = True,
    ) -> EncodedTexts:
        """Rows of equal length. `longest` lowers the model's limit; `has_special` adds begin and end where the
        tokenizer has them, and cutting never takes these.

        Rows are filled with the pad token, or with the end token where there is none; `is_real` tells which. Raises
        UserError for a text that is too long, unless `is_cut` (then `num_cut` tells by how much), for one without
        any token, and for what is no text.
        """
        listed = [texts] if isinstance(texts, str) else list(texts)
        limit = min((one for one in (longest, self.config.longest) if one is not None), default=None)
        num_special = self.table.num_special_tokens_to_add(is_pair=False) if has_special else 0
        rows, num_cut = [], []
        for number, found in enumerate(self._parts(listed), start=1):
            excess = 0 if limit is None else max(0, len(found.ids) + num_special - limit)
            if excess and not is_cut:
                raise UserError(
                    f"Text {number} has {len(found.ids) + num_special:,} tokens and the model reads {limit:,}; "
                    "shorten it."
                )
            if excess and limit is not None:
                if limit <= num_special:
                    raise UserError(f"longest={limit}: no room for text beside {num_special} special tokens; raise it.")
                found.truncate(limit - num_special, direction=self.config.cut_side)
            row = self.table.post_process(found, add_special_tokens=has_special).ids
            if not row:
                raise UserError(f"Text {number} is empty and this tokenizer adds no begin or end; give a word.")
            rows.append(row)
            num_cut.append(excess)
        self._check_rows(rows)
        return self._stacked(rows, tuple(num_cut), pad_side or self.config.pad_side, limit)

    def numbers(self, text: str) -> list[int]:
        """The tokens of a piece of text, without special ones. Raises UserError for what is no text, and for tokens
        that the model has not."""
        (found,) = self._parts([text])
        self._check_rows([found.ids or [0]])
        return list(found.ids)

    def decode(self, numbers: Sequence[int] | Int[Tensor, " T"], *, has_special: bool = False) -> str:
        """The text of a row, without special tokens unless asked. Bytes that are no UTF-8 become U+FFFD.

        Raises UserError for a number that is no token.
        """
        listed = [int(number) for number in numbers]
        unknown = [number for number in listed if self.table.id_to_token(number) is None]
        if unknown:
            raise UserError(f"{unknown[0]} is no token; this tokenizer has {self.size:,}, from 0.")
        text = self.table.decode(listed, skip_special_tokens=not has_special)
        suffix = getattr(self.table.model, "end_of_word_suffix", None)
        return text.replace(suffix, " ").strip() if suffix else text

    def is_special(self, number: int) -> bool:
        """Whether a token stands for no letters: it was added to the table by its name."""
        added = self.table.get_added_tokens_decoder().get(number)
        return added is not None and added.special

    def number_of(self, token: str) -> int:
        """The number of a token that is known by its name. Raises UserError for one that there is not."""
        number = self.table.token_to_id(token)
        if number is None:
            raise UserError(f"{token!r} is no token of this tokenizer; it has {self.size:,} others.")
        return number

    def _parts(self, texts: list[str]) -> list[Encoding]:
        try:
            return self.table.encode_batch(texts, add_special_tokens=False)
        except (UnicodeEncodeError, TypeError) as error:
            raise UserError(
                "A text is bytes or holds lone surrogates; give Unicode text, decoded with its encoding."
            ) from error

    def _check_rows(self, rows: list[list[int]]) -> None:
        greatest, limit = max((max(row) for row in rows), default=0), self.config.num_rows
        if limit is not None and greatest >= limit:
            raise UserError(
                f"{self.table.id_to_token(greatest)!r} is token {greatest:,} and the model has a table of {limit:,}; "
                "the tokenizer is of another model, or has tokens added that the model has not."
            )

    def _stacked(self, rows: list[list[int]], num_cut: tuple[int, ...], side: Side, limit: int | None) -> EncodedTexts:
        length = max(map(len, rows), default=0)
        if self.config.is_full and limit is not None:
            length = limit
        special = self.special
        filling = special.pad if special.pad is not None else special.end
        numbers = torch.full((len(rows), length), filling or 0)
        is_real = torch.zeros(len(rows), length, dtype=torch.bool)
        for index, row in enumerate(rows):
            place = slice(0, len(row)) if side == "right" else slice(length - len(row), length)
            numbers[index, place] = torch.tensor(row)
            is_real[index, place] = True
        return EncodedTexts(numbers, None if self.config.is_full else is_real, num_cut)
