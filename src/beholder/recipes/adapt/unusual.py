"""Stage: what is usual, learned from normal training images alone; the threshold comes from normals too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.linalg import cholesky
from sklearn.covariance import LedoitWolf

from beholder.metrics.classification import auc
from beholder.models.usual import Usual
from beholder.recipes.adapt.domain import Domain
from beholder.recipes.adapt.spaces import Space
from beholder.runtime.seed import numpy_generator

MIN_NORMALS = 40
FALSE_ALARM_RATE = 0.05
MIN_LEVELS = 20
"""Held-out normal images: fewer than 19 could not promise a false alarm rate of 5 %."""
_MAX_LEVELS = 2000
_CALIBRATION_SHARE = 1 / 3


@dataclass(frozen=True)
class Unusual:
    """A fitted notion of the usual and what it says of every image."""

    usual: Usual
    distance: Float[np.ndarray, " n"]
    p_value: Float[np.ndarray, " n"]
    num_reference: int
    """Normal training images that it was learned and calibrated on."""
    auroc: float | None
    """Abnormal against normal images of the test part, where labels tell."""

    @property
    def threshold(self) -> float:
        return self.usual.threshold(FALSE_ALARM_RATE)


def find_unusual(
    domain: Domain,
    train: Int[np.ndarray, " m"],
    space: Space,
    seed: int,
    taught: Int[np.ndarray, " t"] | None = None,
) -> Unusual | None:
    """Fit on about two thirds of the normal groups, set levels on the rest; None with fewer than 40 normal images.

    Normal are the training images of the normal class; where no class is known to be normal, all training images.
    Where labels of the images `taught` have shaped the space, levels are set on the others: only these lie as new
    images will.
    """
    normals = train
    if domain.normal in domain.classes:
        normals = train[domain.labels[train] == domain.classes.index(domain.normal)]
    if len(normals) < MIN_NORMALS:
        return None
    if taught is None:
        fitting, calibrating = _halves(domain, normals, seed)
    else:
        is_taught = np.isin(normals, taught)
        fitting, calibrating = normals[is_taught], normals[~is_taught][:_MAX_LEVELS]
    if min(len(fitting), len(calibrating)) < MIN_LEVELS:
        return None
    analysis = LedoitWolf().fit(space.embedding[fitting].astype(np.float64))
    usual = Usual(space.embedding.shape[1], len(calibrating))
    usual.mean.copy_(torch.from_numpy(analysis.location_))
    usual.whitener.copy_(torch.from_numpy(cholesky(analysis.get_precision())))  # upper: |W x|^2 is Mahalanobis'
    distance = usual(torch.from_numpy(space.embedding))
    usual.levels.copy_(distance[torch.from_numpy(calibrating)].sort().values)
    return Unusual(
        usual,
        distance.numpy(),
        usual.p_value(distance).numpy(),
        len(normals),
        _auroc(domain, distance.numpy()),
    )


def _halves(domain: Domain, normals: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images to fit on and images to calibrate on, of different groups where there are several small enough."""
    generator = numpy_generator(seed, "normals")
    groups = domain.groups[normals]
    wanted = max(MIN_LEVELS, round(_CALIBRATION_SHARE * len(normals)))
    is_held = _hold(groups, wanted, generator) if len(np.unique(groups)) >= 5 else None
    if is_held is None:
        is_held = _hold(np.arange(len(normals)), wanted, generator)
    assert is_held is not None, "single images always fit"
    return normals[~is_held], normals[is_held][:_MAX_LEVELS]


def _hold(groups: np.ndarray, wanted: int, generator: np.random.Generator) -> np.ndarray | None:
    """Marks whole groups, drawn at random, until about `wanted` images are held; None where large groups forbid it.

    A group that would leave too few images to fit on is passed over.
    """
    names, counts = np.unique(groups, return_counts=True)
    held, num_held, most = [], 0, max(wanted, len(groups) // 2)
    for index in generator.permutation(len(names)):
        if num_held < wanted and num_held + counts[index] <= most:
            held.append(index)
            num_held += counts[index]
    return np.isin(groups, names[held]) if num_held >= MIN_LEVELS else None


def _auroc(domain: Domain, distance: np.ndarray) -> float | None:
    if domain.normal not in domain.classes or not domain.folds:
        return None
    test = domain.folds[0].test
    is_abnormal = (domain.labels[test] != domain.classes.index(domain.normal)).astype(np.int64)
    if len(np.unique(is_abnormal)) < 2:
        return None
    scores = np.stack([-distance[test], distance[test]], axis=1)
    return float(auc(scores, is_abnormal, np.ones((1, len(test))))[0])
