"""Rows on disk with their keys, that grow and shrink with what they stand for and survive any kill.

    index.json       width, owner, and which generation of the files below counts
    rows-0.jsonl     the journal: which key has which row (`journal.py`)
    points-0.f16     the rows in half precision, mapped when they are read

Rows are written before the journal tells of them, so what the journal tells is whole. A row that nothing tells of is
dead and takes up room until `compact` writes the next generation.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from beholder.config import from_json, to_json
from beholder.index.journal import Entry, Journal, append_bytes
from beholder.runtime.files import read_json, write_json
from beholder.types import UserError

FORMAT = 1
_HEADER = "index.json"
_ROW = np.dtype(np.float16)
_ROWS_COPIED_AT_ONCE = 4096


@dataclass(frozen=True)
class Header:
    """What stands in index.json."""

    width: int
    owner: dict[str, str]
    """What the rows come from, such as a model's name and a digest of its weights; the caller compares it."""
    generation: int = 0
    format: int = FORMAT


@dataclass(frozen=True)
class View:
    """The rows as they stood at one moment."""

    table: np.ndarray
    """n C, half precision, mapped."""
    rows: Int[np.ndarray, " m"]
    """Numbers of the live ones, rising."""
    keys: Mapping[int, str]
    """By the number of the row."""

    @cached_property
    def is_live(self) -> Bool[np.ndarray, " n"] | None:
        """Of every row; None where all are."""
        if len(self.rows) == len(self.table):
            return None
        live = np.zeros(len(self.table), np.bool_)
        live[self.rows] = True
        return live

    def read(self, rows: Sequence[int] | Int[np.ndarray, " k"]) -> Float[Tensor, "k C"]:
        """Single precision."""
        return torch.from_numpy(np.asarray(self.table[rows], np.float32))


class VectorTable:
    """Rows with keys as they stand in a folder. Built by `create` and `find`.

    Many may read while one writes; that it is one alone is for the caller to see to (`runtime/lock.py`).
    """

    def __init__(self, path: Path, header: Header) -> None:
        self.path = path
        self._open(header)

    @classmethod
    def create(cls, path: Path, width: int, owner: Mapping[str, str]) -> VectorTable:
        """A new one without rows, in a folder that is made. Raises OSError when the file system refuses."""
        path.mkdir(parents=True, exist_ok=True)
        header = Header(width, dict(owner))
        write_json(path / _HEADER, to_json(header))
        return cls(path, header)

    @classmethod
    def find(cls, path: Path) -> VectorTable | None:
        """The one in a folder; None where there is no folder, or an empty one.

        Raises UserError when something else stands there, or index.json is damaged or of another format.
        """
        if not (path / _HEADER).exists():
            if path.exists() and not path.is_dir():
                raise UserError(f"{path} is a file; name a new folder for the index.")
            if path.is_dir() and any(not entry.name.startswith(".") for entry in path.iterdir()):
                raise UserError(f"{path} holds other files and no index; name a new folder for it.")
            return None
        return cls(path, _read_header(path / _HEADER))

    @property
    def entries(self) -> Mapping[str, Entry]:
        """By key: what has a row, and what was refused."""
        return self._journal.entries

    @property
    def num_damaged(self) -> int:
        """Lines of the journal that were of no use; what they told of is as if it had never been there."""
        return self._journal.num_damaged

    @property
    def num_live(self) -> int:
        return len(self.view.rows)

    @property
    def view(self) -> View:
        """The rows now; opened anew after each change."""
        if self._view is None:
            keys = {entry.row: key for key, entry in self.entries.items() if entry.row is not None}
            shape = self._count_rows(), self.header.width
            table = np.memmap(self.file("points", "f16"), _ROW, "c", shape=shape) if shape[0] else np.zeros(shape, _ROW)
            self._view = View(table, np.sort(np.fromiter(keys, np.int64, len(keys))), keys)
        return self._view

    def file(self, name: str, extension: str) -> Path:
        """One of this generation's files."""
        return self.path / f"{name}-{self.header.generation}.{extension}"

    def add(self, stamps: Mapping[str, str], points: Float[Tensor, "n C"]) -> None:
        """Rows for keys, in this order; a key that is there already gets the new row. On disk when it returns."""
        assert points.shape == (len(stamps), self.header.width), (tuple(points.shape), len(stamps))
        first = self._count_rows()
        append_bytes(self.file("points", "f16"), points.numpy().astype(_ROW).tobytes())
        self._tell({key: Entry(stamp, first + number) for number, (key, stamp) in enumerate(stamps.items())})

    def refuse(self, reasons: Mapping[str, tuple[str, str]]) -> None:
        """Remember keys without rows, by stamp and reason."""
        self._tell({key: Entry(stamp, refused=reason) for key, (stamp, reason) in reasons.items()})

    def drop(self, keys: Sequence[str]) -> None:
        """Forget keys."""
        self._tell(dict.fromkeys(keys))

    def mend(self) -> None:
        """Cut what a kill left unfinished, and files that no longer count; before anything is added."""
        self._journal.cut_unfinished_line()
        points = self.file("points", "f16")
        if points.exists():
            os.truncate(points, self._count_rows() * self._row_bytes)
        for leftover in self.path.iterdir():
            name, _, generation = leftover.stem.partition("-")
            if name in ("rows", "points", "neighbours") and generation != str(self.header.generation):
                leftover.unlink()

    @property
    def is_wasteful(self) -> bool:
        """Whether more rows are dead than live."""
        return len(self.view.table) > 2 * self.num_live

    def compact(self) -> None:
        """The live rows alone, in the files of the next generation, which count as soon as index.json names them."""
        view, entries = self.view, dict(self.entries)
        self.header = replace(self.header, generation=self.header.generation + 1)
        points, journal = self.file("points", "f16"), self.file("rows", "jsonl")
        points.unlink(missing_ok=True)  # of a kill
        journal.unlink(missing_ok=True)
        for first in range(0, len(view.rows), _ROWS_COPIED_AT_ONCE):
            append_bytes(points, view.table[view.rows[first : first + _ROWS_COPIED_AT_ONCE]].tobytes())
        moved = {view.keys[row]: number for number, row in enumerate(view.rows.tolist())}
        Journal(journal).add({key: replace(entry, row=moved.get(key)) for key, entry in entries.items()})
        write_json(self.path / _HEADER, to_json(self.header))
        self._open(self.header)
        self.mend()

    def _open(self, header: Header) -> None:
        self.header = header
        self._view: View | None = None
        self._journal = Journal.read(self.file("rows", "jsonl"))  # before the rows, which may grow meanwhile
        self._journal.forget_rows_from(self._count_rows())

    def _tell(self, entries: Mapping[str, Entry | None]) -> None:
        self._journal.add(entries)
        self._view = None

    def _count_rows(self) -> int:
        """Whole ones on disk, dead or alive."""
        path = self.file("points", "f16")
        return path.stat().st_size // self._row_bytes if path.exists() else 0

    @property
    def _row_bytes(self) -> int:
        return self.header.width * _ROW.itemsize


def _read_header(file: Path) -> Header:
    try:
        values = read_json(file)
        if isinstance(values, dict) and values.get("format", FORMAT) != FORMAT:
            raise UserError(f"it has format {values['format']!r} and this beholder reads {FORMAT}")
        header = from_json(Header, values)
        if header.width < 1 or header.generation < 0:
            raise UserError(f"width={header.width}, generation={header.generation}: expected counts")
        return header
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0].removesuffix(".")
        raise UserError(
            f"{file} cannot be used ({reason}); name another folder for the index, or delete this one to make it anew."
        ) from error
