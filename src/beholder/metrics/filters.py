"""What a fixed bank of filters says of pictures: features that nothing was trained for, to compare sets of them by.

Bars and edges of four directions at three scales (Gabor 1946) beside light and two colours, each as mean and spread
over the picture. They see texture, sharpness and colour, and know no objects.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

NUM_FEATURES = 42
NAME = f"{NUM_FEATURES} responses of fixed filters (bars, edges and colours at three scales)"

_NUM_DIRECTIONS, _NUM_SCALES, _SIDE = 4, 3, 7
_WAVE, _SPREAD = 4.0, 1.8
_OPPONENTS = ((0.299, 0.587, 0.114), (0.5, -0.5, 0.0), (0.25, 0.25, -0.5))
"""Light, red against green, yellow against blue."""


def filter_features(pictures: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 42"]:
    """Mean and spread of every filter's response over each picture; pixels from 0 to 1, at least 8 a side."""
    assert min(pictures.shape[2:]) >= 2**_NUM_SCALES, tuple(pictures.shape)
    opponents = torch.tensor(_OPPONENTS, dtype=pictures.dtype, device=pictures.device)
    x = torch.einsum("bchw,dc->bdhw", pictures, opponents)
    bank = _bank().to(pictures)
    told = []
    for _ in range(_NUM_SCALES):
        light = F.pad(x[:, :1], (_SIDE // 2,) * 4, mode="replicate")
        waves = F.conv2d(light, bank).unflatten(1, (_NUM_DIRECTIONS, 2))  # B 4 2 h w
        strength = waves.square().sum(2).add(1e-8).sqrt()  # wherever in the wave the bar lies
        for part in (strength, x):
            told += [part.mean((2, 3)), part.std((2, 3), correction=0)]
        x = F.avg_pool2d(x, 2)
    return torch.cat(told, dim=1)


def _bank() -> Float[Tensor, "8 1 7 7"]:
    """Even and odd waves of each direction, without a mean and of unit length."""
    place = torch.arange(_SIDE, dtype=torch.float32) - _SIDE // 2
    y, x = torch.meshgrid(place, place, indexing="ij")
    hill = torch.exp(-(x**2 + y**2) / (2 * _SPREAD**2))
    made = []
    for number in range(_NUM_DIRECTIONS):
        angle = math.pi * number / _NUM_DIRECTIONS
        phase = 2 * math.pi * (x * math.cos(angle) + y * math.sin(angle)) / _WAVE
        for wave in (phase.cos(), phase.sin()):
            kernel = wave * hill
            kernel = kernel - hill * (kernel.sum() / hill.sum())
            made.append(kernel / kernel.norm())
    return torch.stack(made)[:, None]
