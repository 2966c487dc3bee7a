"""The most alike rows, by the product with all of them."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_ROWS_AT_ONCE = 4096
"""So that a block in single precision stays in the processor's cache."""


def best_rows(
    table: np.ndarray, queries: Float[Tensor, "Q C"], count: int, is_live: Bool[np.ndarray, " n"] | None = None
) -> tuple[Float[Tensor, "Q k"], Int[Tensor, "Q k"]]:
    """Scores (inner products) and numbers of the `count` best live rows for each query, best first; fewer where there
    are fewer rows. `table`: n C, half or single precision, mapped or not."""
    scores, numbers = [], []
    for first in range(0, len(table), _ROWS_AT_ONCE):
        block = torch.from_numpy(np.asarray(table[first : first + _ROWS_AT_ONCE])).float()  # n C
        products = queries @ block.T  # Q n
        if is_live is not None:
            products[:, ~torch.from_numpy(is_live[first : first + len(block)])] = -torch.inf
        best = products.topk(min(count, len(block)), dim=1)
        scores.append(best.values)
        numbers.append(best.indices + first)
    best = torch.cat(scores, 1).sort(dim=1, descending=True, stable=True)
    chosen = torch.cat(numbers, 1).gather(1, best.indices)[:, :count]
    num_live = len(table) if is_live is None else int(is_live.sum())
    return best.values[:, : min(count, num_live)], chosen[:, : min(count, num_live)]
