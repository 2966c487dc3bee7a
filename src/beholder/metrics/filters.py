"""What a fixed bank of filters says of pictures: features that nothing was trained for, to compare sets of them by.

Bars and edges of four directions at three scales (Gabor 1946) beside light and two colours, each as mean and spread
over the picture. They see texture, sharpness and colour, and know no objects.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

NUM_FEATURES = 42
NAME = f"{NUM_FEATURES} responses of fixed filters (bars, edges and colours at three scales)"

_NUM_DIRECTIONS, _NUM_SCALES, _SIDE = 4, 3, 7
_WAVE, _SPREAD = 4.0, 1.8
_OPPONENTS = ((0.299, 0.587, 0.114), (0.5, -0.5, 0.0), (0.25, 0.25, -0.5))
"""Light, red against green, yellow against blue."""
_WINDOW = 5
"""Places a side within which strengths may lie elsewhere."""
_LEAST_TEXTURE, _WRONG_TONE = 0.02, 0.1
DISTANCE = "strength of bars and edges in windows, and tone, at three scales of fixed filters"
"""What `filter_distance` compares, as a report tells it."""


def filter_features(pictures: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 42"]:
    """Mean and spread of every filter's response over each picture; pixels from 0 to 1, at least 8 a side."""
    told = [
        each for parts in _responses(pictures) for part in parts
        for each in (part.mean((2, 3)), part.std((2, 3), correction=0))
    ]  # fmt: skip
    return torch.cat(told, dim=1)


def filter_distance(
    pictures: Float[Tensor, "B 3 H W"], others: Float[Tensor, "B 3 H W"], where: Bool[Tensor, "B H W"] | None = None
) -> Float[Tensor, " B"]:
    """How unlike two pictures look, place by place: from 0 for equal ones to 1 (after the plan of LPIPS: Zhang et al.
    2018, arXiv 1801.03924, with fixed filters in the place of a trained network).

    The mean over three scales and all places, or those `where` says so, of two halves: texture, by how strong bars and
    edges of each direction are in a window of 5 x 5, |a - b|^2 / (|a|^2 + |b|^2 + 0.02^2); and tone, light and two
    colours averaged over the same window, d^2 / (d^2 + 0.1^2). Smooth where there is texture is as wrong as can be,
    texture of the right strength a little out of place is not. Pixels from 0 to 1, at least 16 a side.
    """
    assert min(pictures.shape[2:]) >= 2 ** (_NUM_SCALES + 1), tuple(pictures.shape)
    weights = torch.ones_like(pictures[:, :1]) if where is None else where[:, None].to(pictures)
    total, count = pictures.new_zeros(len(pictures)), pictures.new_zeros(len(pictures))
    for (strength1, tone1), (strength2, tone2) in zip(_responses(pictures), _responses(others), strict=True):
        window = {"kernel_size": _WINDOW, "stride": 1, "padding": _WINDOW // 2, "count_include_pad": False}
        a, b, c, d = (F.avg_pool2d(one, **window) for one in (strength1, strength2, tone1, tone2))
        texture = (a - b).square().sum(1) / (a.square().sum(1) + b.square().sum(1) + _LEAST_TEXTURE**2)
        off = (c - d).square().sum(1)
        wrong = F.interpolate((texture + off / (off + _WRONG_TONE**2))[:, None] / 2, pictures.shape[2:])
        total, count = total + (wrong * weights).sum((1, 2, 3)), count + weights.sum((1, 2, 3))
    return total / count


def _responses(pictures: Float[Tensor, "B 3 H W"]) -> list[tuple[Tensor, Tensor]]:
    """At each scale: how strong bars and edges of four directions are (B 4 h w), and light and colours (B 3 h w)."""
    assert min(pictures.shape[2:]) >= 2**_NUM_SCALES, tuple(pictures.shape)
    opponents = torch.tensor(_OPPONENTS, dtype=pictures.dtype, device=pictures.device)
    x = torch.einsum("bchw,dc->bdhw", pictures, opponents)
    bank = _bank().to(pictures)
    told = []
    for _ in range(_NUM_SCALES):
        light = F.pad(x[:, :1], (_SIDE // 2,) * 4, mode="replicate")
        waves = F.conv2d(light, bank).unflatten(1, (_NUM_DIRECTIONS, 2))  # B 4 2 h w
        told.append((waves.square().sum(2).add(1e-8).sqrt(), x))  # wherever in the wave the bar lies
        x = F.avg_pool2d(x, 2)
    return told


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
