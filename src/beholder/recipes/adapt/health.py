"""Stage: are my embeddings good? Rank, neighbours and clusters of each space; works without any label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.cluster import KMeans
from torch import nn

from beholder.data.augment import AugmentConfig, augment
from beholder.metrics.embeddings import effective_rank, knn_accuracy, view_consistency
from beholder.models.heads import describe
from beholder.recipes.adapt.domain import Domain
from beholder.recipes.adapt.features import in_range, prepare
from beholder.recipes.adapt.spaces import Space
from beholder.runtime.device import Device
from beholder.runtime.seed import derive, numpy_generator, torch_generator
from beholder.tokenizers.pixels import PixelConfig, resize

NUM_CLUSTERS = 8
CLUSTER_PICTURES = 6
NUM_VIEWED = 256
VIEW_SIZE = 160
_MAX_ROWS = 4000


@dataclass(frozen=True)
class Health:
    """How one space does; all numbers on images that pretraining has not seen, where there are enough."""

    title: str
    effective_rank: float
    dimensions: int
    consistency: Float[np.ndarray, " m"]
    """Per image: 1 when its two random views find each other among all views, less the later they do."""
    knn_accuracy: float | None

    def as_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "effective_rank": self.effective_rank,
            "dimensions": self.dimensions,
            "knn_consistency": float(self.consistency.mean()),
            "knn_accuracy": self.knn_accuracy,
        }


def examine(domain: Domain, space: Space, consistency: Float[np.ndarray, " m"], seed: int) -> Health:
    """Rank and k-NN accuracy of a space; its view consistency is measured by `consistency_of`."""
    rows = space.embedding[_sample(domain, seed)]
    accuracy = None
    if domain.is_judged and len(domain.folds[0].test):
        fold = domain.folds[0]
        accuracy = knn_accuracy(
            space.embedding[fold.train], domain.labels[fold.train],
            space.embedding[fold.test], domain.labels[fold.test],
        )  # fmt: skip
    return Health(space.name, effective_rank(rows), space.embedding.shape[1], consistency, accuracy)


def viewed_images(domain: Domain, seed: int) -> np.ndarray:
    """Numbers of the images whose views are compared: of the test part where it is large enough."""
    test = domain.folds[0].test
    pool = test if len(test) >= 32 else np.arange(len(domain.samples))
    count = min(len(pool), NUM_VIEWED)
    return np.sort(numpy_generator(seed, "views").choice(pool, count, replace=False))


def consistency_of(
    backbones: Sequence[nn.Module], images: Sequence[np.ndarray], pixels: PixelConfig, device: Device, seed: int
) -> Float[np.ndarray, " m"]:
    """Do two random views of an image find each other? The same views for every space, drawn by seed."""
    config = AugmentConfig(size=VIEW_SIZE, crop_area=(0.4, 0.8), mean=pixels.mean, std=pixels.std)
    batch = torch.from_numpy(np.stack([resize(image, VIEW_SIZE + 32) for image in images])).permute(0, 3, 1, 2)
    sides = []
    for name in ("first", "second"):
        views = augment(batch.contiguous(), config, torch_generator(seed, "consistency", name))
        rows = []
        for backbone in backbones:
            ready = prepare(backbone, device)
            with torch.inference_mode(), device.autocast():
                rows.append(
                    torch.cat([describe(ready(part.to(device.torch_device))).cpu() for part in views.split(32)])
                )
        sides.append(in_range(torch.cat(rows, dim=1).numpy()))
    centre, spread = sides[0].mean(0), np.maximum(sides[0].std(0), 1e-6)
    return view_consistency((sides[0] - centre) / spread, (sides[1] - centre) / spread)


def cluster(domain: Domain, space: Space, seed: int) -> list[dict[str, Any]]:
    """The gallery: clusters by k-means, each with the images nearest its centre and the labels it holds."""
    rows = _sample(domain, seed)
    num_clusters = min(NUM_CLUSTERS, len(np.unique(space.embedding[rows], axis=0)))
    if num_clusters < 2:
        return []
    found = KMeans(num_clusters, random_state=derive(seed, "clusters") % 2**32).fit(space.embedding[rows])
    own = np.asarray(found.labels_)
    gallery = []
    for index in np.argsort(-np.bincount(own, minlength=num_clusters)):
        members = rows[own == index]
        distance = np.linalg.norm(space.embedding[members] - found.cluster_centers_[index], axis=1)
        nearest = members[np.argsort(distance, kind="stable")[:CLUSTER_PICTURES]]
        names = [domain.classes[label] for label in domain.labels[members] if label >= 0] if domain.classes else []
        counts = {name: names.count(name) for name in sorted(set(names))}
        gallery.append({"size": len(members), "images": nearest.tolist(), "labels": counts or None})
    return gallery


def _sample(domain: Domain, seed: int) -> np.ndarray:
    count = len(domain.samples)
    if count <= _MAX_ROWS:
        return np.arange(count)
    return np.sort(numpy_generator(seed, "health").choice(count, _MAX_ROWS, replace=False))
