"""Other pictures made of a picture: what a model of visual sentences is asked for, or has to mend. Bytes to bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

Square = UInt8[np.ndarray, "S S 3"]
_NOISE = 40.0
"""Spread in grey levels."""
_FLAT = 40.0
"""Steepness in grey levels that is white in a picture without edges, so that its noise stays dark."""
_SMALLEST_HOLE, _LARGEST_HOLE = 0.35, 0.6
"""Of a hole's sides, as shares of the picture's."""
_HOLE_GREY = 127


def edges(picture: Square, generator: np.random.Generator) -> Square:
    """How steep the brightness is (Sobel & Feldman 1968), white where it is steepest."""
    grey = np.pad(_brightness(picture), 1, mode="edge")
    across = grey[:, 2:] - grey[:, :-2]
    along = grey[2:] - grey[:-2]
    x = across[:-2] + 2 * across[1:-1] + across[2:]
    y = along[:, :-2] + 2 * along[:, 1:-1] + along[:, 2:]
    steep = np.hypot(x, y)
    return _as_colours(steep / max(float(np.percentile(steep, 99)), _FLAT) * 255)


def grey(picture: Square, generator: np.random.Generator) -> Square:
    """The brightness without the colours."""
    return _as_colours(_brightness(picture))


def noise(picture: Square, generator: np.random.Generator) -> Square:
    """Normal noise on every colour of every pixel."""
    noisy = picture + generator.normal(0.0, _NOISE, picture.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def rotate(picture: Square, generator: np.random.Generator) -> Square:
    """A quarter turn to the left."""
    return np.ascontiguousarray(np.rot90(picture))


def hole(picture: Square, generator: np.random.Generator) -> Square:
    """A grey rectangle somewhere, an eighth to a third of the picture."""
    side = len(picture)
    height, width = (round(share * side) for share in generator.uniform(_SMALLEST_HOLE, _LARGEST_HOLE, 2).tolist())
    top, left = (int(generator.integers(0, side - length + 1)) for length in (height, width))
    broken = picture.copy()
    broken[top : top + height, left : left + width] = _HOLE_GREY
    return broken


@dataclass(frozen=True)
class Annotation:
    """One way to make a pair of a picture."""

    change: Callable[[Square, np.random.Generator], Square]
    is_answer: bool
    """Whether what the change gives is the answer to the picture; otherwise the picture is the answer to it."""


ANNOTATIONS = {
    "edges": Annotation(edges, is_answer=True),
    "grey": Annotation(grey, is_answer=False),
    "noise": Annotation(noise, is_answer=False),
    "rotate": Annotation(rotate, is_answer=True),
    "hole": Annotation(hole, is_answer=False),
}
"""By the task's name."""


def _brightness(picture: Square) -> np.ndarray:
    return picture.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def _as_colours(values: np.ndarray) -> Square:
    levels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=2)
