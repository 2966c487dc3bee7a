"""LLaVA's conversations (Liu et al. 2023, arXiv 2304.08485): a json list of rows with `image` and `conversations`,
turns "from" a "human" or "user" and a "gpt" or "assistant", whose "value" or "content" has <image> where one is shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beholder.types import UserError

MARK = "<image>"
"""Stands in a question for an image."""
REGION = "<region>"
"""Stands in a question for a part of one, which is shown briefly."""
_ASKS, _ANSWERS = ("human", "user"), ("gpt", "assistant")
_SUFFIXES = (".json", ".jsonl", ".ndjson")


@dataclass(frozen=True)
class Conversation:
    """One row; with a `reason` where it cannot be used."""

    where: str
    images: tuple[str, ...] = ()
    """Paths as the row has them."""
    turns: tuple[tuple[str, str], ...] = ()
    """Questions, with a mark for each image, and their answers."""
    reason: str | None = None


def without_marks(question: str) -> str:
    """Its words alone, with single spaces."""
    return " ".join(question.replace(MARK, " ").replace(REGION, " ").split())


def find_conversations(path: Path) -> Path | None:
    """The file with conversations: this one, or the only json of this folder that has some."""
    if path.is_file():
        return path if path.suffix.lower() in _SUFFIXES and _has_conversations(path) else None
    found = [one for one in sorted(path.glob("*.json*")) if one.suffix.lower() in _SUFFIXES and _has_conversations(one)]
    if len(found) > 1:
        raise UserError(f"{path} has conversations in {found[0].name} and {found[1].name}; name one of the files.")
    return found[0] if found else None


def read_conversations(path: Path) -> Iterator[Conversation]:
    """Row by row, those that cannot be used with their reason."""
    for number, row in enumerate(_rows(path), start=1):
        where = f"conversation {number} of {path.name}"
        try:
            yield _conversation(where, row)
        except UserError as error:
            yield Conversation(where, reason=f"{where} {error}")


def _conversation(where: str, row: Any) -> Conversation:
    if not isinstance(row, Mapping):
        raise UserError("is no object")
    given = row.get("image", row.get("images"))
    images = [given] if isinstance(given, str) else given
    if not isinstance(images, list) or not images or not all(isinstance(one, str) and one for one in images):
        raise UserError("names no image")
    turns = _turns(row.get("conversations", row.get("messages")))
    marks = sum(question.count(MARK) for question, _ in turns)
    if not marks:
        turns[0] = (" ".join([MARK] * len(images) + [turns[0][0]]), turns[0][1])
    elif marks != len(images):
        raise UserError(f"has {marks} places {MARK} and {len(images)} images; give one for each")
    return Conversation(where, tuple(images), tuple(turns))


def _turns(told: Any) -> list[tuple[str, str]]:
    if not isinstance(told, list) or not told:
        raise UserError("has no conversations")
    turns: list[tuple[str, str]] = []
    question: str | None = None
    for turn in told:
        if not isinstance(turn, Mapping):
            raise UserError("has a turn that is no object")
        who = str(turn.get("from", turn.get("role", ""))).lower()
        text = turn.get("value", turn.get("content"))
        if not isinstance(text, str):
            raise UserError("has a turn without text")
        if REGION in text:
            raise UserError(f"points at a part of an image by {REGION}, which is not read")
        text = " ".join(text.replace(MARK, f" {MARK} ").split())
        if who in _ASKS and question is None:
            question = text
        elif who in _ANSWERS and question is not None:
            if not text or MARK in text:
                raise UserError("has an answer that is empty, or shows an image")
            turns.append((question, text))
            question = None
        elif who != "system":
            raise UserError(f"has a turn from {who or 'nobody'!r} where the other side's was due")
    if not turns:
        raise UserError("has no question with an answer")
    return turns


def _rows(path: Path) -> list[Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".json":
            rows = json.loads(text)
        else:
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as json ({str(error).splitlines()[0]}); save it again.") from error
    if not isinstance(rows, list):
        raise UserError(f"{path} holds no list; give a list of conversations.")
    return rows


def _has_conversations(path: Path) -> bool:
    """Looks at the beginning alone: tables and captions in json lines are far more common, and may be large."""
    try:
        with path.open("rb") as handle:
            head = handle.read(1 << 16)
    except OSError:
        return False
    return b'"conversations"' in head or (b'"messages"' in head and b'"role"' in head)
