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


def find_unusual(domain: Domain, train: Int[np.ndarray, " m"], space: Space, seed: int) -> Unusual | None:
    """Fit on about two thirds of the normal groups, set levels on the rest; None with fewer than 40 normal images.

    Normal are the training images of the normal class; where no class is known to be normal, all training images.
    """
    normals = train
    if domain.normal in domain.classes:
        normals = train[domain.labels[train] == domain.classes.index(domain.normal)]
    if len(normals) < MIN_NORMALS:
        return None
    fitting, calibrating = _halves(domain, normals, seed)
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
    """Images to fit on and images to calibrate on, of different groups where there are several."""
    generator = numpy_generator(seed, "normals")
    groups = domain.groups[normals]
    if len(np.unique(groups)) < 5:
        groups = np.arange(len(normals))
    names, counts = np.unique(groups, return_counts=True)
    order = generator.permutation(len(names))
    wanted = max(MIN_LEVELS, round(_CALIBRATION_SHARE * len(normals)))
    num_held = int(np.searchsorted(np.cumsum(counts[order]), wanted)) + 1
    is_held = np.isin(groups, names[order[:num_held]])
    return normals[~is_held], normals[is_held][:_MAX_LEVELS]


def _auroc(domain: Domain, distance: np.ndarray) -> float | None:
    if domain.normal not in domain.classes or not domain.folds:
        return None
    test = domain.folds[0].test
    is_abnormal = (domain.labels[test] != domain.classes.index(domain.normal)).astype(np.int64)
    if len(np.unique(is_abnormal)) < 2:
        return None
    scores = np.stack([-distance[test], distance[test]], axis=1)
    return float(auc(scores, is_abnormal, np.ones((1, len(test))))[0])
