"""A folder of unit vectors that is searched by likeness: exactly while there are few, by their neighbours when many."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from beholder.index.exact import best_rows
from beholder.index.neighbours import Neighbours, has_faiss
from beholder.index.table import VectorTable
from beholder.runtime.log import Log, counted
from beholder.types import UserError

EXACT_BELOW = 200_000
"""Rows; the product with all of them takes a tenth of a second there, and from there on it is approximated."""
_SHARE_UNFILED = 0.02
"""Of rows that the approximate index may lack: they are compared one by one beside it."""
_COMPARED = 4
"""Times the rows that are asked for are compared with their true values: a byte a value orders them roughly."""


@dataclass(frozen=True)
class Found:
    """One key that is like the query."""

    key: str
    score: float
    """Inner product."""


class VectorIndex:
    """A table of rows, and from `EXACT_BELOW` of them on an approximate index beside it."""

    def __init__(self, table: VectorTable) -> None:
        self.table = table
        self._neighbours: Neighbours | None = None

    @property
    def is_exact(self) -> bool:
        """Whether every row is compared with a query."""
        return self._open_neighbours() is None

    @property
    def lacks_neighbours(self) -> bool:
        """Whether `connect` would do something."""
        if self.table.num_live < EXACT_BELOW or not has_faiss():
            return False
        neighbours, num_rows = self._open_neighbours(), len(self.table.view.table)
        return neighbours is None or num_rows - neighbours.num_rows > _SHARE_UNFILED * num_rows

    def connect(self, log: Log) -> None:
        """Make the approximate index, or file new rows in it, where there are so many that it is worth it.

        Raises OSError when the file system refuses. One process at a time, as for all that writes.
        """
        if self.table.num_live >= EXACT_BELOW and not has_faiss():
            log.warn(f"{counted(self.table.num_live, 'row')} are compared one by one; faster with beholder[search]")
        if not self.lacks_neighbours:
            return
        rows = self.table.view.table
        neighbours = Neighbours.open(self._path, is_extended=True)
        if neighbours is None or neighbours.is_outgrown(len(rows)):
            log.stage("Index", f"an approximate one of {counted(len(rows), 'row')} is built, which takes minutes")
            neighbours = Neighbours.build(rows)
        else:
            neighbours.extend(rows)
        neighbours.save(self._path)
        self._neighbours = None

    def search(self, query: Float[Tensor, " C"], count: int) -> list[Found]:
        """The `count` keys that are most like the query, best first; fewer where there are fewer.

        Raises UserError when the rows are damaged.
        """
        view, neighbours = self.table.view, self._open_neighbours()
        if not len(view.rows):
            return []
        if neighbours is None:
            scores, rows = (values[0] for values in best_rows(view.table, query[None], count, view.is_live))
        else:
            near = self._near_rows(neighbours, query, count)
            scores, order = (view.read(near) @ query).topk(min(count, len(near)))
            rows = torch.from_numpy(near)[order]
        if not torch.isfinite(scores).all():
            raise UserError(
                f"The vectors in {self.table.path} are damaged (not finite); delete that folder and run the same "
                "command again."
            )
        return [Found(view.keys[row], score) for row, score in zip(rows.tolist(), scores.tolist(), strict=True)]

    def _near_rows(self, neighbours: Neighbours, query: Float[Tensor, " C"], count: int) -> Int[np.ndarray, " k"]:
        """Live rows worth comparing: more are asked for until enough are live; and all that are not filed yet."""
        view, num_probes = self.table.view, neighbours.config.num_probes
        wanted = _COMPARED * count
        while True:
            near = neighbours.candidates(query, min(wanted, neighbours.num_rows), num_probes)
            near = np.union1d(near, np.arange(neighbours.num_rows, len(view.table)))
            near = near if view.is_live is None else near[view.is_live[near]]
            is_everything = wanted >= neighbours.num_rows and num_probes >= neighbours.num_lists
            if len(near) >= count or is_everything:
                return near
            wanted, num_probes = 4 * wanted, 4 * num_probes

    def _open_neighbours(self) -> Neighbours | None:
        if self._neighbours is None and self.table.num_live >= EXACT_BELOW and has_faiss():
            found = Neighbours.open(self._path)
            if found is not None and found.num_rows <= len(self.table.view.table):
                self._neighbours = found
        return self._neighbours

    @property
    def _path(self) -> Path:
        return self.table.file("neighbours", "faiss")
