"""Images and texts in one space out of parts that were trained apart: what such a model offers, and two ways to it.

`ConvexNames` needs no training: an image lies where the names of what it may show lie. `LockedPair` leaves both towers
as they are and learns a map on top of each.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard, cast, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.models.bert import BERT
from beholder.models.conv import EfficientNetLite
from beholder.models.heads import describe

_SMALLEST_SPREAD = 1e-4
"""Below it a feature is a constant with rounding in it."""


@runtime_checkable
class PairModel(Protocol):
    """What a model of one space offers; all are torch modules (CLIP, SigLIP, `ConvexNames`, `LockedPair`)."""

    @property
    def logit_scale(self) -> Tensor:
        """Logarithm of the factor on cosines."""
        ...

    @property
    def logit_bias(self) -> Tensor | None:
        """Added to scores where each pair is judged by itself; None where texts compete."""
        ...

    def encode_images(self, pixels: Tensor) -> Tensor:
        """B 3 H W to rows of unit length."""
        ...

    def encode_texts(self, tokens: Tensor, is_real: Tensor | None = None) -> Tensor:
        """B T to rows of unit length."""
        ...


def is_pair_model(model: object) -> TypeGuard[PairModel]:
    """Whether a model offers that. `isinstance` would not do: since Python 3.12 it looks past the `__getattr__` by
    which torch's modules answer for their parameters."""
    return all(hasattr(model, name) for name in ("encode_images", "encode_texts", "logit_scale", "logit_bias"))


@dataclass(frozen=True)
class NamedClassesConfig:
    """How a classifier's scores become a point among texts."""

    num_classes: int = 1000
    width: int = 384
    """Of the texts' space."""
    num_kept: int = 10
    """The likeliest classes, whose names count."""
    temperature: float = 2.0
    """What scores are divided by; 1 is as published, where the likeliest name often counts for all. Chosen on
    Caltech-101."""


class NamedClasses(nn.Module):
    """A classifier's scores as a point among texts: the mean of the points of the likeliest class names, weighted by
    their probability (ConSE: Norouzi et al. 2013, arXiv 1312.5650)."""

    def __init__(self, config: NamedClassesConfig = NamedClassesConfig()) -> None:
        super().__init__()
        assert 0 < config.num_kept <= config.num_classes and config.temperature > 0, config
        self.config = config
        self.register_buffer("points", torch.zeros(config.num_classes, config.width))
        self.points: Tensor

    def forward(self, logits: Float[Tensor, "B V"]) -> Float[Tensor, "B D"]:
        """Points of unit length."""
        shares = (logits.float() / self.config.temperature).softmax(1)
        kept, classes = shares.topk(self.config.num_kept, dim=1)  # B k
        return F.normalize((kept[:, :, None] * self.points[classes]).sum(1), dim=1)


class ConvexNames(nn.Module):
    """ConSE: a frozen classifier of images and a frozen reader of sentences, and nothing that was trained on pairs."""

    def __init__(
        self, backbone: EfficientNetLite, reader: BERT, names: NamedClasses, logit_scale: float = math.log(20.0)
    ) -> None:
        super().__init__()
        self.backbone, self.reader, self.names = backbone, reader, names
        self.register_buffer("logit_scale", torch.tensor(logit_scale))
        self.logit_scale: Tensor
        self.logit_bias: Tensor | None = None

    def encode_images(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D"]:
        """Points of unit length."""
        return self.names(self.backbone.classify(self.backbone(pixels)))

    def encode_texts(
        self, tokens: Int[Tensor, "B T"], is_real: Bool[Tensor, "B T"] | None = None
    ) -> Float[Tensor, "B D"]:
        """Points of unit length."""
        return self.reader.sentence(tokens, is_real)


class FrozenImages(nn.Module):
    """All that a frozen backbone says of an image, side by side: every map pooled, the summary, and with `names` the
    point where its classifier would put it."""

    def __init__(self, backbone: nn.Module, names: NamedClasses | None = None) -> None:
        super().__init__()
        self.backbone, self.names = backbone, names
        self.requires_grad_(False)

    @property
    def width(self) -> int:
        backbone = cast(Any, self.backbone)
        anchor = 0 if self.names is None else self.names.config.width
        return 3 * sum(backbone.map_widths) + backbone.summary_width + anchor

    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B F"]:
        outputs = self.backbone(pixels)
        parts = [describe(outputs), outputs.summary.float()]
        if self.names is not None:
            parts.append(self.names(cast(EfficientNetLite, self.backbone).classify(outputs)))
        return torch.cat(parts, dim=1)


class FrozenTexts(nn.Module):
    """A frozen reader's sentence."""

    def __init__(self, reader: BERT) -> None:
        super().__init__()
        self.reader = reader
        self.requires_grad_(False)

    @property
    def width(self) -> int:
        return self.reader.config.trunk.width

    def forward(self, tokens: Int[Tensor, "B T"], is_real: Bool[Tensor, "B T"] | None = None) -> Float[Tensor, "B D"]:
        return self.reader.sentence(tokens, is_real).float()


@dataclass(frozen=True)
class PairMapsConfig:
    """Shape of the maps on top of two frozen towers."""

    image_width: int
    text_width: int
    width: int = 256
    """Of the space."""
    hidden_width: int = 0
    """Of a layer between, in the image's map; 0: the map is linear."""
    has_text_map: bool = True
    """Whether texts are mapped too, or only centred."""
    is_anchored: bool = False
    """Whether the last `text_width` features of an image are a point among the texts already; what is learned is then
    added to that point, and to the text's, so that an untrained map leaves both where they are."""
    dropout: float = 0.0
    """Share of an image's features that a training step does not see."""
    logit_scale: float = math.log(20.0)
    logit_bias: float | None = None


class PairMaps(nn.Module):
    """The two maps, from features to the space; a `PairModel` whose pixels and tokens are features."""

    def __init__(self, config: PairMapsConfig) -> None:
        super().__init__()
        is_text_space = config.width == config.text_width
        assert is_text_space or not config.is_anchored, "a point that is moved stays in its space"
        assert is_text_space or config.has_text_map, "texts that are not mapped stay in their space"
        self.config = config
        for name, width in (("image", config.image_width), ("text", config.text_width)):
            self.register_buffer(f"{name}_mean", torch.zeros(width))
            self.register_buffer(f"{name}_scale", torch.ones(width))
        self.image_mean: Tensor
        self.image_scale: Tensor
        self.text_mean: Tensor
        self.text_scale: Tensor
        silent = config.is_anchored
        self.image_map = _map(config.image_width, config.hidden_width, config.width, starts_silent=silent)
        self.text_map = _map(config.text_width, 0, config.width, starts_silent=silent) if config.has_text_map else None
        self.logit_scale = nn.Parameter(torch.tensor(config.logit_scale))
        self.logit_bias = None if config.logit_bias is None else nn.Parameter(torch.tensor(config.logit_bias))

    @torch.no_grad()
    def standardise(self, images: Float[Tensor, "n F"], texts: Float[Tensor, "m D"]) -> None:
        """Take mean and spread from these features; what never varies is only centred."""
        for name, features in (("image", images), ("text", texts)):
            spread = features.std(0, correction=0)
            self.get_buffer(f"{name}_mean").copy_(features.mean(0))
            self.get_buffer(f"{name}_scale").copy_(torch.where(spread > _SMALLEST_SPREAD, spread, 1.0))

    @torch.no_grad()
    def blend(self, share: float) -> None:
        """Go back towards the untrained maps until this share of what was learned is left (Wortsman et al. 2021, arXiv
        2109.01903: what is forgotten comes back faster than what was learned goes)."""
        assert self.config.is_anchored and not self.config.hidden_width, "only a sum can be blended"
        for linear in (self.image_map[-1], *([] if self.text_map is None else [self.text_map[-1]])):
            for parameter in linear.parameters():
                parameter.mul_(share)

    def encode_images(self, features: Float[Tensor, "B F"]) -> Float[Tensor, "B C"]:
        """Points of unit length."""
        seen = (features - self.image_mean) / self.image_scale / self.config.image_width**0.5  # of length about 1
        moved = self.image_map(F.dropout(seen, self.config.dropout, self.training))
        if self.config.is_anchored:
            moved = moved + features[:, -self.config.text_width :] - self.text_mean
        return F.normalize(moved, dim=1)

    def encode_texts(
        self, features: Float[Tensor, "B D"], is_real: Bool[Tensor, "B ..."] | None = None
    ) -> Float[Tensor, "B C"]:
        """Points of unit length; features have no padding, so that nothing is asked of `is_real`."""
        centred = features - self.text_mean
        if self.text_map is None:
            return F.normalize(centred, dim=1)
        moved = self.text_map(centred / self.text_scale / self.config.text_width**0.5)
        return F.normalize(moved + centred if self.config.is_anchored else moved, dim=1)


@runtime_checkable
class Maps(Protocol):
    """What stands on top of two towers: a `PairModel` whose pixels and tokens are features. A torch module."""

    config: Any
    """Has `image_width` and `text_width`."""

    def encode_images(self, features: Tensor) -> Tensor: ...

    def encode_texts(self, features: Tensor, is_real: Tensor | None = None) -> Tensor: ...

    def state_dict(self) -> dict[str, Any]: ...


class LockedPair(nn.Module):
    """Frozen towers and trained maps (locked towers: Zhai et al. 2021, arXiv 2111.07991)."""

    def __init__(self, images: FrozenImages, texts: FrozenTexts, maps: Maps) -> None:
        super().__init__()
        widths = images.width, texts.width
        wanted = maps.config.image_width, maps.config.text_width
        assert widths == wanted, f"towers of {widths} features, maps for {wanted}"
        self.images, self.texts, self.maps = images, texts, maps

    @property
    def logit_scale(self) -> Tensor:
        return cast(PairModel, self.maps).logit_scale

    @property
    def logit_bias(self) -> Tensor | None:
        return cast(PairModel, self.maps).logit_bias

    def encode_images(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C"]:
        """Points of unit length."""
        return self.maps.encode_images(self.images(pixels))

    def encode_texts(
        self, tokens: Int[Tensor, "B T"], is_real: Bool[Tensor, "B T"] | None = None
    ) -> Float[Tensor, "B C"]:
        """Points of unit length."""
        return self.maps.encode_texts(self.texts(tokens, is_real))


def _map(num_inputs: int, hidden_width: int, width: int, *, starts_silent: bool) -> nn.Sequential:
    widths = [num_inputs, hidden_width, width] if hidden_width else [num_inputs, width]
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        linear = nn.Linear(inputs, outputs)
        nn.init.normal_(linear.weight, std=0.05)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.GELU()]
    last = layers[-2]
    assert isinstance(last, nn.Linear)
    if starts_silent:
        nn.init.zeros_(last.weight)
    return nn.Sequential(*layers[:-1])
