"""Texts to learn a language from: plain files, tables with a column of text, and conversations."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beholder.data.listing import Listing, Refused, list_files
from beholder.data.tables import TABLE_EXTENSIONS, Table, cell_text, read_table
from beholder.types import UserError

TEXT_EXTENSIONS = frozenset({".txt", ".md", ".rst"})
_COLUMNS = ("text", "content", "document", "article", "body", "story", "caption", "captions", "description")
_PAIRS = (("question", "answer"), ("prompt", "response"), ("prompt", "completion"), ("instruction", "output"))
_TALKS = ("messages", "conversations", "conversation")
_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
STRETCH = 8_000
"""Characters: a longer file is taken in stretches of about so many, cut at an empty line where there is one."""


@dataclass(frozen=True)
class Text:
    """Something to be read from its beginning to its end."""

    key: str
    """Where it comes from."""
    text: str = ""
    turns: tuple[tuple[str, str], ...] = ()
    """Of a conversation, in the place of a text: what is asked, and what is answered."""

    @property
    def pieces(self) -> tuple[str, ...]:
        """All that is said in it."""
        return (self.text,) if not self.turns else tuple(piece for turn in self.turns for piece in turn)


@dataclass(frozen=True)
class Texts:
    """What was read."""

    description: str
    kind: str
    """ "texts" or "conversations"."""
    texts: tuple[Text, ...]
    """Each once, in the order of the files."""
    refused: tuple[Refused, ...]
    num_double: int
    """Texts that came again and were left out."""


def read_texts(path: Path) -> Texts:
    """Of a file, or of all such files of a folder: .txt, .md and .rst as they are; CSV, TSV, parquet and JSON lines
    with a column of text, with a question and an answer, or with conversations (`messages`, `conversations`).

    Files and rows that cannot be used are refused with their reason, and the rest goes on. Raises UserError where no
    text is found, and where there are both texts and conversations.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; name a text file, a table, or a folder of them.")
    listing = list_files(path) if path.is_dir() else Listing(path.parent, others={path.name: path})
    refused: list[Refused] = list(listing.refused)
    found: list[Text] = []
    num_files = 0
    for key, file in listing.others.items():
        if file.suffix.lower() not in TEXT_EXTENSIONS | TABLE_EXTENSIONS:
            if path.is_file():
                raise UserError(f"{path} is no text: give .txt, .md, .rst, or a table (.jsonl, .csv, .tsv, .parquet).")
            continue
        before = len(found)
        try:
            found += _of_file(key, file) if file.suffix.lower() in TEXT_EXTENSIONS else _of_table(key, file, refused)
        except UserError as error:
            if path.is_file():
                raise
            refused.append(Refused(key, str(error)))
        num_files += len(found) > before
    texts, num_double = _each_once(found)
    if not texts:
        why = f"; the first: {refused[0].key}: {refused[0].reason}" if refused else ""
        raise UserError(f"{path} has no text to learn from{why}; give text files, or a table with a column text.")
    kinds = {"conversations" if one.turns else "texts" for one in texts}
    if len(kinds) > 1:
        raise UserError(f"{path} has texts and conversations; name one of its files, or keep them in two folders.")
    kind = kinds.pop()
    files = path.name if path.is_file() else f"{num_files:,} file{'s' if num_files > 1 else ''}"
    size = sum(len(piece) for one in texts for piece in one.pieces)
    title = f"{files}: {len(texts):,} {kind}, {size:,} characters"
    return Texts(title, kind, texts, tuple(refused), num_double)


def _of_file(key: str, file: Path) -> list[Text]:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{file} is not UTF-8 text; save it again as UTF-8.") from None
    except OSError as error:
        raise UserError(f"{file} cannot be read ({(error.strerror or str(error)).lower()}).") from None
    if "\0" in text:
        raise UserError(f"{file} holds binary data; name a text file.")
    stretches = list(stretches_of(text.replace("\r\n", "\n")))
    return [
        Text(key if len(stretches) == 1 else f"{key}#{number}", stretch)
        for number, stretch in enumerate(stretches, start=1)
    ]


def stretches_of(text: str, length: int = STRETCH) -> Iterator[str]:
    """The text in parts of about so many characters, cut at an empty line, else at the end of a line, else anywhere;
    without the space around them."""
    at = 0
    while at < len(text):
        end = min(len(text), at + length)
        if end < len(text):
            cuts = [text.rfind(mark, at + length // 2, end) for mark in ("\n\n", "\n")]
            end = next((cut for cut in cuts if cut > at), end)
        part = text[at:end].strip()
        if part:
            yield part
        at = end


def _of_table(key: str, file: Path, refused: list[Refused]) -> list[Text]:
    table = read_table(file)
    talks, column, pair = table.find(_TALKS), table.find(_COLUMNS), _pair_in(table)
    if talks is None and column is None and pair is None:
        raise UserError(
            f"{file} has no column of text; it has {', '.join(table.columns)}. Name one text, or question and answer, "
            "or messages."
        )
    found: list[Text] = []
    for index, row in enumerate(table.rows):
        where = f"{key}#{index + 1}"
        try:
            if talks is not None:
                found.append(Text(where, turns=_turns(row.get(talks))))
            elif pair is not None:
                asked, answered = (cell_text(row.get(name)) for name in pair)
                if not asked or not answered:
                    raise UserError("has no question with an answer")
                found.append(Text(where, turns=((asked, answered),)))
            else:
                assert column is not None
                found += [Text(where, text) for text in _texts(row.get(column))]
        except UserError as error:
            refused.append(Refused(where, f"{table.where(index)} {error}"))
    return found


def _pair_in(table: Table) -> tuple[str, str] | None:
    for asked, answered in _PAIRS:
        found = table.find((asked,)), table.find((answered,))
        if found[0] is not None and found[1] is not None:
            return found[0], found[1]
    return None


def _texts(value: Any) -> list[str]:
    """Of a cell: its text, or each of a list. Raises UserError for none."""
    listed = value if isinstance(value, list | tuple) else [value]
    told = [text for one in listed if (text := cell_text(one))]
    if not told:
        raise UserError("has no text")
    return told


def _turns(told: Any) -> tuple[tuple[str, str], ...]:
    """Questions with their answers; what a system says stands before the first question."""
    if not isinstance(told, Sequence) or isinstance(told, str) or not told:
        raise UserError("has no conversation")
    turns: list[tuple[str, str]] = []
    before, question = "", None
    for turn in told:
        if not isinstance(turn, Mapping):
            raise UserError("has a turn that is no object")
        who = _ROLES.get(str(turn.get("role", turn.get("from", ""))).lower())
        text = turn.get("content", turn.get("value"))
        if not isinstance(text, str) or not text.strip():
            raise UserError("has a turn without text")
        if who == "system" and not turns and question is None:
            before = f"{text.strip()}\n"
        elif who == "user" and question is None:
            question, before = before + text.strip(), ""
        elif who == "assistant" and question is not None:
            turns.append((question, text.strip()))
            question = None
        else:
            raise UserError(f"has a turn from {who or 'nobody'} where the other side's was due")
    if not turns:
        raise UserError("has no question with an answer")
    return tuple(turns)


def _each_once(found: Sequence[Text]) -> tuple[tuple[Text, ...], int]:
    """Without texts that say the same but for space and case."""
    kept: dict[bytes, Text] = {}
    for one in found:
        plain = "\0".join(re.sub(r"\s+", " ", piece).strip().casefold() for piece in one.pieces)
        kept.setdefault(hashlib.blake2b(plain.encode("utf-8", "replace"), digest_size=16).digest(), one)
    return tuple(kept.values()), len(found) - len(kept)
