"""Which of some names fit what is seen, in a whole image and in parts of it: what captions teach about images without a
box (Fang et al. 2015, arXiv 1411.4952)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class NamesConfig:
    """What can be named."""

    width: int
    """Of the summary of an image, or of a part."""
    names: tuple[str, ...]
    things: tuple[str, ...]
    """What each name is a name of: "person" for "man"."""


@dataclass(frozen=True)
class Found:
    """One thing that was found in an image."""

    region: int
    name: str
    probability: float
    """That people would name it so."""


@dataclass(frozen=True)
class Named:
    """What was found in an image, and what else may be there."""

    found: list[Found]
    """The likeliest first."""
    likely: Mapping[str, float]
    """That people would name each thing, by its likeliest name; nothing where that is not known."""


class Names(nn.Module):
    """Scores by one linear map; an image shows what it shows as a whole and in the part that shows it best."""

    def __init__(self, config: NamesConfig) -> None:
        super().__init__()
        assert len(config.names) == len(config.things), config
        self.config = config
        count = len(config.names)
        self.mean: Tensor
        self.spread: Tensor
        self.weight: Tensor
        self.bias: Tensor
        self.slope: Tensor
        self.offset: Tensor
        for name, value in (("mean", torch.zeros(config.width)), ("spread", torch.ones(config.width))):
            self.register_buffer(name, value)
        for name in ("bias", "slope", "offset"):
            self.register_buffer(name, torch.zeros(count))
        self.register_buffer("weight", torch.zeros(count, config.width))

    def forward(self, seen: Float[Tensor, "... C"]) -> Float[Tensor, "... V"]:
        """Scores of the names, for a whole image or a part."""
        return (seen - self.mean) / self.spread @ self.weight.T + self.bias

    def probabilities(self, whole: Float[Tensor, "B V"], parts: Float[Tensor, "B K V"]) -> Float[Tensor, "B V"]:
        """That people would say each name of the image, from its scores."""
        return (self.slope * evidence(whole, parts) + self.offset).sigmoid()

    def find(self, whole: Float[Tensor, " C"], parts: Float[Tensor, "K C"], least: float, most: int) -> Named:
        """What an image shows, from its summary and those of its parts."""
        score, scores = self(whole), self(parts)
        probabilities = self.probabilities(score[None], scores[None])[0]
        likely: dict[str, float] = {}
        for thing, value in zip(self.config.things, probabilities.tolist(), strict=True):
            likely[thing] = max(value, likely.get(thing, 0.0))
        return Named(find(self.config, probabilities, scores, least, most), likely)


def evidence(whole: Float[Tensor, "B V"], parts: Float[Tensor, "B K V"]) -> Float[Tensor, "B V"]:
    """That an image shows each name."""
    return whole + parts.amax(1)


def find(
    config: NamesConfig, probabilities: Float[Tensor, " V"], scores: Float[Tensor, "K V"], least: float, most: int
) -> list[Found]:
    """At most `most` names of at least the probability `least`, the likeliest first, each in the part that shows it
    best; of the names of one thing in one part only the likeliest."""
    best = scores.argmax(0).tolist()
    found: list[Found] = []
    taken: set[tuple[int, str]] = set()
    for place in probabilities.argsort(descending=True).tolist():
        probability, region = float(probabilities[place]), best[place]
        if probability < least or len(found) == most:
            break
        if (region, config.things[place]) not in taken:
            taken.add((region, config.things[place]))
            found.append(Found(region, config.names[place], probability))
    return found
