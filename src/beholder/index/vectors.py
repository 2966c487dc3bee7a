"""A folder of unit vectors with their keys, that grows and shrinks with what they stand for and survives any kill.

    index.json           width, owner, and which generation of the files below counts
    rows-0.jsonl         the journal: which key has which row (`journal.py`)
    points-0.f16         the rows in half precision, mapped when they are searched
    neighbours-0.faiss   the approximate index, from `EXACT_BELOW` rows on (`neighbours.py`)

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
from beholder.index.exact import best_rows
from beholder.index.journal import Entry, Journal, append_bytes
from beholder.index.neighbours import Neighbours, has_faiss
from beholder.runtime.files import read_json, write_json
from beholder.runtime.log import Log, counted
from beholder.types import UserError

FORMAT = 1
EXACT_BELOW = 200_000
"""Rows; the product with all of them takes a tenth of a second there, and from there on it is approximated."""
_SHARE_UNFILED = 0.1
"""Of rows that the approximate index may lack: they are compared one by one beside it."""
_HEADER = "index.json"
_ROW = np.dtype(np.float16)
_ROWS_COPIED_AT_ONCE = 4096


@dataclass(frozen=True)
class Header:
    """What stands in index.json."""

    width: int
    owner: dict[str, str]
    """What the vectors come from, such as a model's name and a digest of its weights; the caller compares it."""
    generation: int = 0
    format: int = FORMAT


@dataclass(frozen=True)
class Found:
    """One key that is like the query."""

    key: str
    score: float
    """Inner product."""


@dataclass(frozen=True)
class _View:
    """The table as it stood at one moment."""

    table: np.ndarray
    """n C, mapped."""
    rows: Int[np.ndarray, " m"]
    """Live ones."""
    keys: dict[int, str]
    """By row."""

    @cached_property
    def is_live(self) -> Bool[np.ndarray, " n"] | None:
        """None where all rows are."""
        if len(self.rows) == len(self.table):
            return None
        live = np.zeros(len(self.table), np.bool_)
        live[self.rows] = True
        return live


class VectorIndex:
    """An index as it stands on disk. Built by `create` and `find_index`.

    Many may read while one writes; that it is one alone is for the caller to see to (`runtime/lock.py`).
    """

    def __init__(self, path: Path, header: Header) -> None:
        self.path, self.header = path, header
        self._journal = Journal.read(self._file("rows", "jsonl"))  # before the rows, which may grow meanwhile
        self._journal.forget_rows_from(self._num_rows)
        self._neighbours: Neighbours | None = None
        self._view: _View | None = None

    @classmethod
    def create(cls, path: Path, width: int, owner: Mapping[str, str]) -> VectorIndex:
        """A new index without rows, in a folder that is made. Raises OSError when the file system refuses."""
        path.mkdir(parents=True, exist_ok=True)
        header = Header(width, dict(owner))
        write_json(path / _HEADER, to_json(header))
        return cls(path, header)

    @property
    def entries(self) -> Mapping[str, Entry]:
        """By key: what has a row, and what was refused."""
        return self._journal.entries

    @property
    def num_damaged(self) -> int:
        """Lines of the journal that told nothing of use; what they told of is as if it had never been there."""
        return self._journal.num_damaged

    @property
    def num_live(self) -> int:
        return len(self._open_view().rows)

    def add(self, stamps: Mapping[str, str], points: Float[Tensor, "n C"]) -> None:
        """Rows for keys, in this order; a key that is there already gets the new row. On disk when it returns."""
        assert points.shape == (len(stamps), self.header.width), (tuple(points.shape), len(stamps))
        first = self._num_rows
        append_bytes(self._file("points", "f16"), points.numpy().astype(_ROW).tobytes())
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
        points = self._file("points", "f16")
        if points.exists():
            os.truncate(points, self._num_rows * self._row_bytes)
        for leftover in self.path.iterdir():
            name, _, generation = leftover.stem.partition("-")
            if name in ("rows", "points", "neighbours") and generation != str(self.header.generation):
                leftover.unlink()

    def compact(self) -> None:
        """The live rows alone, in the files of the next generation, which count as soon as index.json names them."""
        view, entries = self._open_view(), dict(self.entries)
        self.header = replace(self.header, generation=self.header.generation + 1)
        points, rows = self._file("points", "f16"), self._file("rows", "jsonl")
        points.unlink(missing_ok=True)  # of a kill
        rows.unlink(missing_ok=True)
        for first in range(0, len(view.rows), _ROWS_COPIED_AT_ONCE):
            append_bytes(points, view.table[view.rows[first : first + _ROWS_COPIED_AT_ONCE]].tobytes())
        moved = {view.keys[row]: number for number, row in enumerate(view.rows.tolist())}
        Journal(rows).add({key: replace(entry, row=moved.get(key)) for key, entry in entries.items()})
        write_json(self.path / _HEADER, to_json(self.header))
        self.__init__(self.path, self.header)
        self.mend()

    @property
    def is_wasteful(self) -> bool:
        """Whether there are more dead rows than live ones."""
        return self._num_rows > 2 * self.num_live

    @property
    def lacks_neighbours(self) -> bool:
        """Whether `connect` would do something."""
        if self.num_live < EXACT_BELOW or not has_faiss():
            return False
        neighbours = self._open_neighbours()
        return neighbours is None or self._is_behind(neighbours)

    def connect(self, log: Log) -> None:
        """Make or extend the approximate index where there are so many rows that it is worth it."""
        if self.num_live < EXACT_BELOW:
            return
        if not has_faiss():
            log.warn(f"{counted(self.num_live, 'row')} are compared one by one; pip install 'beholder[search]' is faster")
            return
        if not self.lacks_neighbours:
            return
        path, table = self._file("neighbours", "faiss"), self._open_view().table
        neighbours = Neighbours.open(path, is_extended=True)
        if neighbours is None or neighbours.is_outgrown(len(table)):
            log.stage("Index", f"an approximate one of {counted(len(table), 'row')} is built, which takes minutes")
            neighbours = Neighbours.build(table)
        else:
            neighbours.extend(table)
        neighbours.save(path)
        self._neighbours = None

    def sample(self, count: int) -> Float[Tensor, "n C"]:
        """Up to `count` live rows, evenly spread."""
        view = self._open_view()
        return _single(view.table[view.rows[:: max(1, -(-len(view.rows) // count))]])

    def rows_of(self, keys: Sequence[str]) -> Float[Tensor, "n C"]:
        """The rows of keys that have one."""
        return _single(self._open_view().table[[self.entries[key].row for key in keys]])

    def is_exact(self) -> bool:
        """Whether all rows are compared with a query."""
        return self._open_neighbours() is None

    def search(self, query: Float[Tensor, " C"], count: int) -> list[Found]:
        """The `count` keys that are most like the query, best first; fewer where there are fewer.

        Raises UserError when the rows are damaged.
        """
        view, neighbours = self._open_view(), self._open_neighbours()
        if neighbours is None:
            scores, rows = (values[0] for values in best_rows(view.table, query[None], count, view.is_live))
        else:
            near = self._near_rows(neighbours, query, count)
            products = _single(view.table[near]) @ query
            scores, order = products.topk(min(count, len(near)))
            rows = torch.from_numpy(near)[order]
        if not torch.isfinite(scores).all():
            raise UserError(
                f"The vectors in {self.path} are damaged (not finite); delete that folder and run the same command "
                "again."
            )
        return [Found(view.keys[row], score) for row, score in zip(rows.tolist(), scores.tolist(), strict=True)]

    def _near_rows(self, neighbours: Neighbours, query: Float[Tensor, " C"], count: int) -> Int[np.ndarray, " k"]:
        """Live rows worth comparing: more are asked for until enough of them are live; and all that are not filed."""
        view, wanted, num_probes = self._open_view(), 4 * count, neighbours.config.num_probes
        enough = min(count, len(view.rows))
        while True:
            near = neighbours.candidates(query, min(wanted, neighbours.num_rows), num_probes)
            near = np.union1d(near, np.arange(neighbours.num_rows, len(view.table)))
            near = near if view.is_live is None else near[view.is_live[near]]
            if len(near) >= enough or wanted >= 64 * neighbours.num_rows:
                return near
            wanted, num_probes = 4 * wanted, 4 * num_probes

    def _tell(self, entries: Mapping[str, Entry | None]) -> None:
        self._journal.add(entries)
        self._view = None

    def _open_view(self) -> _View:
        if self._view is None:
            keys = {entry.row: key for key, entry in self.entries.items() if entry.row is not None}
            num_rows, path = self._num_rows, self._file("points", "f16")
            shape = num_rows, self.header.width
            table = np.memmap(path, _ROW, "c", shape=shape) if num_rows else np.zeros(shape, _ROW)
            self._view = _View(table, np.sort(np.fromiter(keys, np.int64, len(keys))), keys)
        return self._view

    def _open_neighbours(self) -> Neighbours | None:
        if self._neighbours is None and self.num_live >= EXACT_BELOW and has_faiss():
            found = Neighbours.open(self._file("neighbours", "faiss"))
            if found is not None and found.num_rows <= len(self._open_view().table):
                self._neighbours = found
        return self._neighbours

    def _is_behind(self, neighbours: Neighbours) -> bool:
        num_rows = len(self._open_view().table)
        return num_rows - neighbours.num_rows > _SHARE_UNFILED * num_rows

    @property
    def _row_bytes(self) -> int:
        return self.header.width * _ROW.itemsize

    @property
    def _num_rows(self) -> int:
        """Whole ones on disk."""
        path = self._file("points", "f16")
        return path.stat().st_size // self._row_bytes if path.exists() else 0

    def _file(self, name: str, extension: str) -> Path:
        return self.path / f"{name}-{self.header.generation}.{extension}"


def find_index(path: Path) -> VectorIndex | None:
    """The index in a folder; None where there is no folder, or an empty one.

    Raises UserError when something else stands there, or index.json is damaged or of another format.
    """
    file = path / _HEADER
    if not file.exists():
        if path.exists() and not path.is_dir():
            raise UserError(f"{path} is a file; name a new folder for the index.")
        if path.is_dir() and any(not entry.name.startswith(".") for entry in path.iterdir()):
            raise UserError(f"{path} holds other files and no index; name a new folder for it.")
        return None
    try:
        values = read_json(file)
        if isinstance(values, dict) and values.get("format") != FORMAT and "width" in values:
            raise UserError(f"it has format {values.get('format')!r} and this beholder reads {FORMAT}")
        header = from_json(Header, values)
        if header.width < 1:
            raise UserError(f"width={header.width}: expected a positive number")
    except (OSError, ValueError) as error:
        reason = str(error).removesuffix(".")
        raise UserError(
            f"{file} cannot be used ({reason}); name another folder for the index, or delete this one to make it anew."
        ) from error
    return VectorIndex(path, header)


def _single(rows: np.ndarray) -> Float[Tensor, "n C"]:
    return torch.from_numpy(np.asarray(rows, np.float32))
