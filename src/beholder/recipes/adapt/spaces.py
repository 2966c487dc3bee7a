"""Embedding spaces: descriptors of one or two backbones, standardised and rotated on unlabelled training images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.decomposition import PCA

from beholder.recipes.adapt.features import Features, rows_of
from beholder.recipes.adapt.pretrain import Candidate
from beholder.runtime.arrays import release_pages
from beholder.runtime.seed import derive

_MAX_FIT_ROWS = 8_000
_CHUNK_ROWS = 4_096


@dataclass(frozen=True)
class Space:
    """One way to see the domain: every image as D numbers."""

    name: str
    """"generic", "adapted", "generic + adapted", "sentences" or "generic + sentences"."""
    embedding: Float[np.ndarray, "n D"]
    mean: Float[np.ndarray, " F"]
    scale: Float[np.ndarray, " F"]
    components: Float[np.ndarray, "D F"]
    """With mean and scale, the tensors of `models.embedder.Projection`."""


@dataclass(frozen=True)
class Seen:
    """One fold's spaces: the generic one, and those that pretraining made."""

    generic: Space
    others: tuple[Space, ...]
    """The adapted one and generic + adapted; empty without pretraining."""
    candidate: Candidate | None
    told: tuple[Space, ...] = ()
    """Spaces of visual sentences, which are judged and never shipped."""

    def space(self, name: str) -> Space:
        return next(space for space in (self.generic, *self.others, *self.told) if space.name == name)


def fit_space(name: str, features: Sequence[Features], train: Int[np.ndarray, " m"], *, width: int, seed: int) -> Space:
    """Fit on the training rows (at most 8,000 of them, drawn by seed), then project every row."""
    generator = np.random.default_rng(derive(seed, "space", name))
    chosen = train if len(train) <= _MAX_FIT_ROWS else np.sort(generator.choice(train, _MAX_FIT_ROWS, replace=False))
    rows = np.concatenate([rows_of(part.descriptor, chosen) for part in features], axis=1)
    mean, scale = rows.mean(0), rows.std(0)
    scale = np.where(scale < 1e-6, 1.0, scale)
    components = _principal_components((rows - mean) / scale, width, derive(seed, "pca", name) % 2**32)
    width = len(components)
    num_rows = len(features[0].descriptor)
    embedding = np.empty((num_rows, width), dtype=np.float32)
    for first in range(0, num_rows, _CHUNK_ROWS):
        index = np.arange(first, min(first + _CHUNK_ROWS, num_rows))
        block = np.concatenate([rows_of(part.descriptor, index) for part in features], axis=1)
        embedding[index] = ((block - mean) / scale) @ components.T
    for part in features:
        release_pages(part.descriptor)
    return Space(name, embedding, mean.astype(np.float32), scale.astype(np.float32), components)


def _principal_components(rows: Float[np.ndarray, "m F"], width: int, seed: int) -> Float[np.ndarray, "D F"]:
    """Directions of largest variance, at most `width`; any one direction where nothing varies."""
    width = min(width, len(rows) - 1, rows.shape[1])
    if width < 1 or not rows.any():
        return np.eye(1, rows.shape[1], dtype=np.float32)
    analysis = PCA(width, svd_solver="randomized", random_state=seed).fit(rows)
    return np.asarray(analysis.components_, dtype=np.float32)


def projection_tensors(space: Space) -> dict[str, torch.Tensor]:
    """The space's projection as it is stored in a bundle."""
    return {key: torch.from_numpy(getattr(space, key)) for key in ("mean", "scale", "components")}
