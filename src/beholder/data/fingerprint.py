"""What is kept of a picture to know it again: its grey in 32 x 32, its tint in 8 x 8, and a hash of its pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from beholder.types import Sample

SIDE = 32
TINT_SIDE = 8
HASH_BYTES = 16

# A triangle filter as wide as the reduction: a box of fractional width moves edges by up to half a cell, which cost a
# third of the matches between a picture and its half-size copy.
_FILTER = Image.Resampling.BILINEAR


def fingerprint(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "32 32"]:
    """Grey levels, area-averaged."""
    return np.asarray(Image.fromarray(image).convert("L").resize((SIDE, SIDE), _FILTER))


def tint(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "8 8 2"]:
    """Blue and red difference (Cb, Cr; 128 is grey), area-averaged: what tells a red heart from a blue one."""
    small = Image.fromarray(image).resize((TINT_SIDE, TINT_SIDE), _FILTER, reducing_gap=3.0)
    return np.ascontiguousarray(np.asarray(small.convert("YCbCr"))[..., 1:])


def content_hash(sample: Sample) -> str:
    """16 hexadecimal digits of the encoded file's SHA-256: equal for copies, whatever their names."""
    content = sample.data if sample.data is not None else Path(sample.path or "").read_bytes()
    return hashlib.sha256(content).hexdigest()[:16]


def content_hashes(samples: Sequence[Sample], num_workers: int) -> list[str]:
    """Of all of them."""
    with ThreadPoolExecutor(num_workers) as pool:
        return list(pool.map(content_hash, samples))


def pixel_hash(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, " 16"]:
    """blake2b of shape and pixels: equal for equal pixels, whatever the file format."""
    digest = hashlib.blake2b(str(image.shape).encode(), digest_size=HASH_BYTES)
    digest.update(np.ascontiguousarray(image).data)
    return np.frombuffer(digest.digest(), np.uint8)
