"""Holes in pictures: drawn ones to judge by, and what is put into them where nobody knows better."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import spsolve

_LEAST_SHARE, _MOST_SHARE = 0.25, 0.5
"""Of the picture, that a drawn hole covers."""
_LARGEST_STRETCH = 1.6
_LUMP = 1 / 12
"""Spread of the blur that makes an irregular hole of noise, as a share of the side."""

Hole = Bool[np.ndarray, "H W"]
"""True where nothing is known."""


def draw_rectangle(side: int, generator: np.random.Generator) -> Hole:
    """One rectangle of a quarter to a half of the square."""
    area = generator.uniform(_LEAST_SHARE, _MOST_SHARE)
    stretch = np.exp(generator.uniform(-1, 1) * np.log(_LARGEST_STRETCH))
    height = min(side, int(np.ceil(side * np.sqrt(area * stretch))))
    width = min(side, int(np.ceil(area * side**2 / height)))
    top, left = generator.integers(0, side - height + 1), generator.integers(0, side - width + 1)
    hole = np.zeros((side, side), bool)
    hole[top : top + height, left : left + width] = True
    return hole


def draw_blots(side: int, generator: np.random.Generator) -> Hole:
    """Irregular holes of a quarter to a half of the square together: where blurred noise is high."""
    area = generator.uniform(_LEAST_SHARE, _MOST_SHARE)
    noise = gaussian_filter(generator.normal(size=(side, side)), side * _LUMP, mode="reflect")
    count = int(np.ceil(area * side**2))
    return (noise.ravel().argsort().argsort() >= side**2 - count).reshape(side, side)


def fill_smoothly(values: Float[np.ndarray, "H W C"], hole: Hole) -> Float[np.ndarray, "H W C"]:
    """What is known goes on into the hole as a membrane that is held at its rim: each unknown value is the mean of its
    neighbours (harmonic). Without anything known, the values as they are."""
    return _solve(values, hole, _laplacian(hole.shape))


def fill_bending(values: Float[np.ndarray, "H W C"], hole: Hole) -> Float[np.ndarray, "H W C"]:
    """As `fill_smoothly`, but for a thin plate, which goes on with the slope at the rim too (biharmonic)."""
    laplacian = _laplacian(hole.shape)
    return _solve(values, hole, (laplacian @ laplacian).tocsr())


def _solve(values: np.ndarray, hole: Hole, operator: Any) -> np.ndarray:
    unknown = np.flatnonzero(hole)
    if not len(unknown) or hole.all():
        return values.copy()
    known = np.flatnonzero(~hole)
    flat = values.reshape(-1, values.shape[2]).astype(np.float64)
    rows = operator[unknown]
    found: Any = spsolve(rows[:, unknown].tocsc(), -(rows[:, known] @ flat[known]))
    flat[unknown] = found.reshape(len(unknown), -1)
    return flat.reshape(values.shape)


def _laplacian(shape: tuple[int, ...]) -> Any:
    """Each place less the mean of its neighbours, times their number; the picture's own border is free. Sparse."""
    places = np.arange(shape[0] * shape[1]).reshape(shape)
    pairs = [(places[:-1], places[1:]), (places[:, :-1], places[:, 1:])]
    one = np.concatenate([first.ravel() for first, _ in pairs] + [second.ravel() for _, second in pairs])
    other = np.concatenate([second.ravel() for _, second in pairs] + [first.ravel() for first, _ in pairs])
    count = places.size
    table: Any = coo_matrix((np.ones(len(one)), (one, other)), (count, count))
    adjacent = table.tocsr()
    degree = np.asarray(adjacent.sum(1)).ravel()
    diagonal: Any = coo_matrix((degree, (places.ravel(), places.ravel())), (count, count))
    return diagonal.tocsr() - adjacent


def cells_of(hole: Hole, grid: tuple[int, int]) -> Bool[np.ndarray, " T"]:
    """Which cells of the grid, row by row, have something unknown in them."""
    rows, columns = (side // places for side, places in zip(hole.shape, grid, strict=True))
    return hole.reshape(grid[0], rows, grid[1], columns).any((1, 3)).ravel()


def patch_in(
    square: UInt8[np.ndarray, "S S 3"], painted: UInt8[np.ndarray, "S S 3"], hole: Hole
) -> UInt8[np.ndarray, "S S 3"]:
    """What was painted within the hole, the square as it is elsewhere. By how much the two differ at the rim goes on
    into the hole as a membrane and is taken off, so that no seam is seen (Pérez, Gangnet & Blake 2003, Poisson image
    editing)."""
    difference = square.astype(np.float64) - painted
    whole = painted + fill_smoothly(np.where(hole[..., None], 0.0, difference), hole)
    return np.where(hole[..., None], np.clip(np.rint(whole), 0, 255).astype(np.uint8), square)
