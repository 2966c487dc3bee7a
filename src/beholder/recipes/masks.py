"""Masks that lie beside the pictures of a folder: never taken for pictures, and cut as their pictures are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from beholder.data.decode import Limits, Unreadable
from beholder.data.masks import as_picture, read_mask
from beholder.data.series import find_mask_files, without_masks
from beholder.data.sources import Source
from beholder.types import UserError

WHERE = "name them in a column mask_file_name of metadata.jsonl, or lay x.png into masks/ or x_mask.png beside it"
"""How masks are found, for sentences about none."""
_HALF = 127


def split_masks(source: Source, data: Path) -> tuple[Source, dict[str, Path]]:
    """The folder without its masks, and the masks by the keys of pictures."""
    masks = find_mask_files(data)
    kept = without_masks([sample.key for sample in source.samples], masks, data)
    samples = tuple(source.samples[place] for place in kept)
    return replace(source, samples=samples), masks


def square_mask(
    path: Path,
    key: str,
    size: tuple[int, int],
    square: Callable[[UInt8[np.ndarray, "H W 3"]], UInt8[np.ndarray, "S S 3"]],
    limits: Limits,
) -> UInt8[np.ndarray, "S S 3"]:
    """The mask of the picture `key`, of that height and width, white and black, cut by `square` as the picture is.

    Raises UserError where it cannot be read, and where it has another size.
    """
    try:
        mask = as_picture(read_mask(path, limits))
    except Unreadable as error:
        raise UserError(
            f"{path}, the mask of {key}, cannot be read ({error.reason}); mend or remove it and run the command again."
        ) from error
    if mask.shape[:2] != size:
        raise UserError(
            f"The mask {path} is {mask.shape[1]} x {mask.shape[0]} pixels and its picture {size[1]} x {size[0]}; "
            "a mask has its picture's size."
        )
    return np.where(square(mask) > _HALF, 255, 0).astype(np.uint8)
