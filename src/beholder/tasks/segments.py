"""An image in a few parts that hold together, whatever they are: normalised cuts (Shi & Malik 2000) between places, by
what a backbone says of each (as TokenCut does: Wang et al. 2022, arXiv 2202.11539)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.ndimage import label
from torch import Tensor
from torch.nn import functional as F

from beholder.data.boxes import Box
from beholder.models.conv import EfficientNetLite
from beholder.models.seen import SeenTokens
from beholder.runtime.device import Device
from beholder.tokenizers.pixels import PixelConfig, normalise, resize, to_batch

NUM_PARTS = 6
_NEAR = 0.3
"""Sides of the image: how far apart places still belong together."""
_FLOOR = 1e-4
"""Likeness of any two places: the graph stays in one piece."""
_MARGIN = 0.05
_FINER, _STEP = 10 / 7, 32
"""A convolutional network cuts at more pixels than it recognises at."""


@dataclass(frozen=True)
class Segment:
    """One part."""

    mask: Bool[np.ndarray, "h w"]
    """On the backbone's grid."""
    box: Box
    """Around it, with a small margin."""

    @property
    def area(self) -> float:
        """Its share of the image."""
        return float(self.mask.mean())


@torch.inference_mode()
def segments_of(
    image: np.ndarray, vision: SeenTokens, pixels: PixelConfig, device: Device, num_parts: int = NUM_PARTS
) -> list[Segment]:
    """Parts of a decoded image (H W 3 bytes), which together cover it but for scraps, the largest first. `vision` is on
    the device."""
    size = pixels.size if isinstance(pixels.size, int) else max(pixels.size)
    if isinstance(vision.backbone, EfficientNetLite):
        size = max(_STEP, round(size * _FINER) // _STEP * _STEP)
    batch = to_batch([resize(image, size)]).to(device.torch_device)
    with device.autocast():
        features = vision.places(normalise(batch, replace(pixels, size=size))).float()[0].cpu()
    masks = (_largest_piece(labels) for labels in cut(features, num_parts))
    return sorted((Segment(mask, _box_of(mask)) for mask in masks), key=lambda one: -one.area)


def cut(features: Float[Tensor, "C H W"], num_parts: int) -> list[Bool[np.ndarray, "H W"]]:
    """Places in at most so many sets, each unlike the others and near together; a seeded computation."""
    height, width = features.shape[1:]
    num_parts = min(num_parts, height * width - 1)
    if num_parts < 2:
        return [np.ones((height, width), bool)]
    flat = F.normalize(features.flatten(1).T.double(), dim=1)  # T C
    rows, columns = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width, indexing="ij")
    where = torch.stack([rows, columns], dim=-1).flatten(0, 1).double()
    from sklearn.cluster import spectral_clustering  # here: slow to import

    likeness = (flat @ flat.T).clamp_min(0) * torch.exp(-torch.cdist(where, where).square() / (2 * _NEAR**2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of an image of one colour: any cut will do
        labels = spectral_clustering(
            (likeness + _FLOOR).numpy(), n_clusters=num_parts, assign_labels="cluster_qr", random_state=0
        )
    grid: Int[np.ndarray, "H W"] = np.asarray(labels).reshape(height, width)
    return [grid == number for number in np.unique(grid)]


def _largest_piece(mask: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    pieces, count = label(mask)  # pyright: ignore[reportGeneralTypeIssues] (scipy's stub forgets the pair)
    if count < 2:
        return mask
    sizes = np.bincount(pieces.reshape(-1))[1:]
    return pieces == 1 + int(sizes.argmax())


def _box_of(mask: Bool[np.ndarray, "H W"]) -> Box:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, bottom = rows[0] / len(mask), (rows[-1] + 1) / len(mask)
    left, right = columns[0] / mask.shape[1], (columns[-1] + 1) / mask.shape[1]
    across, down = _MARGIN * (right - left), _MARGIN * (bottom - top)
    return Box(
        float(max(0.0, left - across)), float(max(0.0, top - down)), float(min(1.0, right + across)),
        float(min(1.0, bottom + down)),
    )  # fmt: skip
