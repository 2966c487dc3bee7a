"""How far down the list the right one stands: ranks of matches among all candidates, and recall at k."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int


def match_ranks(scores: Float[np.ndarray, "n m"], is_match: Bool[np.ndarray, "n m"]) -> Int[np.ndarray, " n"]:
    """Place, from 1, of each row's best match; whatever scores as much as it and is no match stands before it, so that
    a model that says the same of all is not praised. Every row has a match."""
    assert is_match.any(1).all(), "a row without a match has no rank"
    best = np.where(is_match, scores, -np.inf).max(1, keepdims=True)
    return 1 + (~is_match & (scores >= best)).sum(1)


def recall_at(ranks: Int[np.ndarray, " n"], k: int) -> float:
    """Share of rows whose match is among the first k, in [0, 1]."""
    return float((ranks <= k).mean())
