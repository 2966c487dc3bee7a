"""Originals above what came back, as one picture."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

_COLUMNS, _GAP = 8, 2


def sheet(originals: UInt8[np.ndarray, "n 3 S S"], painted: UInt8[np.ndarray, "n 3 S S"]) -> UInt8[np.ndarray, "H W 3"]:
    """Rows of eight: each row of originals stands above its reconstructions, on white."""
    side, count = originals.shape[2], len(originals)
    columns, rows = min(_COLUMNS, count), -(-count // _COLUMNS)
    whole = np.full((rows * (2 * side + 3 * _GAP) - 2 * _GAP, columns * (side + _GAP) - _GAP, 3), 255, np.uint8)
    for number in range(count):
        row, column = divmod(number, _COLUMNS)
        left = column * (side + _GAP)
        for place, pictures in enumerate((originals, painted)):
            top = row * (2 * side + 3 * _GAP) + place * (side + _GAP)
            whole[top : top + side, left : left + side] = pictures[number].transpose(1, 2, 0)
    return whole
