"""Any grey or colour coding to 8-bit RGB: the rules for deep, floating and transparent pixels stand here."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image, ImageCms

BIT_DEPTHS = (8, 10, 12, 14, 16, 24, 32)
"""Depths that sensors and files use. A 12-bit camera in a 16-bit file must not come out black."""

_DEEP_MODES = {"I", "F", "I;16", "I;16L", "I;16B", "I;16N"}
_ALPHA_MODES = {"RGBA", "LA", "PA", "RGBa", "La"}


def to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB of a loaded picture; raises ValueError for a colour coding that Pillow cannot convert.

    Deep grey is scaled by `integers_to_bytes`, floats by `stretch_to_bytes`; transparent pixels are laid on white;
    LAB goes through its standard profile. Embedded colour profiles are not applied.
    """
    if image.mode in _DEEP_MODES:
        values = np.asarray(image)
        grey = stretch_to_bytes(values) if image.mode == "F" else integers_to_bytes(values)
        return Image.fromarray(grey).convert("RGB")
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        picture = image.convert("RGBA")
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, picture).convert("RGB")
    if image.mode == "LAB":
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
        assert converted is not None
        return converted
    return image if image.mode == "RGB" else image.convert("RGB")


def integers_to_bytes(values: Shaped[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Linear to 8 bits by the smallest of 8, 10, 12, 14, 16, 24 or 32 bits that holds the largest value of the file.

    Negative values have no such depth: they are stretched from the smallest to the largest value.
    """
    if values.min(initial=0) < 0:
        return stretch_to_bytes(values)
    largest = int(values.max(initial=0))
    bits = next(bits for bits in BIT_DEPTHS if largest < 2**bits)
    return np.rint(values * (255.0 / (2**bits - 1))).astype(np.uint8)


def stretch_to_bytes(
    values: Shaped[np.ndarray, "*shape"], low: Any = None, high: Any = None
) -> UInt8[np.ndarray, "*shape"]:
    """Linear from `low`..`high` (default: the finite values' range) to 0..255; NaN and infinities are black."""
    values = values.astype(np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape, np.uint8)
    low = values[finite].min() if low is None else float(low)
    high = values[finite].max() if high is None else float(high)
    with np.errstate(invalid="ignore"):  # infinities are replaced below
        scaled = np.clip((values - low) * (255.0 / max(high - low, 1e-12)), 0, 255)
    return np.rint(np.where(finite, scaled, 0)).astype(np.uint8)
