"""Sheets: held-out pictures with holes and what was put into them; pictures from nothing."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from beholder.recipes.coded_pictures import PLAIN, CodeTables
from beholder.recipes.masked.holes import HoledPictures, shown_with_hole
from beholder.recipes.masked.material import Material
from beholder.recipes.masked.settings import MaskedTraining
from beholder.recipes.rows_of_pictures import lay_out, stack, titled
from beholder.tasks.masked_pictures import MaskedPictures, Wish

_COLUMNS = 8
_NUM_SKETCHED = 4


def mended_sheet(
    holed: HoledPictures, mended: UInt8[np.ndarray, "m S S 3"], others: UInt8[np.ndarray, "m S S 3"]
) -> UInt8[np.ndarray, "H W 3"]:
    """Two to a row: the picture with its hole, what was put in, that once more with another seed, and the truth."""
    rows = []
    for number in range(0, len(mended), 2):
        row = []
        for one in range(number, min(number + 2, len(mended))):
            row += [
                shown_with_hole(holed.squares[one], holed.holes[one]), mended[one], others[one], holed.squares[one],
            ]  # fmt: skip
        rows.append(row + [np.full_like(mended[0], 255)] * (_COLUMNS - len(row)))
    return lay_out(rows, wide_after={4})


def sample_sheet(pictures: UInt8[np.ndarray, "n S S 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """Eight to a row."""
    whole = [list(pictures[first : first + _COLUMNS]) for first in range(0, len(pictures), _COLUMNS)]
    whole[-1] += [np.full_like(pictures[0], 255)] * (_COLUMNS - len(whole[-1]))
    return lay_out(whole, wide_after={4})


def beside_sheet(
    pictures: UInt8[np.ndarray, "n S S 3"], nearest: UInt8[np.ndarray, "n S S 3"]
) -> UInt8[np.ndarray, "H W 3"]:
    """Each picture with the training picture that is most like it to its right, four such pairs to a row."""
    pairs = np.stack([pictures, nearest], axis=1).reshape(-1, *pictures.shape[1:])
    whole = [list(pairs[first : first + _COLUMNS]) for first in range(0, len(pairs), _COLUMNS)]
    whole[-1] += [np.full_like(pictures[0], 255)] * (_COLUMNS - len(whole[-1]))
    return lay_out(whole, wide_after={2, 4, 6})


def sketch(
    painter: MaskedPictures,
    settings: MaskedTraining,
    material: Material,
    tables: CodeTables,
    holed: HoledPictures,
) -> UInt8[np.ndarray, "H W 3"]:
    """What the model paints by now: four holes twice, eight pictures from nothing, and eight as they were asked for."""
    few = holed.first(_NUM_SKETCHED)
    wishes = [Wish()] * _NUM_SKETCHED
    mended = [painter.mend(few.squares, few.holes, wishes, settings.decoding, seed) for seed in (0, 1000)]
    told = "held-out pictures with a hole, what is put in, that with another seed, the truth"
    sheets = [titled(mended_sheet(few, *mended), told)]
    samples = painter.pictures.decode(painter.paint([Wish()] * _COLUMNS, settings.decoding))
    sheets.append(titled(sample_sheet(samples), "from nothing"))
    asked = [material.wish_of(int(place)) for place in material.places(True)[:_COLUMNS]]
    if not all(wish.is_empty for wish in asked):
        drawn = painter.pictures.decode(painter.paint(asked, settings.asked))
        truth = np.stack([tables.squares[PLAIN][place] for place in material.places(True)[:_COLUMNS]])
        names = "; ".join(wish.label or wish.prompt or "nothing" for wish in asked)
        sheets += [
            titled(sample_sheet(drawn), f"asked for: {names}"),
            titled(sample_sheet(truth), "the true ones"),
        ]
    return stack(sheets)
