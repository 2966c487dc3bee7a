"""Which pictures are the same picture: equal pixels, or equal but for encoding, size, brightness and contrast.

The difficulty is a narrow domain, where *different* pictures look alike. Measured on 2,624 solar cells (ELPV), chest
X-rays, hand photos, emoji, tiles and photos: re-encoding a picture moves its fingerprint by 0.01-0.1 (distance of unit
vectors); the nearest different pictures are 0.06 apart among solar cells, 0.3 among X-rays and 0.5 among photos. So
the allowed distance is relative to the set: a share of the distance that 1 % of its random pairs stay below (0.37 for
cells, 0.55 X-rays, 0.96 photos). Mean-image removal and high-pass filtering were tried and did not separate better:
solar cells share their grid lines, and neighbouring wafers even their grains. Two further checks refuse what a small
total distance hides: a local change (an emoji's hair) and another colour (a pink and a blue heart).

Found so, judged by eye, among 2,624 solar cells: none (neighbours that share print marks stay apart); 535 magnetic
tiles: 15 groups, the same tile under several exposures, one in doubt; 1,800 photos: 6 groups, all true; 1,923 emoji:
11, of which about 5 differ by a flag's emblem, a mouth or hands. Copies known again, on the sets that the numbers
were chosen with (JPEG quality 50; half size; brightness -10 %, +10 %): cells 99.3, 99.7, 99.7, 98.0 %; photos of
100-300 px 100, 100, 100, 98.7 %; 28-pixel X-rays 98.0, 95.7, 100, 100 %; emoji 100, 100, 100, 84.3 % (their colours
saturate); tiles 95.3, 100, 100, 98.0 %.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int, UInt8

from beholder.data.components import merge, number
from beholder.data.fingerprint import SIDE
from beholder.runtime.seed import numpy_generator

_CANDIDATE_SIDE = 8
_BLOCK = 4096
"""Rows and columns of one block of the similarity matrix: 64 MiB of float32."""
_PAIRS_AT_ONCE = 4096
_SAMPLE = 1500
"""Pictures whose pairs tell how alike the set is."""
_FLAT_SPREAD = 0.5
"""Standard deviation, in grey levels, below which a fingerprint holds no pattern."""


@dataclass(frozen=True)
class DuplicateRule:
    """When two fingerprints are one picture; the docstring of this file says where the numbers come from."""

    share: float = 0.15
    """Of the distance below which 1 % of the set's random pairs lie."""
    smallest_distance: float = 0.045
    """The allowed distance is never below what re-encoding itself does."""
    largest_distance: float = 0.14
    typical_distance: float = 0.4
    """Stands for that 1 % in a set of fewer than 20 pictures, which cannot tell."""
    local_change: float = 0.6
    """Largest difference in one cell, in standard deviations of the picture."""
    tint_change: int = 14
    """Largest difference of Cb or Cr in one cell."""


def find_duplicates(
    hashes: UInt8[np.ndarray, "n 16"],
    fingerprints: UInt8[np.ndarray, "n 32 32"],
    tints: UInt8[np.ndarray, "n 8 8 2"],
    sides: Int[np.ndarray, " n"],
    rule: DuplicateRule | None = None,
) -> Int[np.ndarray, " n"]:
    """A cluster number per picture, counted from 0 in order of appearance: equal numbers are the same picture.

    `sides`: the shorter side of each picture in pixels; small pictures are compared on a coarser grid, since their
    copies at half size hold no more. Memory stays below 1 GiB for 100,000 pictures, time about a minute on one core.
    """
    rule = rule or DuplicateRule()
    root = np.arange(len(hashes))
    _, first, place = np.unique(hashes, axis=0, return_index=True, return_inverse=True)
    root = merge(root, root, first[place.reshape(-1)])
    unique = np.flatnonzero(root == np.arange(len(root)))
    spread = fingerprints.reshape(len(root), -1).std(1, dtype=np.float32) if len(root) else np.zeros(0, np.float32)
    flat, patterned = unique[spread[unique] < _FLAT_SPREAD], unique[spread[unique] >= _FLAT_SPREAD]
    root = _join_flat(root, flat, fingerprints, tints)
    if len(patterned) > 1:
        allowed = allowed_distance(fingerprints[patterned], rule)
        matcher = _Matcher(fingerprints, tints, sides, allowed, rule)
        for left, right in _candidates(fingerprints[patterned], 1.3 * allowed + 0.03):
            root = _join_matching(root, patterned[left], patterned[right], matcher)
    return number(root)


def allowed_distance(fingerprints: UInt8[np.ndarray, "n 32 32"], rule: DuplicateRule) -> float:
    """How far apart, as unit vectors, two fingerprints of this set may be to count as one picture."""
    alike = rule.typical_distance
    if len(fingerprints) >= 20:
        chosen = numpy_generator(0, "duplicates").permutation(len(fingerprints))[:_SAMPLE]
        vectors = _unit(_pool(fingerprints[np.sort(chosen)], SIDE))
        similarity = (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)]
        alike = float(np.sqrt(max(0.0, 2 - 2 * np.quantile(similarity, 0.99))))
    return float(np.clip(rule.share * alike, rule.smallest_distance, rule.largest_distance))


def _pool(fingerprints: UInt8[np.ndarray, "n 32 32"], side: int) -> Float32[np.ndarray, "n cells"]:
    cell = SIDE // side
    grid = fingerprints.reshape(len(fingerprints), side, cell, side, cell)
    return grid.mean((2, 4), dtype=np.float32).reshape(len(fingerprints), -1)


def _unit(vectors: Float32[np.ndarray, "n cells"]) -> Float32[np.ndarray, "n cells"]:
    vectors = vectors - vectors.mean(1, keepdims=True)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


def _candidates(
    fingerprints: UInt8[np.ndarray, "n 32 32"], distance: float
) -> Iterator[tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]]:
    """Yield index arrays left < right, of pairs that are near on the coarse grid, block by block."""
    vectors = torch.from_numpy(_unit(_pool(fingerprints, _CANDIDATE_SIDE)))
    lowest = 1 - distance**2 / 2
    for row in range(0, len(vectors), _BLOCK):
        for column in range(row, len(vectors), _BLOCK):
            similarity = vectors[row : row + _BLOCK] @ vectors[column : column + _BLOCK].T
            left, right = (similarity > lowest).nonzero(as_tuple=True)
            left, right = left.numpy() + row, right.numpy() + column
            ordered = left < right
            yield left[ordered], right[ordered]


def _join_matching(
    root: Int[np.ndarray, " n"], left: Int[np.ndarray, " pairs"], right: Int[np.ndarray, " pairs"], matcher: _Matcher
) -> Int[np.ndarray, " n"]:
    """Check the pairs a few thousand at a time; those joined already, directly or through others, cost nothing."""
    for start in range(0, len(left), _PAIRS_AT_ONCE):
        a, b = left[start : start + _PAIRS_AT_ONCE], right[start : start + _PAIRS_AT_ONCE]
        apart = root[a] != root[b]
        a, b = a[apart], b[apart]
        if len(a):
            same = matcher.is_same(a, b)
            root = merge(root, a[same], b[same])
    return root


def _join_flat(
    root: Int[np.ndarray, " n"],
    flat: Int[np.ndarray, " m"],
    fingerprints: UInt8[np.ndarray, "n 32 32"],
    tints: UInt8[np.ndarray, "n 8 8 2"],
) -> Int[np.ndarray, " n"]:
    """Pictures without pattern are the same when their level and tint are."""
    if not len(flat):
        return root
    level = fingerprints[flat].mean((1, 2))
    colour = tints[flat].mean((1, 2))  # m 2
    described = np.rint(np.column_stack([level, colour]))
    _, first, place = np.unique(described, axis=0, return_index=True, return_inverse=True)
    return merge(root, flat, flat[first[place.reshape(-1)]])


@dataclass(frozen=True)
class _Matcher:
    """The close look at candidate pairs."""

    fingerprints: UInt8[np.ndarray, "n 32 32"]
    tints: UInt8[np.ndarray, "n 8 8 2"]
    sides: Int[np.ndarray, " n"]
    allowed: float
    rule: DuplicateRule

    def is_same(self, left: Int[np.ndarray, " pairs"], right: Int[np.ndarray, " pairs"]) -> Bool[np.ndarray, " pairs"]:
        tint_change = np.abs(self.tints[left].astype(np.int16) - self.tints[right]).max((1, 2, 3))
        same = tint_change <= self.rule.tint_change
        smaller = np.minimum(self.sides[left], self.sides[right])
        grids = np.where(smaller >= 64, SIDE, np.where(smaller >= 36, SIDE // 2, SIDE // 4))
        for side in np.unique(grids[same]):
            chosen = np.flatnonzero(same & (grids == side))
            a = _pool(self.fingerprints[left[chosen]], int(side))
            b = _pool(self.fingerprints[right[chosen]], int(side))
            distance, local = _compare(a, b)
            same[chosen] = (distance <= self.allowed) & (local <= self.rule.local_change)
        return same


def _compare(
    a: Float32[np.ndarray, "pairs cells"], b: Float32[np.ndarray, "pairs cells"]
) -> tuple[Float32[np.ndarray, " pairs"], Float32[np.ndarray, " pairs"]]:
    """Distance of unit vectors, and the largest cell difference in standard deviations, after the best gain and offset.

    Cells that are black or white in either picture are left out when at least half remain: a brightened copy is
    clipped there, which no gain explains.
    """
    used = (a > 8) & (a < 247) & (b > 8) & (b < 247)
    used[used.sum(1) < a.shape[1] / 2] = True
    count = used.sum(1, keepdims=True)
    a = np.where(used, a - (a * used).sum(1, keepdims=True) / count, 0)
    b = np.where(used, b - (b * used).sum(1, keepdims=True) / count, 0)
    length_a, length_b = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    product = (a * b).sum(1)
    similarity = product / np.maximum(length_a * length_b, 1e-6)
    gain = product / np.maximum(length_b**2, 1e-6)
    spread = np.maximum(length_a / np.sqrt(count[:, 0]), 1.0)
    local = np.abs(a - gain[:, None] * b).max(1) / spread
    return np.sqrt(np.maximum(2 - 2 * similarity, 0)).astype(np.float32), local.astype(np.float32)
