"""Sheets of what is drawn: the caption, the true picture, and several that were drawn, a row each."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from beholder.recipes.rows_of_pictures import known_letters, lay_out

_WIDTH, _LETTERS, _LINE, _MARGIN = 190, 26, 14, 4
"""Of the column of captions, in pixels; letters of a line; pixels of one."""


def captioned_sheet(
    texts: Sequence[str], true: UInt8[np.ndarray, "q S S 3"], drawn: UInt8[np.ndarray, "q k S S 3"]
) -> UInt8[np.ndarray, "H W 3"]:
    """A wide gap stands between the true picture and the drawn ones."""
    rows = [[one, *others] for one, others in zip(true, drawn, strict=True)]
    pictures = lay_out(rows, wide_after={1})
    column = Image.new("RGB", (_WIDTH, len(pictures)), "white")
    pen, font = ImageDraw.Draw(column), ImageFont.load_default()
    for number, text in enumerate(texts):
        top = round(number * len(pictures) / len(texts)) + _MARGIN
        for line, part in enumerate(textwrap.wrap(text, _LETTERS)[: max(1, len(pictures) // len(texts) // _LINE)]):
            pen.text((_MARGIN, top + line * _LINE), known_letters(part), fill="black", font=font)
    return np.concatenate([np.asarray(column), pictures], axis=1)
