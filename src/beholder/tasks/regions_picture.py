"""A picture that shows what was found in an image, where, and what was made of it."""

from __future__ import annotations

import textwrap

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from beholder.tasks.regions import Described

_WIDTH, _TEXT, _EDGE, _SPACE = 720, 18, 3, 8
_COLOURS = ((0, 107, 164), (200, 82, 0), (89, 89, 89), (0, 128, 96), (160, 60, 140))
"""Told apart by most of those who see few colours, and dark enough for white letters."""


def draw_regions(described: Described) -> UInt8[np.ndarray, "H W 3"]:
    """The image with a numbered box for each thing, and below it the phrases, the caption of the whole, and what both
    were joined to."""
    assert described.image is not None, "an image that was refused"
    picture = Image.fromarray(described.image)
    height = max(1, round(picture.height * _WIDTH / picture.width))
    picture = picture.resize((_WIDTH, height), Image.Resampling.LANCZOS)
    font = ImageFont.load_default(_TEXT)
    pen = ImageDraw.Draw(picture)
    for number, region in enumerate(described.regions, start=1):
        colour = _colour(number)
        left, top, right, bottom = region.box.pixels(height, _WIDTH)
        inset = _EDGE * number  # so that boxes of one part stand inside each other
        box = (left + inset, top + inset, max(left + inset + 1, right - inset), max(top + inset + 1, bottom - inset))
        pen.rectangle(box, outline=colour, width=_EDGE)
        label = f"{number} {region.name}"
        tag = pen.textbbox((box[0] + _SPACE, box[1] + _SPACE + (number - 1) * (_TEXT + _SPACE)), label, font=font)
        pen.rectangle((tag[0] - 4, tag[1] - 4, tag[2] + 4, tag[3] + 4), fill=colour)
        pen.text((tag[0], tag[1]), label, fill=(255, 255, 255), font=font, anchor="lt")
    return np.concatenate([np.asarray(picture), _legend(described, font)])


def _legend(described: Described, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> UInt8[np.ndarray, "h W 3"]:
    lines: list[tuple[str, tuple[int, int, int]]] = []
    for number, region in enumerate(described.regions, start=1):
        likely = "" if region.probability is None else f" ({region.probability:.0%})"
        said = "" if region.phrase is None else f": {region.phrase}"
        lines.append((f"{number}  {region.name}{likely}{said}", _colour(number)))
    for title, text in (("Caption", described.caption), ("By regions", described.description)):
        lines += [(line, (0, 0, 0)) for line in textwrap.wrap(f"{title}: {text}", 78)] if text is not None else []
    lines = lines or [("Nothing was found that could be named.", (0, 0, 0))]
    step = _TEXT + _SPACE
    legend = Image.new("RGB", (_WIDTH, step * len(lines) + 2 * _SPACE), (255, 255, 255))
    pen = ImageDraw.Draw(legend)
    for row, (line, colour) in enumerate(lines):
        pen.text((_SPACE, _SPACE + row * step), line, fill=colour, font=font)
    return np.asarray(legend)


def _colour(number: int) -> tuple[int, int, int]:
    return _COLOURS[(number - 1) % len(_COLOURS)]
