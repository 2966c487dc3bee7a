"""The heavy part of a model that places pictures, so that it can be run in a faster way than torch's own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any, Literal, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.backends.choose import Prepared, prepare
from beholder.backends.outputs import Backend, Precision
from beholder.data.decode import Limits, Unreadable, decode
from beholder.models.clip import CLIP
from beholder.models.embedder import Embedder
from beholder.models.pairs import LockedPair
from beholder.models.vit import ViT
from beholder.pretrained.bundle import Bundle
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.pretrained.part_folder import Part, need_whole
from beholder.runtime.device import Device
from beholder.tasks.embed import BATCH_SIZE, to_pixels
from beholder.tasks.search import Finder
from beholder.tasks.shared_space import open_space
from beholder.tokenizers.pixels import prepare as prepare_pixels
from beholder.types import Sample, UserError

NUM_EXAMPLES = 32
"""Pictures from which 8 bits take the ranges of activations."""


@dataclass(frozen=True)
class Way:
    """How pictures are embedded."""

    backend: Backend | Literal["auto"] = "plain"
    precision: Precision | None = None
    """None: as the device multiplies fastest."""
    may_differ: float | None = None
    """How far outputs may lie from the model's own in fp32, as `backends.outputs.BOUNDS`, which hold if None."""

    def __str__(self) -> str:
        return self.backend if self.precision is None else f"{self.backend} in {self.precision}"


PLAIN = Way()
"""torch, as every other verb runs a model."""


def way_of(
    backend: Backend | Literal["auto"] | None, precision: Precision | None, may_differ: float | None = None
) -> Way:
    """What the options ask for: plain without any, and what is fastest where a precision alone is given."""
    return PLAIN if backend is None and precision is None else Way(backend or "auto", precision, may_differ)


@dataclass(frozen=True)
class ImageEncoder:
    """A model that makes points of pictures, in three parts."""

    read: Callable[[Sequence[np.ndarray]], tuple[Float[Tensor, "B 3 _ _"], ...]]
    """Decoded pictures (H W 3 bytes) to pixels: a tensor, or one a resolution."""
    network: nn.Module
    """Pixels to features; nearly all of the work."""
    finish: nn.Module
    """Features to points of length 1, in fp32: B F to B C."""


def open_encoder(model: Foreign | Bundle | Part, device: Device) -> ImageEncoder:
    """The model's parts. Raises UserError when it reads no pictures, or came without its preprocessing."""
    model = need_whole(model)
    if isinstance(model, Bundle):
        embedder = model.model.embedder
        return ImageEncoder(
            lambda images: tuple(to_pixels(model, images, device)),
            _Described(embedder),
            nn.Sequential(embedder.projection, Unit()),
        )
    if isinstance(model.model, ViT):
        network, finish = _Summary(model.model), Unit()
    else:
        network, finish = _tower(cast(nn.Module, open_space(model, device).model))
    pixels = model.need_pixels()
    return ImageEncoder(lambda images: (prepare_pixels(images, pixels),), network, finish)


@dataclass(frozen=True)
class FastEncoder:
    """An encoder whose network runs in another way."""

    encoder: ImageEncoder
    prepared: Prepared

    @property
    def way(self) -> Way:
        """Which one it is, also where "auto" was asked."""
        return Way(self.prepared.backend, self.prepared.precision)

    @torch.inference_mode()
    def features(self, images: Sequence[np.ndarray]) -> Float[Tensor, "B F"]:
        """What the network says of decoded pictures, in fp32."""
        return self.prepared(*self.encoder.read(images))

    @torch.inference_mode()
    def place(self, images: Sequence[np.ndarray]) -> Float[Tensor, "B C"]:
        """Points of length 1."""
        return self.encoder.finish(self.features(images))


def open_fast(model: Foreign | Bundle | Part, device: Device, way: Way, pictures: Sequence[np.ndarray]) -> FastEncoder:
    """The model's encoder in that way. `pictures` are decoded ones of the kind that will follow: the loss is measured,
    and ranges of 8 bits are taken, on them. Raises UserError when the device is no CPU, and as `prepare` does."""
    if device.torch_device.type != "cpu":
        raise UserError(
            f"--backend {way.backend}: backends run on the CPU, not on {device.torch_device}; add --device cpu, or "
            "leave --backend and --precision out."
        )
    encoder = open_encoder(model, device)
    precision = way.precision or native_precision(device, way.backend)
    count = NUM_EXAMPLES if precision == "int8" else BATCH_SIZE
    examples = encoder.read(list(islice(cycle(pictures), count)))
    return FastEncoder(encoder, prepare(encoder.network, examples, way.backend, precision, way.may_differ))


def hasten(
    finder: Finder, model: Foreign | Bundle | Part, device: Device, way: Way, pictures: Sequence[np.ndarray]
) -> tuple[Finder, Way]:
    """The finder that embeds its `pictures` in that way, and which one it is. Raises UserError as `open_fast` does."""
    fast = open_fast(model, device, way, pictures)
    return replace(finder, place_arrays=fast.place), fast.way


def first_samples(samples: Iterable[Sample], limits: Limits) -> list[tuple[Sample, np.ndarray]]:
    """The first dozens that can be read, each with its decoded picture."""

    def readable() -> Iterator[tuple[Sample, np.ndarray]]:
        for sample in samples:
            with contextlib.suppress(Unreadable):
                yield sample, decode(sample, limits)

    return list(islice(readable(), NUM_EXAMPLES))


def native_precision(device: Device, backend: Backend | Literal["auto"]) -> Precision:
    """What the device multiplies fastest, as far as the backend can."""
    return "bf16" if device.compute_dtype == torch.bfloat16 and backend != "onnxruntime" else "fp32"


def _tower(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Of a model of one space: what reads pixels, without what reads texts."""
    if isinstance(model, CLIP):
        return model.image, Unit()
    if isinstance(model, LockedPair):
        return model.images, _Joined(cast(nn.Module, model.maps))
    return _Encoded(model), Unit()


class Unit(nn.Module):
    """Rows of length 1."""

    def forward(self, features: Tensor) -> Tensor:
        return F.normalize(features, dim=1)


class _Joined(nn.Module):
    def __init__(self, maps: nn.Module) -> None:
        super().__init__()
        self.maps: Any = maps

    def forward(self, features: Tensor) -> Tensor:
        return self.maps.encode_images(features)


class _Described(nn.Module):
    def __init__(self, embedder: Embedder) -> None:
        super().__init__()
        self.embedder = embedder

    def forward(self, *pixels: Tensor) -> Tensor:
        return self.embedder.describe(pixels)


class _Summary(nn.Module):
    def __init__(self, vit: ViT) -> None:
        super().__init__()
        self.vit = vit

    def forward(self, pixels: Tensor) -> Tensor:
        return self.vit(pixels).summary


class _Encoded(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model.encode_images(pixels)
