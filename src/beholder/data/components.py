"""Connected components of a graph given by its edges: what "same as" pairs add up to."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int


def merge(
    root: Int[np.ndarray, " n"], left: Int[np.ndarray, " edges"], right: Int[np.ndarray, " edges"]
) -> Int[np.ndarray, " n"]:
    """Roots after the edges left-right are added: each node's smallest node that it is connected with.

    `root` is `np.arange(n)` for a graph without edges, or the result of an earlier call. Whole-array steps
    (hooking and pointer jumping, Shiloach and Vishkin 1982), so that a million edges take a second.
    """
    root = root.copy()
    while True:
        low, high = np.minimum(root[left], root[right]), np.maximum(root[left], root[right])
        apart = low != high
        if not apart.any():
            return root
        np.minimum.at(root, high[apart], low[apart])
        while not np.array_equal(root, root[root]):
            root = root[root]


def number(root: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Components counted 0, 1, 2, ... in the order of their first member."""
    return np.unique(root, return_inverse=True)[1].reshape(-1).astype(np.int64)
