"""What a tokenizer learns beside photos: masks and drawings of edges, which look like no photo, and which a model of
visual sentences is to write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8

from beholder.data.annotate import ANNOTATIONS
from beholder.data.decode import read_picture
from beholder.data.stream import ImageStream
from beholder.recipes.masks import WHERE, square_mask
from beholder.recipes.tokenizer.sitting import Sitting
from beholder.runtime.arrays import create_array
from beholder.runtime.files import read_json, write_json
from beholder.runtime.seed import derive, numpy_generator
from beholder.tokenizers.pixels import PixelConfig, fit
from beholder.types import Batch, Sample, UserError

KINDS = ("masks", "edges")
FEWEST = 20
"""Pictures, below which nothing is held out that would judge, and masks, below which none are learned unasked."""
SHARE = 4
"""One picture of so many in a batch is a drawing."""
_MOST = 5_000
"""Of each kind."""


@dataclass(frozen=True)
class MixedStream:
    """Batches of photos, and behind them some drawings."""

    photos: ImageStream
    drawn: ImageStream

    def batch(self, step: int) -> Batch:
        """ "views": 1 B 3 S S."""
        return {"views": torch.cat([stream.batch(step)["views"] for stream in (self.photos, self.drawn)], dim=1)}


def kinds_of(asked: str | None, num_masks: int, data: str) -> tuple[str, ...]:
    """The kinds of drawings to learn. None: masks, where the data have some. Raises UserError for others, and for
    masks that are not there."""
    if asked is None:
        return ("masks",) if num_masks >= FEWEST else ()
    names = tuple(dict.fromkeys(name.strip() for name in asked.split(",") if name.strip()))
    if names == ("none",):
        return ()
    for name in names:
        if name not in KINDS:
            raise UserError(f"--also {name}: choose from {', '.join(KINDS)}, with commas between, or none.")
    if not names:
        raise UserError(f"--also names nothing; choose from {', '.join(KINDS)}, with commas between, or none.")
    if "masks" in names and not num_masks:
        raise UserError(f"--also masks: no picture of {data} has a mask; {WHERE}, or leave masks out.")
    return names


def draw(
    sitting: Sitting,
    kinds: Sequence[str],
    samples: Sequence[Sample],
    pixels: UInt8[np.ndarray, "n 3 R R"],
    masks: Mapping[str, Path],
) -> UInt8[np.ndarray, "d 3 R R"]:
    """What those kinds make of the pictures, of at most 5,000 each; mapped from a file, made once."""
    folder, config = sitting.run.scratch("drawn"), sitting.config
    owners = [row for row, sample in enumerate(samples) if sample.key in masks]
    sources = {kind: owners if kind == "masks" else range(len(samples)) for kind in kinds}
    rows = {kind: some(listed, _MOST, config.seed, "drawn") for kind, listed in sources.items()}
    count = sum(map(len, rows.values()))
    path, mark, side = folder / "pixels.npy", folder / "done.json", pixels.shape[2]
    if not mark.exists():
        array, place = create_array(path, np.uint8, (count, 3, side, side)), 0
        with sitting.log.progress("Draw", count) as advance:
            for kind, chosen in rows.items():
                made = (
                    masks_of(sitting, [samples[row] for row in chosen], masks, side)
                    if kind == "masks"
                    else _changed(sitting, kind, pixels, chosen)
                )
                for drawing in made:
                    array[place] = drawing
                    place += 1
                    advance()
        array.flush()
        write_json(mark, count)
    assert read_json(mark) == count
    return np.load(path, mmap_mode="r")


def _changed(
    sitting: Sitting, kind: str, pixels: UInt8[np.ndarray, "n 3 R R"], rows: Int[np.ndarray, " k"]
) -> Iterator[UInt8[np.ndarray, "3 R R"]]:
    for row in rows.tolist():
        draws = numpy_generator(sitting.config.seed, "drawn", kind, row)
        yield ANNOTATIONS[kind].change(pixels[row].transpose(1, 2, 0), draws).transpose(2, 0, 1)


def masks_of(
    sitting: Sitting, samples: Sequence[Sample], masks: Mapping[str, Path], side: int
) -> Iterator[UInt8[np.ndarray, "3 S S"]]:
    """The masks of those samples, white and black, cut as their pictures are. Raises UserError as `square_mask`."""
    how = PixelConfig(side, fit="shortest", crop=side)
    for sample in samples:
        picture = read_picture(sample, sitting.limits, at_least=side)  # for its size
        size = (picture.height, picture.width)
        square = square_mask(masks[sample.key], sample.key, size, lambda mask: fit(mask, how), sitting.limits)
        yield square.transpose(2, 0, 1)


def some(rows: Sequence[int] | np.ndarray, most: int, seed: int, purpose: str) -> Int[np.ndarray, " k"]:
    """So many of the rows at most, drawn, in their order."""
    rows = np.asarray(rows, np.int64)
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(derive(seed, purpose)).choice(rows, most, replace=False))
