"""What is in parts of an image: names that captions taught, classes of ImageNet, or any names that a model of images
and texts is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from beholder.models.names import Found, Named, Names
from beholder.models.seen import SeenTokens
from beholder.pretrained.catalogue import efficientnet_lite0
from beholder.pretrained.towers import imagenet_names
from beholder.runtime.device import Device
from beholder.tasks.shared_space import SharedSpace
from beholder.tasks.similarity import place_names
from beholder.tokenizers.pixels import PixelConfig, prepare

MOST_FOUND = 5
"""Things in an image that are told."""
LEAST_PROBABILITY = 0.25
"""Of a thing that is told."""

Namer = Callable[[np.ndarray, Sequence[np.ndarray]], Named]
"""From an image and its parts, H W 3 bytes, to what was found in which part."""


def by_captions(names: Names, vision: SeenTokens, pixels: PixelConfig, device: Device) -> Namer:
    """What captions taught; the models are on the device."""

    @torch.inference_mode()
    def name(image: np.ndarray, parts: Sequence[np.ndarray]) -> Named:
        with device.autocast():
            seen = vision(prepare([image, *parts], pixels).to(device.torch_device))[:, 0].float()
        return names.find(seen[0], seen[1:], LEAST_PROBABILITY, MOST_FOUND)

    return name


def by_classes(device: Device) -> Namer:
    """ImageNet's 1,000, by EfficientNet-Lite0. Raises UserError when a package with weights or names is missing."""
    names, pixels = imagenet_names(), PixelConfig()
    model = efficientnet_lite0(with_classifier=True).folded().to(device.torch_device)

    @torch.inference_mode()
    def name(image: np.ndarray, parts: Sequence[np.ndarray]) -> Named:
        with device.autocast():
            logits = model.classify(model(prepare(parts, pixels).to(device.torch_device))).float()
        return Named(best_of_each(logits.softmax(1).cpu(), names), {})

    return name


def by_space(space: SharedSpace, names: Sequence[str]) -> Namer:
    """Any names, without training. Raises UserError for none, or an empty one."""
    points = place_names(space, names)

    def name(image: np.ndarray, parts: Sequence[np.ndarray]) -> Named:
        return Named(best_of_each(space.probabilities(space.place_arrays(parts), points), names), {})

    return name


def best_of_each(probabilities: Float[Tensor, "K V"], names: Sequence[str]) -> list[Found]:
    """The likeliest name of each part where it is likely enough, each name in one part alone."""
    found: dict[str, Found] = {}
    for part, (value, place) in enumerate(zip(*probabilities.max(1), strict=True)):
        name = names[int(place)]
        if value >= LEAST_PROBABILITY and (name not in found or value > found[name].probability):
            found[name] = Found(part, name, float(value))
    return sorted(found.values(), key=lambda one: -one.probability)[:MOST_FOUND]
