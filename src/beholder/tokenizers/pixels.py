"""Image arrays to normalised pixels: the one copy of preprocessing that training, prediction and export share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor


@dataclass(frozen=True)
class PixelConfig:
    """How pixels enter a model; saved as `preprocess.json`."""

    size: int = 224
    """Side of the square that the model sees."""
    mean: tuple[float, float, float] = (127.0 / 255, 127.0 / 255, 127.0 / 255)
    std: tuple[float, float, float] = (128.0 / 255, 128.0 / 255, 128.0 / 255)
    """Both in units of a [0, 1] pixel; the defaults are EfficientNet-Lite's."""


def resize(image: UInt8[np.ndarray, "H W 3"], size: int) -> UInt8[np.ndarray, "size size 3"]:
    """Stretch to a square with antialiased bicubic filtering.

    Stretched, not cropped: what matters in a user's picture may lie at its edge.
    """
    if image.shape[:2] == (size, size):
        return image
    # reducing_gap=3 lets Pillow box-reduce large pictures first; the result differs by at most a grey level or two.
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC, reducing_gap=3.0))


def to_batch(images: list[np.ndarray]) -> UInt8[Tensor, "B 3 H W"]:
    """Stack equally sized H W 3 arrays, channels first (memory stays channels last, which convolutions prefer)."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def normalise(batch: UInt8[Tensor, "B 3 H W"], config: PixelConfig) -> Float[Tensor, "B 3 H W"]:
    """Bytes to floats of about zero mean and unit spread."""
    mean = torch.tensor(config.mean, device=batch.device).view(1, 3, 1, 1)
    std = torch.tensor(config.std, device=batch.device).view(1, 3, 1, 1)
    return (batch.float() / 255.0 - mean) / std
