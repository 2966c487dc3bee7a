"""What an index knows of each key, in lines that are only ever added: its row, that it was refused, that it is gone."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Entry:
    """The last word on one key."""

    stamp: str
    """Changes when what the key stands for changes; only the caller knows what it says."""
    row: int | None = None
    refused: str | None = None
    """Why there is no row."""


@dataclass
class Journal:
    """Entries by key, read from a file and added to it."""

    path: Path
    entries: dict[str, Entry] = field(default_factory=dict)
    num_damaged: int = 0
    """Lines that could not be used: what they told of is as if it had never been seen."""

    @classmethod
    def read(cls, path: Path) -> Journal:
        """The journal as it stands. A last line without its end was cut by a kill and counts as never written."""
        journal = cls(path)
        content = path.read_bytes() if path.exists() else b""
        for line in content[: content.rfind(b"\n") + 1].split(b"\n")[:-1]:
            try:
                key, entry = _parse(json.loads(line))
            except (ValueError, LookupError, TypeError, AttributeError):
                journal.num_damaged += 1
            else:
                journal._take(key, entry)
        return journal

    def forget_rows_from(self, num_rows: int) -> None:
        """Entries whose rows are not there are damaged."""
        lost = [key for key, entry in self.entries.items() if entry.row is not None and entry.row >= num_rows]
        for key in lost:
            del self.entries[key]
        self.num_damaged += len(lost)

    def add(self, entries: Mapping[str, Entry | None]) -> None:
        """Write and flush one line each; None tells that a key is gone."""
        append_bytes(self.path, "".join(_line(key, entry) for key, entry in entries.items()).encode())
        for key, entry in entries.items():
            self._take(key, entry)

    def cut_unfinished_line(self) -> None:
        """To be called before anything is added after a kill."""
        if self.path.exists():
            os.truncate(self.path, self.path.read_bytes().rfind(b"\n") + 1)

    def _take(self, key: str, entry: Entry | None) -> None:
        if entry is None:
            self.entries.pop(key, None)
        else:
            self.entries[key] = entry


def append_bytes(path: Path, content: bytes) -> None:
    """Add to a file and wait until the disk has it."""
    with path.open("ab") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())


def _line(key: str, entry: Entry | None) -> str:
    if entry is None:
        told: dict[str, Any] = {"key": key, "is_gone": True}
    elif entry.row is None:
        told = {"key": key, "stamp": entry.stamp, "refused": entry.refused}
    else:
        told = {"key": key, "stamp": entry.stamp, "row": entry.row}
    return json.dumps(told) + "\n"


def _parse(line: dict[str, Any]) -> tuple[str, Entry | None]:
    """Raises some error when the line says nothing of use."""
    key, row, refused = line["key"], line.get("row"), line.get("refused")
    if not isinstance(key, str):
        raise TypeError(f"{key!r} is no key")
    if line.get("is_gone"):
        return key, None
    if not (isinstance(row, int) and row >= 0) and not isinstance(refused, str):
        raise ValueError(f"{key!r} has neither a row nor a reason")
    return key, Entry(str(line["stamp"]), row if isinstance(row, int) else None, refused)
