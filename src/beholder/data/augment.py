"""Random views of images, a whole batch at a time, as a function of one generator.

All colour changes of an image are one 3 x 3 matrix and one offset, so that jitter costs a single product; crops are
resized from bytes, where torch is fastest on a CPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional as F

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class AugmentConfig:
    """What may happen to a view, and how often. Probabilities and strengths of 0 switch a change off."""

    size: int = 224
    """Side of a view in pixels."""
    crop_area: tuple[float, float] = (0.25, 1.0)
    """Smallest and largest share of the image that a crop covers."""
    crop_ratio: tuple[float, float] = (0.75, 4 / 3)
    """Smallest and largest width / height of a crop."""
    horizontal_flip: float = 0.5
    """Probability; the same below."""
    vertical_flip: float = 0.0
    quarter_turn: float = 0.0
    """Probability of a turn by 90, 180 or 270 degrees, for pictures without an up."""
    jitter: float = 0.8
    """Probability that brightness, contrast, saturation and hue change."""
    brightness: float = 0.4
    """A view's light is multiplied by a factor from [1 - this, 1 + this]; contrast and saturation likewise."""
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.05
    """Colours turn around the grey axis by up to this share of a full turn, either way."""
    grey: float = 0.2
    blur: float = 0.2
    blur_sigma: tuple[float, float] = (0.2, 1.0)
    """Smallest and largest spread of the blur, in pixels of the view."""
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """Subtracted from each channel of a [0, 1] pixel."""
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """Divides each channel after that."""


def augment(
    images: UInt8[Tensor, "B 3 H W"], config: AugmentConfig, generator: torch.Generator
) -> Float[Tensor, "B 3 size size"]:
    """One random normalised view of each image: crop, flips and turns, colour, blur, in this order.

    After inception's crops (Szegedy et al. 2014, arXiv 1409.4842) and SimCLR's colours (Chen et al. 2020,
    arXiv 2002.05709). Equal images, configuration and generator state give equal views.
    """
    views = _crop(images, config, generator)
    views = _turn(views, config, generator)
    pixels = _recolour(views.float().div_(255.0), config, generator)
    pixels = _blur(pixels, config, generator)
    mean = torch.tensor(config.mean).view(1, 3, 1, 1)
    std = torch.tensor(config.std).view(1, 3, 1, 1)
    return pixels.sub_(mean).div_(std)


def _uniform(count: int, bounds: tuple[float, float], generator: torch.Generator) -> Float[Tensor, " B"]:
    low, high = bounds
    return low + (high - low) * torch.rand(count, generator=generator)


def _chosen(count: int, probability: float, generator: torch.Generator) -> Bool[Tensor, " B"]:
    return torch.rand(count, generator=generator) < probability


def _crop(
    images: UInt8[Tensor, "B 3 H W"], config: AugmentConfig, generator: torch.Generator
) -> UInt8[Tensor, "B 3 size size"]:
    count, _, height, width = images.shape
    if height == width == config.size and config.crop_area == config.crop_ratio == (1.0, 1.0):
        return images.clone()
    area = _uniform(count, config.crop_area, generator) * height * width
    low, high = config.crop_ratio
    ratio = _uniform(count, (math.log(low), math.log(high)), generator).exp()
    widths = (area * ratio).sqrt().round().clamp(1, width).long()
    heights = (area / ratio).sqrt().round().clamp(1, height).long()
    tops = (torch.rand(count, generator=generator) * (height - heights + 1)).long()
    lefts = (torch.rand(count, generator=generator) * (width - widths + 1)).long()
    views = torch.empty(count, 3, config.size, config.size, dtype=torch.uint8)
    boxes = zip(tops.tolist(), lefts.tolist(), heights.tolist(), widths.tolist(), strict=True)
    for index, (top, left, tall, wide) in enumerate(boxes):
        part = images[index : index + 1, :, top : top + tall, left : left + wide]
        views[index] = F.interpolate(part, (config.size, config.size), mode="bilinear", antialias=True)[0]
    return views


def _turn(
    views: UInt8[Tensor, "B 3 S S"], config: AugmentConfig, generator: torch.Generator
) -> UInt8[Tensor, "B 3 S S"]:
    count = len(views)
    for probability, axis in ((config.horizontal_flip, 3), (config.vertical_flip, 2)):
        chosen = _chosen(count, probability, generator)
        views[chosen] = views[chosen].flip(axis)
    is_turned = _chosen(count, config.quarter_turn, generator)
    turns = torch.randint(1, 4, (count,), generator=generator) * is_turned
    for number in (1, 2, 3):
        chosen = turns == number
        if chosen.any():
            views[chosen] = views[chosen].rot90(number, (2, 3))
    return views


def _recolour(
    pixels: Float[Tensor, "B 3 S S"], config: AugmentConfig, generator: torch.Generator
) -> Float[Tensor, "B 3 S S"]:
    """Brightness, contrast, saturation and hue, or grey, as one affine map per image; the result lies in [0, 1]."""
    if config.jitter == config.grey == 0.0:
        return pixels
    count = len(pixels)
    is_jittered = _chosen(count, config.jitter, generator).float()
    spans = (config.brightness, config.contrast, config.saturation)
    light, contrast, saturation = (1.0 + is_jittered * _uniform(count, (-span, span), generator) for span in spans)
    angle = 2 * math.pi * is_jittered * _uniform(count, (-config.hue, config.hue), generator)
    saturation = saturation * ~_chosen(count, config.grey, generator)

    luma = torch.tensor(_LUMA)
    level = pixels.mean((2, 3)) @ luma  # B, each image's mean grey
    to_grey = torch.ones(3, 1) * luma  # 3 3: every channel becomes the luma
    matrix = saturation[:, None, None] * (torch.eye(3) - to_grey) + to_grey  # B 3 3
    matrix = _hue_rotation(angle) @ matrix * (light * contrast)[:, None, None]
    offset = (1.0 - contrast) * light * level  # grey, so neither saturation nor hue moves it
    recoloured = torch.baddbmm(offset[:, None, None], matrix, pixels.flatten(2))
    return recoloured.clamp_(0.0, 1.0).view_as(pixels)


def _hue_rotation(angle: Float[Tensor, " B"]) -> Float[Tensor, "B 3 3"]:
    """Rotation in the chroma plane of YIQ, which keeps the luma and every grey."""
    to_yiq = torch.tensor([[*_LUMA], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
    turn = torch.zeros(len(angle), 3, 3)
    turn[:, 0, 0] = 1.0
    turn[:, 1, 1] = turn[:, 2, 2] = angle.cos()
    turn[:, 1, 2], turn[:, 2, 1] = -angle.sin(), angle.sin()
    return torch.linalg.inv(to_yiq) @ turn @ to_yiq


def _blur(
    pixels: Float[Tensor, "B 3 S S"], config: AugmentConfig, generator: torch.Generator
) -> Float[Tensor, "B 3 S S"]:
    """Gaussian blur of the chosen images, each with its own spread."""
    count = len(pixels)
    chosen = _chosen(count, config.blur, generator)
    sigma = _uniform(count, config.blur_sigma, generator)[chosen]
    if not chosen.any():
        return pixels
    radius = min(math.ceil(2 * config.blur_sigma[1]), config.size - 1)
    offsets = torch.arange(-radius, radius + 1)
    kernels = torch.exp(-0.5 * (offsets / sigma[:, None].clamp_min(1e-3)) ** 2)  # n k
    kernels = (kernels / kernels.sum(1, keepdim=True)).repeat_interleave(3, dim=0)  # 3n k
    layers = F.pad(pixels[chosen], (radius,) * 4, mode="reflect").flatten(0, 1)[None]  # 1 3n h w
    layers = F.conv2d(layers, kernels[:, None, None, :], groups=len(kernels))
    layers = F.conv2d(layers, kernels[:, None, :, None], groups=len(kernels))
    pixels[chosen] = layers[0].unflatten(0, (-1, 3))
    return pixels
