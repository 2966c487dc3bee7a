"""What a tokenizer learns beside photos: masks and drawings of edges, which look like no photo, and which a model of
visual sentences is to write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from beholder.data.annotate import ANNOTATIONS
from beholder.data.decode import Limits, Unreadable
from beholder.data.series import find_mask_files, read_mask, without_masks
from beholder.data.sources import Source
from beholder.data.stream import ImageStream
from beholder.recipes.adapt.arrays import create_array
from beholder.recipes.tokenizer.sitting import Sitting
from beholder.runtime.files import read_json, write_json
from beholder.runtime.seed import derive, numpy_generator
from beholder.tokenizers.pixels import PixelConfig, fit
from beholder.types import Batch, Sample, UserError

KINDS = ("masks", "edges")
FEWEST_MASKS = 20
"""Below which nobody's masks are learned unless they were asked for."""
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
        return ("masks",) if num_masks >= FEWEST_MASKS else ()
    names = tuple(dict.fromkeys(name.strip() for name in asked.split(",") if name.strip()))
    if names == ("none",):
        return ()
    for name in names:
        if name not in KINDS:
            raise UserError(f"--also {name}: choose from {', '.join(KINDS)}, with commas between, or none.")
    if not names:
        raise UserError(f"--also names nothing; choose from {', '.join(KINDS)}, with commas between, or none.")
    if "masks" in names and not num_masks:
        raise UserError(
            f"--also masks: no picture of {data} has a mask; name them in a column mask_file_name of metadata.jsonl, "
            "lay x.png into masks/ or x_mask.png beside it, or leave masks out."
        )
    return names


def split_masks(source: Source, data: Path) -> tuple[Source, dict[str, Path]]:
    """The folder without its masks, and the masks by the keys of pictures."""
    masks = find_mask_files(data)
    kept = without_masks([sample.key for sample in source.samples], masks, data)
    samples = tuple(source.samples[place] for place in kept)
    return Source(source.folder, source.layout, source.description, samples, source.refused), masks


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
    chosen = [
        (kind, row) for kind in kinds for row in _some(owners if kind == "masks" else range(len(samples)), config.seed)
    ]
    path, mark, side = folder / "pixels.npy", folder / "done.json", pixels.shape[2]
    if not mark.exists():
        array = create_array(path, np.uint8, (len(chosen), 3, side, side))
        with sitting.log.progress("Draw", len(chosen)) as advance:
            for place, (kind, row) in enumerate(chosen):
                if kind == "masks":
                    array[place] = square_mask(masks[samples[row].key], side, sitting.limits)
                else:
                    draws = numpy_generator(config.seed, "drawn", kind, row)
                    array[place] = ANNOTATIONS[kind].change(pixels[row].transpose(1, 2, 0), draws).transpose(2, 0, 1)
                advance()
        array.flush()
        write_json(mark, len(chosen))
    assert read_json(mark) == len(chosen)
    return np.load(path, mmap_mode="r")


def square_mask(path: Path, side: int, limits: Limits) -> UInt8[np.ndarray, "3 S S"]:
    """Black and white, cut as its picture is. Raises UserError for a mask that cannot be read."""
    try:
        mask = read_mask(path, limits)
    except Unreadable as error:
        raise UserError(f"The mask {path} cannot be read ({error.reason}); mend or remove it.") from error
    square = fit(mask, PixelConfig(side, fit="shortest", crop=side))
    return np.where(square > 127, 255, 0).astype(np.uint8).transpose(2, 0, 1)


def _some(rows: Sequence[int], seed: int) -> list[int]:
    if len(rows) <= _MOST:
        return list(rows)
    chosen = np.random.default_rng(derive(seed, "drawn")).choice(np.asarray(rows), _MOST, replace=False)
    return np.sort(chosen).tolist()
