"""Pictures small enough that their cosines say which is like which."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

_SMALL = 16
"""Side at which pictures are compared."""


def thumbnails(squares: UInt8[np.ndarray, "n S S 3"]) -> Float[np.ndarray, "n D"]:
    """Pictures at 16 x 16, less their mean, of unit length: what cosines compare."""
    side = squares.shape[1]
    edges = np.linspace(0, side, min(_SMALL, side) + 1).astype(int)
    rows = []
    for square in squares:
        picture = square.astype(np.float32)
        blocks = np.add.reduceat(np.add.reduceat(picture, edges[:-1], axis=0), edges[:-1], axis=1).ravel()
        blocks -= blocks.mean()
        rows.append(blocks / max(float(np.linalg.norm(blocks)), 1e-6))
    return np.stack(rows)
