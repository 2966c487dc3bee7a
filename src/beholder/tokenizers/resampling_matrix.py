"""Resampling as a product with a matrix that is computed from sizes: for runtimes without an operation for it."""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

Resampling = Literal["bilinear", "bicubic"]
_CUBIC = -0.5
"""Keys' constant, as Pillow has it."""


def resampling_matrix(
    length: Any, wanted: Any, resampling: Resampling, begin: Any = 0, kept: Any = None
) -> Float[Tensor, "kept length"]:
    """Brings `length` values to `wanted`, antialiased as `F.interpolate(..., antialias=True)` does, and gives `kept`
    (all) of them from number `begin` on. Numbers may be symbols."""
    scale = torch.ones(1) * length / wanted
    centres = (torch.arange(wanted if kept is None else kept) + begin + 0.5) * scale
    away = ((torch.arange(length) + 0.5) - centres[:, None]).abs() / scale.clamp(min=1.0)
    weights = _triangle(away) if resampling == "bilinear" else _cubic(away)
    return weights / weights.sum(1, keepdim=True)


def _triangle(away: Tensor) -> Tensor:
    return (1 - away).clamp(min=0.0)


def _cubic(away: Tensor) -> Tensor:
    """R. Keys, Cubic convolution interpolation for digital image processing, 1981."""
    near = ((_CUBIC + 2) * away - (_CUBIC + 3)) * away * away + 1
    far = ((_CUBIC * away - 5 * _CUBIC) * away + 8 * _CUBIC) * away - 4 * _CUBIC
    return torch.where(away < 1, near, torch.where(away < 2, far, torch.zeros_like(away)))
