"""Pictures that say where something is, such as a label of every pixel, or a hole that is to be filled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from beholder.data.decode import Limits, Unreadable, decode, open_image, orientation, pixels_of
from beholder.types import Sample

Mask = Bool[np.ndarray, "H W"]
_LOSSY = frozenset({"JPEG", "MPO"})
_HALF = 127
_CLEAR = 128
"""Less opacity than this counts as transparent."""
_MOST_NUMBERS = 64
"""A grey picture with no value as high is a list of instances, not a photo."""


def read_mask(mask: Path | Sample, limits: Limits) -> Mask:
    """Where the mask names something: whatever is above 0, since instances are numbered from 1, and not transparent; of
    a JPEG, whose black is not quite black, what is above the middle. Raises Unreadable."""
    opened = _open(mask, limits)
    clear = opened.clear()
    return opened.named() if clear is None else opened.named() & ~clear


def read_hole(mask: Path | Sample, limits: Limits) -> tuple[Mask, list[str]]:
    """What is to be replaced, and what is to be told of it: where the mask is transparent, as OpenAI has it, else what
    `read_mask` finds. Raises Unreadable."""
    return _hole_of(_open(mask, limits))


def hole_in(mask: Image.Image | np.ndarray) -> tuple[Mask, list[str]]:
    """As `read_hole`, of a picture or an array H W or H W C that is in memory; the fourth channel is opacity. Raises
    Unreadable."""
    if isinstance(mask, Image.Image):
        return _hole_of(_Opened(mask, pixels_of(mask).max(2), mask.format in _LOSSY))
    if mask.ndim == 3 and mask.shape[2] == 4 and (clear := mask[..., 3] < _CLEAR).any():
        return _told_of(clear)
    return (mask if mask.ndim == 2 else mask[..., :3].max(2)) > 0, []


def numbers_as_mask(sample: Sample, limits: Limits) -> UInt8[np.ndarray, "H W 3"] | None:
    """White where a grey picture that holds numbers of instances and no tones is above 0, black elsewhere; None for any
    other picture. Raises Unreadable."""
    opened = _open(sample, limits)
    raw = None if opened.is_lossy or opened.image.mode == "P" else opened.grey()
    if raw is None or raw.dtype.kind not in "ui" or not 0 < raw.max() < _MOST_NUMBERS:
        return None
    return as_picture(raw > 0)


def as_picture(mask: Mask) -> UInt8[np.ndarray, "H W 3"]:
    """White where the mask is true, else black."""
    return np.repeat(np.where(mask, 255, 0).astype(np.uint8)[..., None], 3, axis=2)


@dataclass(frozen=True)
class _Opened:
    """A mask that could be decoded."""

    image: Image.Image
    """As it stands in the file, turned as it is to be seen; an empty one where Pillow alone cannot open it (DICOM)."""
    values: UInt8[np.ndarray, "H W"]
    """Its lightness, decoded."""
    is_lossy: bool

    def named(self) -> Mask:
        """What is not black, transparency aside."""
        grey = self.grey()
        return (self.values if grey is None else grey) > (_HALF if self.is_lossy else 0)

    def grey(self) -> np.ndarray | None:
        """Values of one channel as they stand in the file: deep ones, which tones would scale to nothing, and numbers
        of a palette whose first colour is black; None of any other picture."""
        palette = self.image.getpalette() if self.image.mode == "P" else None
        if "transparency" in self.image.info or (palette is not None and any(palette[:3])):
            return None
        values = np.asarray(self.image)
        return values if values.shape == self.values.shape else None

    def clear(self) -> Mask | None:
        """Where it is transparent; None of what has no opacity."""
        if not self.image.has_transparency_data:
            return None
        clear = np.asarray(self.image.convert("RGBA"))[..., 3] < _CLEAR
        return clear if clear.shape == self.values.shape else None


def _open(mask: Path | Sample, limits: Limits) -> _Opened:
    sample = Sample(str(mask), mask) if isinstance(mask, Path) else mask
    values = decode(sample, limits).max(2)
    try:
        image = open_image(Path(sample.path).read_bytes() if sample.path is not None else sample.data or b"")
    except Unreadable:
        return _Opened(Image.new("RGB", (1, 1)), values, is_lossy=False)
    turn = orientation(image)
    return _Opened(image if turn is None else image.transpose(turn), values, image.format in _LOSSY)


def _hole_of(opened: _Opened) -> tuple[Mask, list[str]]:
    clear = opened.clear()
    return _told_of(clear) if clear is not None and clear.any() else (opened.named(), [])


def _told_of(clear: Mask) -> tuple[Mask, list[str]]:
    return clear, [f"the mask is transparent in {clear.mean():.0%} of the picture, and that is what is replaced"]
