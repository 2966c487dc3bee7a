"""Maps between two frozen towers that need no steps: ridge regression and canonical correlation, the baselines that
trained maps have to beat."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from beholder.models.pairs import PairMaps, PairMapsConfig

_SMALLEST = 1e-6
"""Spread below which a feature says nothing."""


@dataclass(frozen=True)
class Decomposed:
    """Pairs of features, each standardised or centred, and taken apart once for any strength of the penalty."""

    mean: Float[Tensor, " F"]
    scale: Float[Tensor, " F"]
    """Ones where features are only centred."""
    rows: Float[Tensor, "n r"]
    """Coordinates of the pairs on the principal axes, of unit length each."""
    sizes: Float[Tensor, " r"]
    """Singular values divided by the root of n: spread along each axis."""
    axes: Float[Tensor, "r F"]


def decompose(features: Float[Tensor, "n F"], *, is_standardised: bool) -> Decomposed:
    """Principal axes of the features; those with no spread are left out."""
    wide = features.double()
    mean = wide.mean(0)
    centred = wide - mean
    scale = centred.square().mean(0).sqrt().clamp_min(_SMALLEST) if is_standardised else torch.ones_like(mean)
    centred = centred / scale
    if len(centred) <= centred.shape[1]:
        values, left = torch.linalg.eigh(centred @ centred.T)
        kept = values > values.max() * 1e-10
        sizes, rows = values[kept].sqrt(), left[:, kept]
        axes = (rows / sizes).T @ centred
    else:
        values, right = torch.linalg.eigh(centred.T @ centred)
        kept = values > values.max() * 1e-10
        sizes, axes = values[kept].sqrt(), right[:, kept].T
        rows = centred @ axes.T / sizes
    return Decomposed(mean, scale, rows, sizes / len(features) ** 0.5, axes)


def ridge_maps(images: Decomposed, texts: Decomposed, strength: float) -> PairMaps:
    """Image features to the centred text's by least squares with a penalty of `strength` times the number of pairs;
    texts stay as they are but for their mean (Hoerl & Kennard 1970)."""
    count = len(images.rows)
    centred = texts.rows * (texts.sizes * count**0.5) @ texts.axes  # n D
    shrunk = images.sizes / (images.sizes.square() + strength)
    weight = images.axes.T @ (shrunk[:, None] * (images.rows.T @ centred) / count**0.5)  # F D
    return _assemble(images, texts, weight.T, torch.eye(weight.shape[1], dtype=weight.dtype))


def correlation_maps(
    images: Decomposed, texts: Decomposed, of_images: float, of_texts: float, width: int, power: float = 1.0
) -> PairMaps:
    """Both to the `width` directions in which they agree best (Hotelling 1936), with a penalty added to every
    variance; directions are weighted by their correlation to the `power`, which ranks better than equal weights (Gong
    et al. 2012, arXiv 1212.4522)."""
    white = [1 / (one.sizes.square() + added).sqrt() for one, added in ((images, of_images), (texts, of_texts))]
    between = (white[0] * images.sizes)[:, None] * (images.rows.T @ texts.rows) * (white[1] * texts.sizes)
    left, agreement, right = torch.linalg.svd(between, full_matrices=False)
    width = min(width, len(agreement))
    weights = agreement[:width].clamp_min(0) ** power
    image = images.axes.T @ (white[0][:, None] * left[:, :width] * weights)
    text = texts.axes.T @ (white[1][:, None] * right[:width].T * weights)
    return _assemble(images, texts, image.T, text.T)


def _assemble(
    images: Decomposed, texts: Decomposed, image: Float[Tensor, "C F"], text: Float[Tensor, "C D"]
) -> PairMaps:
    maps = PairMaps(PairMapsConfig(image.shape[1], text.shape[1], len(image)))
    for name, parts in (("image", images), ("text", texts)):
        maps.get_buffer(f"{name}_mean").copy_(parts.mean)
        maps.get_buffer(f"{name}_scale").copy_(parts.scale)
    with torch.no_grad():
        for layers, weight in ((maps.image_map, image), (maps.text_map, text)):
            assert layers is not None
            linear = layers[0]
            assert isinstance(linear, nn.Linear)
            linear.weight.copy_(weight * weight.shape[1] ** 0.5)  # which the maps divide by
            linear.bias.zero_()
    return maps.eval().requires_grad_(False)


@dataclass(frozen=True)
class Affine:
    """y = ((x - mean) / scale) weight^T + bias."""

    mean: Float[Tensor, " F"]
    scale: Float[Tensor, " F"]
    weight: Float[Tensor, "D F"]
    bias: Float[Tensor, " D"]

    def __call__(self, x: Float[Tensor, "B F"]) -> Float[Tensor, "B D"]:
        return ((x.double() - self.mean) / self.scale) @ self.weight.T + self.bias


def ridge(features: Decomposed, targets: Float[Tensor, "n D"], strength: float) -> Affine:
    """Targets by least squares from standardised features, with a penalty of `strength` times the number of rows."""
    bias = targets.double().mean(0)
    shrunk = features.sizes / (features.sizes.square() + strength)
    weight = features.axes.T @ (shrunk[:, None] * (features.rows.T @ (targets.double() - bias)))
    return Affine(features.mean, features.scale, weight.T / len(targets) ** 0.5, bias)
