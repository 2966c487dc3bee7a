"""Held-out pictures with holes in them, always the same: a rectangle in one half, irregular ones in the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, UInt8

from beholder.data.holes import draw_blots, draw_rectangle
from beholder.recipes.coded_pictures import PLAIN, CodeTables
from beholder.recipes.masked.material import Material
from beholder.runtime.seed import numpy_generator

_KINDS = {"rectangle": draw_rectangle, "irregular": draw_blots}
_SHADE = (230, 0, 126)
"""What a hole is shown as."""


@dataclass(frozen=True)
class HoledPictures:
    """Squares of the codec's side, and where they are not known."""

    places: Int[np.ndarray, " m"]
    squares: UInt8[np.ndarray, "m S S 3"]
    holes: Bool[np.ndarray, "m S S"]
    kinds: tuple[str, ...]

    def first(self, count: int) -> HoledPictures:
        """The first so many."""
        return HoledPictures(self.places[:count], self.squares[:count], self.holes[:count], self.kinds[:count])


def put_holes(material: Material, tables: CodeTables, most: int, seed: int) -> HoledPictures:
    """At most so many held-out pictures, each twice: with a rectangle, and with irregular holes, of a quarter to a half
    of the square."""
    generator = numpy_generator(seed, "holes")
    held = material.places(True)
    chosen = np.sort(generator.choice(held, min(most, len(held)), replace=False))
    places = np.repeat(chosen, len(_KINDS))
    kinds = tuple(_KINDS) * len(chosen)
    squares = np.stack([tables.squares[PLAIN][place] for place in places])
    holes = np.stack([_KINDS[kind](squares.shape[1], generator) for kind in kinds])
    return HoledPictures(places, squares, holes, kinds)


def shown_with_hole(square: UInt8[np.ndarray, "S S 3"], hole: Bool[np.ndarray, "S S"]) -> UInt8[np.ndarray, "S S 3"]:
    """With a colour in the hole that no picture has."""
    return np.where(hole[..., None], np.array(_SHADE, np.uint8), square)
