"""Which pictures a tokenizer has learned from: nobody who judges by held-out pictures may hold out one of these."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Bool, Int

from beholder.data.fingerprint import content_hashes
from beholder.data.split import grouped_folds
from beholder.recipes.tokenizer.pictures import NUM_FOLDS, hold_out
from beholder.types import Sample


def are_known(samples: Sequence[Sample], learned: Collection[str], num_workers: int) -> Bool[np.ndarray, " n"]:
    """Whether a picture is among those of these hashes."""
    if not learned:
        return np.zeros(len(samples), bool)
    known = set(learned)
    return np.array([one in known for one in content_hashes(samples, num_workers)])


def hold_out_new(
    samples: tuple[Sample, ...], groups: Int[np.ndarray, " n"], seed: int, is_known: Bool[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
    """As `hold_out`, of groups without any known picture: the test part that the data name, else a tenth of all
    pictures, or as much as there is. Where the known ones are all that `hold_out` leaves, it is what that gives."""
    is_known = np.isin(groups, groups[is_known])
    usual = hold_out(samples, groups, seed)
    if not is_known.any() or any(sample.split == "test" for sample in samples):
        return usual & ~is_known
    rows = np.flatnonzero(~is_known)
    num_folds = min(round(len(rows) * NUM_FOLDS / len(samples)), len(np.unique(groups[rows])))
    if num_folds < 2:
        return ~is_known
    held = np.zeros(len(samples), bool)
    held[rows[grouped_folds([None] * len(rows), groups[rows], num_folds, seed) == 0]] = True
    return held
