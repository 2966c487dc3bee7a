"""Pictures that say where something is, such as a label of every pixel, or a hole that is to be filled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageOps

from beholder.data.decode import Limits, Unreadable, decode, open_image
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
    sample = Sample(str(mask), mask) if isinstance(mask, Path) else mask
    values = decode(sample, limits).max(2)
    with _opened(sample) as image:
        raw = _grey_values(image, values.shape)
        if raw is not None:
            return raw > (_HALF if image.format in _LOSSY else 0)
        clear = _transparent(image, values.shape)
        is_something = values > (_HALF if image.format in _LOSSY else 0)
        return is_something if clear is None else is_something & ~clear


def read_hole(mask: Path | Sample, limits: Limits) -> tuple[Mask, list[str]]:
    """What is to be replaced, and what is to be told of it: where the mask is transparent, as OpenAI has it, else what
    `read_mask` finds. Raises Unreadable."""
    sample = Sample(str(mask), mask) if isinstance(mask, Path) else mask
    size = decode(sample, limits).shape[:2]
    with _opened(sample) as image:
        clear = _transparent(image, size)
    return (read_mask(sample, limits), []) if clear is None or not clear.any() else _told_of(clear)


def hole_in(mask: Image.Image | np.ndarray) -> tuple[Mask, list[str]]:
    """As `read_hole`, of a picture or an array H W or H W C that is in memory; the fourth channel is opacity."""
    if isinstance(mask, Image.Image):
        mask = np.asarray(mask.convert("RGBA") if mask.has_transparency_data else mask)
    if mask.ndim == 3 and mask.shape[2] == 4 and (clear := mask[..., 3] < _CLEAR).any():
        return _told_of(clear)
    return (mask if mask.ndim == 2 else mask[..., :3].max(2)) > 0, []


def _told_of(clear: Mask) -> tuple[Mask, list[str]]:
    return clear, [f"the mask is transparent in {clear.mean():.0%} of the picture, and that is what is replaced"]


def numbers_as_mask(sample: Sample, limits: Limits) -> UInt8[np.ndarray, "H W 3"] | None:
    """White where a grey picture that holds numbers of instances and no tones is above 0, black elsewhere; None for any
    other picture. Raises Unreadable."""
    shape = decode(sample, limits).shape[:2]
    with _opened(sample) as image:
        raw = None if image.format in _LOSSY or image.mode == "P" else _grey_values(image, shape)
    if raw is None or raw.dtype.kind not in "ui" or not 0 < raw.max() < _MOST_NUMBERS:
        return None
    return as_picture(raw > 0)


def as_picture(mask: Mask) -> UInt8[np.ndarray, "H W 3"]:
    """White where the mask is true, else black."""
    return np.repeat(np.where(mask, 255, 0).astype(np.uint8)[..., None], 3, axis=2)


def _opened(sample: Sample) -> Image.Image:
    """What `decode` could read; an empty picture where Pillow alone cannot (DICOM)."""
    try:
        return open_image(Path(sample.path).read_bytes() if sample.path is not None else sample.data or b"")
    except Unreadable:
        return Image.new("RGB", (1, 1))


def _grey_values(image: Image.Image, shape: tuple[int, ...]) -> np.ndarray | None:
    """Values of one channel as they stand in the file: deep ones and numbers of a palette, which tones would scale to
    nothing."""
    values = np.asarray(ImageOps.exif_transpose(image))
    return values if values.ndim == 2 and values.shape == shape and "transparency" not in image.info else None


def _transparent(image: Image.Image, shape: tuple[int, ...]) -> Mask | None:
    if not image.has_transparency_data:
        return None
    clear = np.asarray(ImageOps.exif_transpose(image).convert("RGBA"))[..., 3] < _CLEAR
    return clear if clear.shape == shape else None
