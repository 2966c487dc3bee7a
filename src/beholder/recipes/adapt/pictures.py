"""Small pictures for the report: thumbnails and heat maps laid over them."""

from __future__ import annotations

import io

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

THUMBNAIL = 176


def thumbnail(image: UInt8[np.ndarray, "H W 3"]) -> bytes:
    """The image as a JPEG whose longer side is at most 176 pixels."""
    return _jpeg(_small(image))


def overlay(image: UInt8[np.ndarray, "H W 3"], heat: Float[np.ndarray, "G G"]) -> bytes:
    """The greyed thumbnail under a colour from blue-black (cold) to yellow (hot), readable without colour vision."""
    small = _small(image)
    picture = np.asarray(small.convert("L").convert("RGB"), np.float32)
    wide = np.asarray(Image.fromarray(heat.astype(np.float32)).resize(small.size, Image.Resampling.BICUBIC))
    value = np.clip(wide, 0, 1)[..., None]
    anchors = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], np.float32)  # inferno
    place = value * (len(anchors) - 1)
    lower = np.minimum(place.astype(int), len(anchors) - 2)
    colour = anchors[lower[..., 0]] * (1 - (place - lower)) + anchors[lower[..., 0] + 1] * (place - lower)
    strength = 0.25 + 0.5 * value
    return _jpeg(Image.fromarray((picture * (1 - strength) + colour * strength).astype(np.uint8)))


def _small(image: np.ndarray) -> Image.Image:
    picture = Image.fromarray(image)
    picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    return picture


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=82)
    return buffer.getvalue()
