"""Folds for judging: whole groups stay together, classes are spread as evenly as whole groups allow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from beholder.data.components import merge, number
from beholder.runtime.seed import numpy_generator
from beholder.types import UserError


def grouped_folds(
    labels: Sequence[str | None], groups: Int[np.ndarray, " n"], num_folds: int, seed: int
) -> Int[np.ndarray, " n"]:
    """The fold, 0..num_folds-1, of each sample; no group is in two folds.

    Groups are dealt from the largest to the smallest, each to the fold where the class shares then stay most even
    (the greedy rule of scikit-learn's StratifiedGroupKFold, which refuses fewer groups than folds and a class with
    fewer members than folds); ties are broken by `seed`. With fewer groups than folds the last folds are empty.
    Fold 0 is the one that judges best alone, so that a group too large for a fair share is learned from, not judged
    by. Unlabelled samples count as a class.
    """
    if num_folds < 1:
        raise UserError(f"{num_folds} folds: at least 1 is needed.")
    assert len(labels) == len(groups)
    if not len(groups):
        return np.zeros(0, np.int64)
    group = np.unique(groups, return_inverse=True)[1].reshape(-1)
    names = {name: index for index, name in enumerate(dict.fromkeys(labels))}
    counts = np.zeros((int(group.max()) + 1, len(names)))  # groups, classes
    np.add.at(counts, (group, np.array([names[label] for label in labels])), 1)
    share = counts / counts.sum(0)
    order = numpy_generator(seed, "folds").permutation(len(counts))
    order = order[np.argsort(-np.linalg.norm(share[order], axis=1), kind="stable")]
    filled = np.zeros((num_folds, len(names)))  # each class's share in each fold
    fold_of_group = np.zeros(len(counts), np.int64)
    for index in order:
        # Sum over classes of the squared shares after the group is added; only the chosen fold's term changes.
        growth = ((filled + share[index]) ** 2 - filled**2).sum(1)
        best = np.flatnonzero(growth <= growth.min() + 1e-12)
        fold = best[np.argmin(filled[best].sum(1))]
        filled[fold] += share[index]
        fold_of_group[index] = fold
    sizes = np.bincount(fold_of_group[group], minlength=num_folds)
    place = np.empty(num_folds, np.int64)
    place[_best_judge_first(filled, sizes, seed)] = np.arange(num_folds)
    return place[fold_of_group][group]


def can_judge(asked: Bool[np.ndarray, "*f C"], learned: Bool[np.ndarray, "*f C"]) -> Bool[np.ndarray, "*f"]:
    """Whether a test part holds two classes or more (`asked`) while the training part holds all (`learned`)."""
    return np.asarray((asked.sum(-1) >= 2) & learned.all(-1))


def _best_judge_first(filled: Float[np.ndarray, "f C"], sizes: Int[np.ndarray, " f"], seed: int) -> np.ndarray:
    """Folds that can judge, then those of at most half of all samples, then those that hold most classes, then those
    whose size is nearest an even share; ties by seed. Empty folds are last."""
    asked, learned = filled > 0, filled < 1 - 1e-9
    is_large, is_empty = 2 * sizes > sizes.sum(), sizes == 0
    away = np.abs(sizes - sizes.sum() / len(sizes))
    drawn = numpy_generator(seed, "order of folds").permutation(len(sizes))
    # lexsort's last key counts most.
    return np.lexsort((drawn, away, -asked.sum(1), is_large, ~can_judge(asked, learned), is_empty))


def random_folds(labels: Sequence[str | None], num_folds: int, seed: int) -> Int[np.ndarray, " n"]:
    """Stratified folds that ignore groups: each class is shuffled and dealt out in turn."""
    if num_folds < 1:
        raise UserError(f"{num_folds} folds: at least 1 is needed.")
    folds, dealt = np.zeros(len(labels), np.int64), 0
    for index, name in enumerate(dict.fromkeys(labels)):
        members = np.array([place for place, label in enumerate(labels) if label == name])
        members = numpy_generator(seed, "random folds", index).permutation(members)
        # Each class starts where the last one stopped, so that small classes do not all fill fold 0.
        folds[members] = (dealt + np.arange(len(members))) % num_folds
        dealt += len(members)
    return folds


def combine_groups(*group_ids: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Samples that are together in any of the groupings are together in the result, and so are friends of friends.

    Keeps both the user's groups and the duplicate clusters whole. Ids count from 0 in order of appearance.
    """
    assert group_ids and len({len(ids) for ids in group_ids}) == 1
    root = np.arange(len(group_ids[0]))
    for ids in group_ids:
        _, first, place = np.unique(ids, return_index=True, return_inverse=True)
        root = merge(root, np.arange(len(root)), first[place.reshape(-1)])
    return number(root)
