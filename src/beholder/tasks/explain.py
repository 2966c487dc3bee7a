"""Where the model looked: the contribution of each place to the class that was predicted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch.nn import functional as F

from beholder.models.heads import describe
from beholder.pretrained.bundle import Bundle
from beholder.runtime.device import Device
from beholder.tasks.embed import to_pixels
from beholder.types import Outputs, UserError

GRID = 28
"""Side of a heat map in cells."""
_IMAGES_AT_ONCE = 8
"""Maps of all depths and resolutions, and their gradients, are in memory together."""


def heat_maps(
    bundle: Bundle, images: Sequence[np.ndarray], classes: Sequence[int], device: Device
) -> Float[np.ndarray, "B GRID GRID"]:
    """Heat in [0, 1] for each image and class index: 1 where the evidence for the class is strongest.

    Activation times gradient at every place of every map, summed over channels (HiResCAM; Draelos and Carin 2020,
    arXiv 2011.08891), negative evidence dropped, all depths and resolutions added on one grid.
    `evaluate.deletion` checks such maps. Raises UserError for a model without classes.
    """
    if bundle.model.head is None:
        raise UserError("This model was made without labels, so there is no class to explain.")
    starts = range(0, len(images), _IMAGES_AT_ONCE)
    parts = [(images[start : start + _IMAGES_AT_ONCE], classes[start : start + _IMAGES_AT_ONCE]) for start in starts]
    return np.concatenate([_maps_of_batch(bundle, *part, device) for part in parts])


def _maps_of_batch(
    bundle: Bundle, images: Sequence[np.ndarray], classes: Sequence[int], device: Device
) -> Float[np.ndarray, "B GRID GRID"]:
    model = bundle.model
    assert model.head is not None
    with torch.no_grad(), device.autocast():
        seen = model.embedder.outputs(to_pixels(bundle, images, device))
    with torch.enable_grad():
        maps = [[features.float().detach().requires_grad_() for features in outputs.maps] for outputs in seen]
        parts = [describe(Outputs(tuple(own), outputs.summary)) for own, outputs in zip(maps, seen, strict=True)]
        logits = model.head(model.embedder.projection(torch.cat(parts, dim=1)))  # B V
        rows = torch.arange(len(images))
        index = torch.as_tensor(classes)
        others = logits.clone()
        others[rows, index] = -torch.inf
        margin = logits[rows, index] - torch.logsumexp(others, dim=1)
        flat = [features for own in maps for features in own]
        gradients = torch.autograd.grad(margin.sum(), flat)
    heat = torch.zeros(len(images), GRID, GRID, device=device.torch_device)
    for features, gradient in zip(flat, gradients, strict=True):
        evidence = (features.detach() * gradient).sum(1, keepdim=True)  # B 1 H W
        area = features.shape[2] * features.shape[3] / GRID**2
        heat += F.interpolate(evidence, (GRID, GRID), mode="bilinear", align_corners=False)[:, 0] * area
    heat = F.avg_pool2d(heat[:, None].clamp_min(0), 3, stride=1, padding=1, count_include_pad=False)[:, 0]
    return (heat / heat.amax((1, 2), keepdim=True).clamp_min(1e-12)).cpu().numpy()
