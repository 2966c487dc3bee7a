"""Which known picture is most like another one: thumbnails are compared, whose place and light do not count."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, UInt8

_SMALL = 16
"""Side at which pictures are compared."""


def likeness(pictures: UInt8[np.ndarray, "n S S 3"], others: UInt8[np.ndarray, "m S S 3"]) -> Float[np.ndarray, "n m"]:
    """Cosine of each picture's thumbnail, less its mean, with each other's; 1 for equal ones."""
    return thumbnails(pictures) @ thumbnails(others).T


def nearest_of(
    pictures: UInt8[np.ndarray, "n S S 3"], known: UInt8[np.ndarray, "m S S 3"]
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """The known picture most like each, and how like it is."""
    found = likeness(pictures, known)
    return found.argmax(1), found.max(1)


def thumbnails(pictures: UInt8[np.ndarray, "n S S 3"]) -> Float[np.ndarray, "n F"]:
    """Pictures at 16 x 16, less their mean, of unit length: what cosines compare."""
    side = pictures.shape[1]
    edges = np.linspace(0, side, min(_SMALL, side) + 1).astype(int)[:-1]
    rows = []
    for picture in pictures:
        blocks = np.add.reduceat(np.add.reduceat(picture.astype(np.float32), edges, axis=0), edges, axis=1).ravel()
        blocks -= blocks.mean()
        rows.append(blocks / max(float(np.linalg.norm(blocks)), 1e-6))
    return np.stack(rows)
