"""Is a heat map true? Delete what it marks and see whether the answer suffers more than from deleting at random.

The deletion test of Petsiuk et al. (2018, arXiv 1806.07421), cut to one step and paired with a random control.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from PIL import Image, ImageFilter

Predict = Callable[[Sequence[np.ndarray]], Float[np.ndarray, "B C"]]
"""Decoded images -> class probabilities."""

SHARE = 0.2
"""Part of the picture that is deleted."""
_NUM_RANDOM = 3


@dataclass(frozen=True)
class Deletion:
    """How much the predicted class loses, in probability points."""

    important_drop: float
    """Mean loss of probability after deleting the marked fifth."""
    random_drop: float
    """The same after deleting a fifth at random places."""
    share_better: float
    """Share of images where the marked places mattered more."""
    num_images: int


def deletion_test(
    images: Sequence[np.ndarray],
    heat: Float[np.ndarray, "n G G"],
    classes: Int[np.ndarray, " n"],
    predict: Predict,
    generator: np.random.Generator,
) -> Deletion:
    """Delete (blur away) the hottest fifth of each image, and three times a random fifth, and predict again."""
    rows = np.arange(len(images))
    before = predict(images)[rows, classes]
    important = [_delete(image, _hottest(map_)) for image, map_ in zip(images, heat, strict=True)]
    important_drop = before - predict(important)[rows, classes]
    random_drop = np.zeros(len(images))
    for _ in range(_NUM_RANDOM):
        shuffled = [_delete(image, _random_mask(heat.shape[1], generator)) for image in images]
        random_drop += (before - predict(shuffled)[rows, classes]) / _NUM_RANDOM
    return Deletion(
        float(important_drop.mean()), float(random_drop.mean()), float((important_drop > random_drop).mean()), len(rows)
    )


def _hottest(heat: Float[np.ndarray, "G G"]) -> Bool[np.ndarray, "G G"]:
    count = max(1, round(SHARE * heat.size))
    mask = np.zeros(heat.size, bool)
    mask[np.argsort(-heat, axis=None, kind="stable")[:count]] = True
    return mask.reshape(heat.shape)


def _random_mask(grid: int, generator: np.random.Generator) -> Bool[np.ndarray, "G G"]:
    """Blobs like those of a heat map, not scattered cells: smoothed noise, cut at the same share."""
    noise = Image.fromarray(generator.random((grid, grid)).astype(np.float32))
    return _hottest(np.asarray(noise.resize((grid // 4, grid // 4)).resize((grid, grid), Image.Resampling.BICUBIC)))


def _delete(image: np.ndarray, mask: Bool[np.ndarray, "G G"]) -> np.ndarray:
    """Blur the masked cells beyond recognition, which leaves no sharp false edges."""
    picture = Image.fromarray(image)
    blurred = picture.filter(ImageFilter.GaussianBlur(max(picture.size) / 12))
    soft = Image.fromarray((mask * 255).astype(np.uint8)).resize(picture.size, Image.Resampling.BILINEAR)
    return np.asarray(Image.composite(blurred, picture, soft))
