"""Image arrays to normalised pixels: the one copy of preprocessing that training, prediction and export share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from beholder.types import UserError

Fit = Literal["stretch", "shortest", "none"]
Resampling = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
Picture = UInt8[np.ndarray, "_ _ 3"] | UInt8[np.ndarray, "_ _ 1"] | UInt8[np.ndarray, "_ _"]
"""H W 3, or H W 1 and H W for grey; a list of them may be of many sizes."""
Fitted = UInt8[np.ndarray, "_ _ 3"] | Float[np.ndarray, "_ _ 3"]

MAX_PIXELS = 100_000_000
"""A line of 1 x 100,000 pixels whose shorter side is made 224 long would have 5 billion."""


@dataclass(frozen=True)
class PixelConfig:
    """How pixels enter a model; saved as `preprocess.json`. Raises UserError for sizes and spreads below the possible.

    Steps, in this order: fit, crop, divide, subtract the mean, divide by the spread.
    """

    size: int | tuple[int, int] = 224
    """Side of the square that the model sees, or height and width; the shorter side where `fit` is "shortest"."""
    mean: tuple[float, float, float] = (127.0 / 255, 127.0 / 255, 127.0 / 255)
    std: tuple[float, float, float] = (128.0 / 255, 128.0 / 255, 128.0 / 255)
    """Both in units of a [0, 1] pixel; the defaults are EfficientNet-Lite's."""
    fit: Fit = "stretch"
    """"stretch" to `size` whatever the shape; "shortest": scale until the shorter side is `size`; "none": leave."""
    crop: int | tuple[int, int] | None = None
    """Side, or height and width, of what is cut from the middle after that; what is too small gets a black rim."""
    resampling: Resampling = "bicubic"
    """Antialiased when a picture gets smaller, except for "nearest"."""
    reducing_gap: float | None = 3.0
    """Pillow may first average whole blocks of pixels of a picture that is more than so many times larger: faster, and
    a grey level or two away from the plain way, which is None."""
    is_rounded: bool = True
    """Whether resampled values are bytes again; else fractions of a grey level are kept (DINOv3)."""
    divisor: float = 255.0
    """What brings bytes to the scale of `mean` and `std`."""

    def __post_init__(self) -> None:
        sides = (*_pair(self.size), *_pair(self.crop or 1))
        if min(sides) < 1 or self.crop == 0:
            raise UserError(f"size={self.size!r}, crop={self.crop!r}: a picture has at least one pixel a side.")
        if not self.divisor or not all(self.std):
            raise UserError(f"std={self.std!r}, divisor={self.divisor!r}: pixels cannot be divided by zero.")
        if self.fit == "shortest" and not isinstance(self.size, int):
            raise UserError(f"size={self.size!r}: the shorter side has one length; give one number.")


def resize(image: UInt8[np.ndarray, "H W 3"], size: int) -> UInt8[np.ndarray, "size size 3"]:
    """Stretch to a square with antialiased bicubic filtering.

    Stretched, not cropped: what matters in a user's picture may lie at its edge.
    """
    if image.shape[:2] == (size, size):
        return image
    # reducing_gap=3 lets Pillow box-reduce large pictures first; the result differs by at most a grey level or two.
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC, reducing_gap=3.0))


def fit(image: Picture, config: PixelConfig) -> Fitted:
    """A picture in the size that the configuration asks for, 0 to 255; a grey one becomes three equal colours.

    The same bytes as from the Pillow image processors of `transformers`. Raises UserError for a picture so long that
    the result would have more than `MAX_PIXELS`.
    """
    if image.ndim == 2 or image.shape[2] == 1:
        image = np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    height, width = target(image.shape[0], image.shape[1], config)
    if height * width > MAX_PIXELS:
        raise UserError(
            f"A picture of {image.shape[1]:,} x {image.shape[0]:,} pixels would become {width:,} x {height:,}, and the "
            f"limit is {MAX_PIXELS:,} pixels; cut it into pieces."
        )
    if (height, width) != image.shape[:2]:
        image = _resample(image, (width, height), config)
    return image if config.crop is None else _cut(image, _pair(config.crop))


def target(height: int, width: int, config: PixelConfig) -> tuple[int, int]:
    """Height and width after fitting, before cropping."""
    if config.fit == "none":
        return height, width
    if config.fit == "stretch":
        return _pair(config.size)
    assert isinstance(config.size, int)
    short, long = sorted((height, width))
    longer = int(config.size * long / short)
    return (longer, config.size) if width <= height else (config.size, longer)


def to_batch(images: Sequence[Fitted]) -> UInt8[Tensor, "B 3 H W"] | Float[Tensor, "B 3 H W"]:
    """Stack equally sized H W 3 arrays, channels first (memory stays channels last, which convolutions prefer)."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def normalise(
    batch: UInt8[Tensor, "B 3 H W"] | Float[Tensor, "B 3 H W"], config: PixelConfig
) -> Float[Tensor, "B 3 H W"]:
    """Bytes to floats of about zero mean and unit spread."""
    mean = torch.tensor(config.mean, device=batch.device).view(1, 3, 1, 1)
    std = torch.tensor(config.std, device=batch.device).view(1, 3, 1, 1)
    return (batch.float() / config.divisor - mean) / std


def prepare(images: Sequence[Picture], config: PixelConfig) -> Float[Tensor, "B 3 H W"]:
    """Pictures of any sizes as the model wants them.

    Raises UserError when they do not end up equally large, which happens without a square or a crop.
    """
    fitted = [fit(image, config) for image in images]
    sizes = sorted({image.shape[:2] for image in fitted})
    if not sizes:
        raise UserError("There are no images; give at least one.")
    if len(sizes) > 1:
        (height, width), (other_height, other_width) = sizes[:2]
        raise UserError(
            f"The images end up {width} x {height} and {other_width} x {other_height} pixels large, because this model "
            "keeps their shape; give images of one shape, or one at a time."
        )
    return normalise(to_batch(fitted), config)


def _resample(image: UInt8[np.ndarray, "H W 3"], size: tuple[int, int], config: PixelConfig) -> Fitted:
    how = Image.Resampling[config.resampling.upper()]
    if config.is_rounded:
        return np.asarray(Image.fromarray(image).resize(size, how, reducing_gap=config.reducing_gap))
    bands = [Image.fromarray(image[..., band].astype(np.float32)) for band in range(3)]
    return np.stack([np.asarray(band.resize(size, how, reducing_gap=config.reducing_gap)) for band in bands], axis=-1)


def _cut(image: Fitted, size: tuple[int, int]) -> Fitted:
    """The middle; of an odd remainder the larger half is left off below and right, and put on above and left."""
    (top, above), (left, before) = (
        (max(0, has - wanted) // 2, -(-max(0, wanted - has) // 2))
        for has, wanted in zip(image.shape[:2], size, strict=True)
    )
    middle = image[top : top + size[0], left : left + size[1]]
    if middle.shape[:2] == size:
        return middle
    whole = np.zeros((*size, 3), image.dtype)
    whole[above : above + middle.shape[0], before : before + middle.shape[1]] = middle
    return whole


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size
