"""Numbers that tell a bad picture from the rest of its set: light, contrast, sharpness, size and shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

MEASURES = ("brightness", "contrast", "sharpness", "width", "height", "aspect")
"""Columns of a quality table: mean grey 0..255; standard deviation of grey; variance of the Laplacian over variance of
grey (white noise 20, a sharp photo about 0.1, a blurred one below 0.02); pixels; pixels; width / height."""

_SIDE = 256
_NORMAL_SPREAD = 1.4826
"""A median absolute deviation times this is the standard deviation of normal numbers."""


@dataclass(frozen=True)
class Outlier:
    """A picture unlike the rest of its set; kept, and shown to the user."""

    key: str
    what: str
    """"dark", "bright", "flat", "blurred", "unusual size" or "unusual shape"."""
    value: float
    """The measure that stood out: brightness, contrast, sharpness, megapixels or aspect."""


@dataclass(frozen=True)
class OutlierRule:
    """A picture stands out when it is far from the set's median *and* bad by itself, so a uniform set has none."""

    deviations: float = 5.0
    """Robust standard deviations (1.4826 x median absolute deviation) from the median."""
    darkest_brightness: float = 30.0
    brightest_brightness: float = 225.0
    flattest_contrast: float = 6.0
    blurred_sharpness: float = 0.02
    blurred_ratio: float = 0.2
    """A blurred picture is also at most so many times as sharp as the median."""
    size_ratio: float = 3.0
    """Pixels, so many times more or fewer than the median."""
    shape_ratio: float = 1.5
    """Aspect, so many times wider or taller than the median."""


def measure(pixels: UInt8[np.ndarray, "H W 3"], width: int, height: int) -> Float32[np.ndarray, " 6"]:
    """The MEASURES of one picture, on its grey reduced to at most 256 pixels; `width`, `height` of the original."""
    grey = Image.fromarray(pixels).convert("L")
    scale = _SIDE / max(grey.size)
    if scale < 1:
        size = max(3, round(grey.width * scale)), max(3, round(grey.height * scale))
        grey = grey.resize(size, Image.Resampling.BOX)
    values = np.asarray(grey, np.float32)
    variance = float(values.var())
    inner = values[1:-1, 1:-1]
    laplacian = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:] - 4 * inner
    sharpness = float(laplacian.var()) / variance if variance > 1 else 0.0
    return np.array([values.mean(), variance**0.5, sharpness, width, height, width / height], np.float32)


def find_outliers(
    keys: Sequence[str], table: Float32[np.ndarray, "n 6"], rule: OutlierRule | None = None
) -> list[Outlier]:
    """The pictures that stand out from the set, with one entry per reason, in the order of `keys`."""
    rule = rule or OutlierRule()
    if not len(table):
        return []
    brightness, contrast, sharpness, width, height, aspect = table.astype(np.float64).T
    log_sharpness, size = np.log(sharpness + 1e-4), width * height / 1e6
    is_plain = contrast < rule.flattest_contrast  # has no edges that could be blurred
    blurred_below = min(rule.blurred_sharpness, rule.blurred_ratio * float(np.median(sharpness)))
    findings = {
        "dark": (_is_low(brightness, rule.deviations) & (brightness < rule.darkest_brightness), brightness),
        "bright": (_is_low(-brightness, rule.deviations) & (brightness > rule.brightest_brightness), brightness),
        "flat": (_is_low(contrast, rule.deviations) & is_plain, contrast),
        "blurred": (_is_low(log_sharpness, rule.deviations) & (sharpness < blurred_below) & ~is_plain, sharpness),
        "unusual size": (_is_far(np.log(size), rule.deviations, rule.size_ratio), size),
        "unusual shape": (_is_far(np.log(aspect), rule.deviations, rule.shape_ratio), aspect),
    }
    return [
        Outlier(key, what, round(float(values[index]), 4))
        for index, key in enumerate(keys)
        for what, (stands_out, values) in findings.items()
        if stands_out[index]
    ]


def _spread(values: np.ndarray) -> float:
    return _NORMAL_SPREAD * float(np.median(np.abs(values - np.median(values))))


def _is_low(values: np.ndarray, deviations: float) -> np.ndarray:
    return values < np.median(values) - max(deviations * _spread(values), 1e-6)


def _is_far(logarithms: np.ndarray, deviations: float, ratio: float) -> np.ndarray:
    return np.abs(logarithms - np.median(logarithms)) > max(deviations * _spread(logarithms), np.log(ratio))
