"""Small squares of the training images as bytes on disk, so that pretraining decodes nothing twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch.nn import functional

from beholder.data.decode import Limits
from beholder.data.parallel import decoded
from beholder.runtime.arrays import create_array, release_pages
from beholder.runtime.files import read_json, write_json
from beholder.runtime.log import Log
from beholder.tokenizers.pixels import PixelConfig, target
from beholder.types import Sample


def cache_pixels(
    samples: Sequence[Sample],
    size: int,
    folder: Path,
    limits: Limits,
    num_workers: int,
    log: Log,
    *,
    is_cropped: bool = False,
) -> UInt8[np.ndarray, "N 3 size size"]:
    """All samples as squares, mapped from one file; made once, then only opened.

    Stretched; or, if `is_cropped`, shrunk until the shorter side fits, and the middle cut out: what is to be painted
    again must keep its proportions.
    """
    how = PixelConfig(size, fit="shortest", crop=size) if is_cropped else PixelConfig(size)
    squares = (shrink(image, how, size) for image in decoded(samples, limits, num_workers, at_least=size))
    return squares_once(squares, len(samples), size, folder, log, "Cache")


def squares_once(
    squares: Iterable[UInt8[np.ndarray, "3 side side"]], count: int, side: int, folder: Path, log: Log, title: str
) -> UInt8[np.ndarray, "count 3 side side"]:
    """The squares, mapped from one file; asked for where the folder does not hold all of them yet."""
    path, mark = folder / "pixels.npy", folder / "done.json"
    if not mark.exists():
        array = create_array(path, np.uint8, (count, 3, side, side))
        with log.progress(title, count) as advance:
            for row, square in enumerate(squares):
                array[row] = square
                advance()
        array.flush()
        release_pages(array)
        write_json(mark, count)
    assert read_json(mark) == count
    return np.load(path, mmap_mode="r")


def shrink(image: UInt8[np.ndarray, "H W 3"], how: PixelConfig, side: int) -> UInt8[np.ndarray, "3 side side"]:
    """`fit`, by torch, whose kernels for bytes take a quarter of Pillow's time; a few bytes differ, by one or two."""
    height, width = target(image.shape[0], image.shape[1], how)
    pixels = torch.from_numpy(np.require(image, requirements="W")).permute(2, 0, 1)[None]
    shrunk = functional.interpolate(pixels, (height, width), mode="bicubic", antialias=True)[0].numpy()
    top, left = (height - side) // 2, (width - side) // 2
    return shrunk[:, top : top + side, left : left + side]
