"""A folder of unit vectors with their keys, that grows and shrinks with what they stand for and survives any kill.

    index.json           width, owner, and which generation of the files below counts
    rows-0.jsonl         the journal: which key has which row (`journal.py`)
    points-0.f16         the rows, half precision, mapped when searched
    neighbours-0.*       the approximate index, above `EXACT_BELOW` rows (`neighbours.py`)

Rows are written before the journal tells of them, so what the journal tells is whole. A row that nothing tells of is
dead and costs room until `compact` writes the next generation.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from beholder.index.exact import best_rows
from beholder.index.journal import Entry, Journal, append_bytes
from beholder.index.neighbours import Neighbours
from beholder.runtime.files import read_json, write_json
from beholder.types import UserError

FORMAT = 1
EXACT_BELOW = 200_000
"""With so many rows a product with all of them takes about as long as a blink; from there on it is approximated."""
_HEADER = "index.json"
_SHARE_SEARCHED_EXACTLY = 0.1
"""Of rows that the approximate index does not have yet; more are added to it."""
_ROW = np.dtype(np.float16)


@dataclass(frozen=True)
class Header:
    """What stands in index.json beside the format."""

    width: int
    owner: dict[str, str]
    """What the vectors come from, such as the model's name and a digest of its weights; the caller compares it."""
    generation: int = 0


@dataclass(frozen=True)
class Found:
    """One key that is like the query."""

    key: str
    score: float
    """Inner product."""


class VectorIndex:
    """An index as it stands on disk. Built by `create` and `find_index`.

    Many may read while one writes; that there is one is for the caller to see to (`runtime/lock.py`).
    """

    def __init__(self, path: Path, header: Header) -> None:
        self.path = path
        self.header = header
        self._open()

    @classmethod
    def create(cls, path: Path, width: int, owner: Mapping[str, str]) -> VectorIndex:
        """A new index without rows in a folder, which is made. Raises OSError when the file system refuses."""
        path.mkdir(parents=True, exist_ok=True)
        header = Header(width, dict(owner))
        _write_header(path, header)
        return cls(path, header)

    @property
    def entries(self) -> Mapping[str, Entry]:
        """By key: what has a row, and what was refused."""
        return self._journal.entries

    @property
    def num_damaged(self) -> int:
        """Entries that were told of and are lost; their keys are as if never seen."""
        return self._journal.num_damaged

    @property
    def num_live(self) -> int:
        return len(self._live_rows)

    @property
    def is_exact(self) -> bool:
        return self._neighbours is None

    def add(self, stamps: Mapping[str, str], points: Float[Tensor, "n C"]) -> None:
        """Rows for keys, in this order; a key that is there already gets the new row. On disk when it returns."""
        assert points.shape == (len(stamps), self.header.width), (tuple(points.shape), len(stamps))
        first = self._num_rows()
        append_bytes(self._file("points", "f16"), points.numpy().astype(_ROW).tobytes())
        self._journal.add({key: Entry(stamp, first + index) for index, (key, stamp) in enumerate(stamps.items())})
        self._map()

    def refuse(self, reasons: Mapping[str, tuple[str, str]]) -> None:
        """Remember keys without rows, by stamp and reason."""
        self._journal.add({key: Entry(stamp, refused=reason) for key, (stamp, reason) in reasons.items()})
        self._map()

    def drop(self, keys: Sequence[str]) -> None:
        """Forget keys; more dead rows than live ones are left out of the next generation of files."""
        self._journal.add(dict.fromkeys(keys))
        self._map()
        if len(self._table) > 2 * self.num_live:
            self.compact()

    def mend(self) -> None:
        """Cut what a kill left unfinished at the ends of the files; to be called before anything is added."""
        self._journal.cut_unfinished_line()
        points = self._file("points", "f16")
        if points.exists():
            os.truncate(points, self._num_rows() * self._num_row_bytes)
        for leftover in self.path.glob("*"):
            is_own = leftover.name.startswith(("rows-", "points-", "neighbours-"))
            if is_own and not leftover.stem.endswith(f"-{self.header.generation}"):
                leftover.unlink()

    def compact(self) -> None:
        """The live rows alone, in new files, which count from the moment that index.json names them."""
        old, header = self.header, Header(self.header.width, self.header.owner, self.header.generation + 1)
        kept = sorted(((entry.row or 0, key) for key, entry in self.entries.items() if entry.row is not None))
        for name in ("points", "rows", "neighbours"):
            for leftover in self.path.glob(f"{name}-{header.generation}.*"):
                leftover.unlink()
        entries: dict[str, Entry | None] = {key: entry for key, entry in self.entries.items() if entry.row is None}
        self.header = header
        for first in range(0, len(kept), 4096):
            rows = [row for row, _ in kept[first : first + 4096]]
            append_bytes(self._file("points", "f16"), self._table[rows].tobytes())
        entries |= {key: Entry(self.entries[key].stamp, index) for index, (_, key) in enumerate(kept)}
        Journal(self._file("rows", "jsonl")).add(entries)
        _write_header(self.path, header)
        self._open()
        assert self.header.generation == old.generation + 1
        self.mend()

    def sample(self, count: int) -> Float[Tensor, "n C"]:
        """Up to `count` live rows, evenly spread."""
        rows = self._live_rows[:: max(1, -(-self.num_live // count))]
        return torch.from_numpy(self._table[rows].astype(np.float32))

    def rows_of(self, keys: Sequence[str]) -> Float[Tensor, "n C"]:
        """The rows of keys that have one."""
        rows = [self.entries[key].row for key in keys]
        return torch.from_numpy(self._table[rows].astype(np.float32))

    def search(self, queries: Float[Tensor, "Q C"], count: int) -> list[list[Found]]:
        """The `count` keys that are most like each query, best first; fewer where there are fewer.

        Raises UserError when the rows are damaged.
        """
        is_live = None if self.num_live == len(self._table) else self._is_live
        scores, rows = best_rows(self._table, queries, count, is_live)
        if not torch.isfinite(scores).all():
            raise UserError(
                f"The vectors in {self.path} are damaged (not finite); delete that folder and run the same command "
                "again."
            )
        keys = self._keys
        return [
            [Found(keys[row], score) for row, score in zip(*pair, strict=True)]
            for pair in zip(rows.tolist(), scores.tolist(), strict=True)
        ]
