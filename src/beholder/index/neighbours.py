"""An approximate index over the rows of a table: lists of rows that lie near the same centre, by faiss.

A query looks into the lists whose centres are nearest (Sivic & Zisserman 2003, "Video Google"); rows in them are kept
as bytes, a value each, and the caller compares the best of them again with the true rows. How many lists are looked
into is measured when the index is built.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from beholder.config import from_json, to_json
from beholder.index.exact import best_rows
from beholder.runtime.files import read_json, write_json, write_whole
from beholder.types import UserError

_ROWS_AT_ONCE = 16_384
_ROWS_A_CENTRE = 64
"""From which the centres are learned."""
_ROUNDS = 10
"""Of k-means."""
_NUM_TRIED, _COUNT_TRIED = 200, 10
_RECALL = 0.98
"""Wanted of queries made of rows of the table; those unlike the rows found up to 4 in 100 less."""
_MOVED = 0.75
"""Cosine of such a query with its row: moved off by noise, as a text lies off the pictures that it fits. The rows
themselves are found too easily."""
_GROWTH = 4
"""With so many times the rows that the centres were learned from, they are learned anew."""


@dataclass(frozen=True)
class NeighboursConfig:
    """What is known of an approximate index beside its lists."""

    num_rows: int
    """That it has."""
    num_rows_learned: int
    """That the table had when the centres were learned."""
    num_probes: int
    """Lists that a query looks into."""
    recall: float
    """Share of the true ten nearest that `_NUM_TRIED` queries made of rows of the table found."""
    num_bytes: int = 0
    """Of the file of lists: one that is shorter would end the process when it is read."""


class Neighbours:
    """Ready to be asked. Built by `build` and `open`."""

    def __init__(self, lists: Any, config: NeighboursConfig) -> None:
        self._lists = lists
        self.config = config

    @classmethod
    def build(cls, table: np.ndarray) -> Neighbours:
        """Learn centres from the rows (n C, half or single precision) and file all of them.

        Raises UserError when faiss is missing.
        """
        faiss = _import_faiss()
        num_rows, width = table.shape
        num_lists = max(1, min(round(2 * math.sqrt(num_rows)), num_rows // 39 or 1))  # fewer rows a list: faiss warns
        lists = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatIP(width), width, num_lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
        )
        lists.cp.niter, lists.cp.max_points_per_centroid, lists.cp.seed = _ROUNDS, _ROWS_A_CENTRE, 0
        chosen = np.random.default_rng(0).permutation(num_rows)[: num_lists * _ROWS_A_CENTRE]
        faiss.omp_set_num_threads(torch.get_num_threads())
        lists.train(np.asarray(table[np.sort(chosen)], np.float32))
        built = cls(lists, NeighboursConfig(0, num_rows, 1, 0.0))
        built.extend(table)
        built._measure(table, np.sort(chosen[:_NUM_TRIED]))
        return built

    @classmethod
    def open(cls, path: Path, *, is_extended: bool = False) -> Neighbours | None:
        """What `save` wrote, mapped, or read whole to be extended; None when it is not there, or damaged.

        Raises UserError when faiss is missing.
        """
        if not path.with_suffix(".json").is_file():
            return None
        faiss = _import_faiss()
        try:
            config = from_json(NeighboursConfig, read_json(path.with_suffix(".json")))
            if path.stat().st_size != config.num_bytes:
                return None
            lists = faiss.read_index(str(path), 0 if is_extended else faiss.IO_FLAG_MMAP)
        except (OSError, ValueError, RuntimeError):
            return None
        return cls(lists, config) if lists.ntotal == config.num_rows else None

    def save(self, path: Path) -> None:
        """Lists first, so that what the small file beside them tells is there. Raises OSError."""
        faiss = _import_faiss()
        path.with_suffix(".json").unlink(missing_ok=True)
        write_whole(path, lambda temporary: _write(faiss, self._lists, temporary))
        write_json(path.with_suffix(".json"), to_json(replace(self.config, num_bytes=path.stat().st_size)))

    @property
    def num_rows(self) -> int:
        return self.config.num_rows

    @property
    def num_lists(self) -> int:
        return self._lists.nlist

    def is_outgrown(self, num_rows: int) -> bool:
        return num_rows > _GROWTH * self.config.num_rows_learned

    def extend(self, table: np.ndarray) -> None:
        """File the rows of the table that are not there yet; not in an index that is mapped."""
        for first in range(self.num_rows, len(table), _ROWS_AT_ONCE):
            self._lists.add(np.asarray(table[first : first + _ROWS_AT_ONCE], np.float32))
        self.config = replace(self.config, num_rows=len(table))

    def candidates(self, query: Float[Tensor, " C"], count: int, num_probes: int | None = None) -> np.ndarray:
        """Numbers of up to `count` rows that are probably the nearest, in no order to rely on."""
        faiss = _import_faiss()
        chosen = faiss.SearchParametersIVF(nprobe=min(num_probes or self.config.num_probes, self._lists.nlist))
        _, rows = self._lists.search(query[None].numpy(), count, params=chosen)
        return rows[0][rows[0] >= 0]

    def _measure(self, table: np.ndarray, tried: np.ndarray) -> None:
        """Look into more lists until enough is found."""
        rows = torch.from_numpy(np.asarray(table[tried], np.float32))
        noise = F.normalize(torch.randn(rows.shape, generator=torch.Generator().manual_seed(0)), dim=1)
        queries = F.normalize(_MOVED * F.normalize(rows, dim=1) + math.sqrt(1 - _MOVED**2) * noise, dim=1)
        wanted = [set(row) for row in best_rows(table, queries, _COUNT_TRIED)[1].tolist()]
        num_probes, recall = 1, 0.0
        while recall < _RECALL and num_probes < self._lists.nlist:
            num_probes = min(math.ceil(1.4 * num_probes), self._lists.nlist)
            found = [set(self.candidates(query, 4 * _COUNT_TRIED, num_probes).tolist()) for query in queries]
            recall = float(np.mean([len(one & two) / max(1, len(one)) for one, two in zip(wanted, found, strict=True)]))
        self.config = replace(self.config, num_probes=num_probes, recall=recall)


def has_faiss() -> bool:
    try:
        _import_faiss()
    except UserError:
        return False
    return True


def _import_faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise UserError("This index needs faiss; pip install 'beholder[search]'.") from error
    return faiss


def _write(faiss: Any, lists: Any, path: Path) -> None:
    try:
        faiss.write_index(lists, str(path))
    except RuntimeError as error:  # a full disk comes as a failed write
        raise OSError(28, "No space left on device", str(path)) from error
