"""Annotated pairs out of any picture: what is asked and what is the answer, both as bytes.

Of some tasks the picture is the question (its edges), of others the answer (its colours, given grey).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import UInt8

Square = UInt8[np.ndarray, "S S 3"]
_NOISE = 40.0
"""Spread in grey levels."""
_SMALLEST_HOLE, _LARGEST_HOLE = 0.35, 0.6
"""Of a hole's sides, as shares of the picture's."""
_HOLE_GREY = 127


def edges(picture: Square, generator: np.random.Generator) -> tuple[Square, Square]:
    """The picture; how steep its brightness is (Sobel & Feldman 1968), white for the steepest hundredth."""
    grey = np.pad(_brightness(picture), 1, mode="edge")
    across = grey[:, 2:] - grey[:, :-2]
    along = grey[2:] - grey[:-2]
    x = across[:-2] + 2 * across[1:-1] + across[2:]
    y = along[:, :-2] + 2 * along[:, 1:-1] + along[:, 2:]
    steep = np.hypot(x, y)
    top = max(float(np.percentile(steep, 99)), 40.0)  # what is flat but for noise stays dark
    return picture, _as_colours(steep / top * 255)


def grey(picture: Square, generator: np.random.Generator) -> tuple[Square, Square]:
    """Its brightness; the picture."""
    return _as_colours(_brightness(picture)), picture


def noise(picture: Square, generator: np.random.Generator) -> tuple[Square, Square]:
    """The picture with noise on every colour of every pixel; the picture."""
    noisy = picture + generator.normal(0.0, _NOISE, picture.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8), picture


def rotate(picture: Square, generator: np.random.Generator) -> tuple[Square, Square]:
    """The picture; a quarter turn to the left of it."""
    return picture, np.ascontiguousarray(np.rot90(picture))


def hole(picture: Square, generator: np.random.Generator) -> tuple[Square, Square]:
    """The picture with a grey rectangle somewhere, an eighth to a third of it; the picture."""
    side = len(picture)
    height, width = (round(share * side) for share in generator.uniform(_SMALLEST_HOLE, _LARGEST_HOLE, 2))
    top, left = (int(generator.integers(0, side - length + 1)) for length in (height, width))
    broken = picture.copy()
    broken[top : top + height, left : left + width] = _HOLE_GREY
    return broken, picture


Annotate = Callable[[Square, np.random.Generator], tuple[Square, Square]]
ANNOTATIONS: dict[str, Annotate] = {"edges": edges, "grey": grey, "noise": noise, "rotate": rotate, "hole": hole}
"""By the task's name."""


def _brightness(picture: Square) -> np.ndarray:
    return picture.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def _as_colours(values: np.ndarray) -> Square:
    grey_levels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return np.repeat(grey_levels[..., None], 3, axis=2)
