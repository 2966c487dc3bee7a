"""A model that reads pictures, in the three parts that an export joins: preprocessing, network, answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from beholder.backends.outputs import cast as cast_numbers
from beholder.backends.outputs import frozen_copy
from beholder.models.describer import Describer
from beholder.models.domain import DomainModel
from beholder.models.embedder import Embedder
from beholder.models.gpt import GPT
from beholder.models.heads import describe
from beholder.pretrained.bundle import Bundle
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.pretrained.part_folder import Part, need_whole
from beholder.runtime.device import Device
from beholder.tasks.image_encoder import open_encoder
from beholder.tasks.shared_space import open_space
from beholder.tasks.similarity import place_names
from beholder.tokenizers.pixels import PixelConfig, prepare
from beholder.tokenizers.pixels_in_graph import PixelsInGraph
from beholder.trunk.attention import SelfAttention
from beholder.types import Outputs, UserError

EMBEDDING, PROBABILITIES, DISTANCE = "embedding", "probabilities", "distance"


@dataclass(frozen=True)
class Exportable:
    """What is exported, and what it has to equal; on the CPU, in fp32."""

    pixels: tuple[PixelConfig, ...]
    """Of the network's inputs."""
    network: nn.Module
    """Pixels, a tensor a configuration, to a tuple of features; nearly all of the work, and all that is made less
    precise."""
    answers: nn.Module
    """Features, one by one, to a tuple of outputs."""
    outputs: tuple[str, ...]
    """Names of the outputs."""
    labels: tuple[str, ...] = ()
    threshold: float | None = None
    """The distance from which a picture is unusual."""

    @property
    def is_transformer(self) -> bool:
        return any(isinstance(part, SelfAttention) for part in self.network.modules())

    @property
    def num_bytes(self) -> int:
        """Of all values."""
        parts = (self.network, self.answers)
        values = {id(value): value for part in parts for value in (*part.parameters(), *part.buffers())}
        return sum(value.numel() * value.element_size() for value in values.values())

    def read(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> tuple[Float[Tensor, "B 3 _ _"], ...]:
        return tuple(prepare(images, config) for config in self.pixels)

    @torch.inference_mode()
    def ask(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> dict[str, np.ndarray]:
        """What the original says of pictures of any sizes, a row each."""
        found = self.answers(*self.network(*self.read(images)))
        return {name: tensor.numpy() for name, tensor in zip(self.outputs, found, strict=True)}


class Preprocessing(nn.Module):
    """Pictures of one size as bytes (B H W 3) to what the network reads."""

    def __init__(self, configs: Sequence[PixelConfig], by_products: bool = False) -> None:
        super().__init__()
        self.sizes = nn.ModuleList(PixelsInGraph(config, by_products) for config in configs)

    def forward(self, pictures: UInt8[Tensor, "B H W 3"]) -> tuple[Float[Tensor, "B 3 _ _"], ...]:
        return tuple(one(pictures) for one in self.sizes)


class Pipeline(nn.Module):
    """From bytes to answers; the network runs in `dtype`. `by_products` as in `PixelsInGraph`."""

    def __init__(self, model: Exportable, dtype: torch.dtype = torch.float32, by_products: bool = False) -> None:
        super().__init__()
        self.dtype = dtype
        self.preprocessing = Preprocessing(model.pixels, by_products)
        self.network = frozen_copy(model.network, dtype)
        self.answers = frozen_copy(model.answers)

    def forward(self, pictures: UInt8[Tensor, "B H W 3"]) -> tuple[Tensor, ...]:
        pixels = cast_numbers(self.preprocessing(pictures), self.dtype)
        return self.answers(*(features.float() for features in self.network(*pixels)))


def open_exportable(model: Bundle | Foreign | Part, names: Sequence[str], device: Device) -> Exportable:
    """The model's parts; a model of images and texts becomes a classifier of `names`.

    Raises UserError for a model that reads no pictures, names for one that reads no texts, and preprocessing that
    graphs have no operations for.
    """
    model = need_whole(model)
    if isinstance(model, Bundle):
        if names:
            raise UserError("--names: a model that adapt made has classes of its own and reads no texts; leave it out.")
        return _checked(_of_domain(model))
    if isinstance(model.model, Describer | GPT):
        raise UserError(
            f"{model.source} ({model.kind}) writes, and what only reads pictures is exported; serve it, or name a "
            "model of adapt, or one such as embedded, CLIP, DINO or a ViT."
        )
    encoder, pixels = open_encoder(model, device), (model.need_pixels(),)
    network, answers = _OneFeature(encoder.network), _Placed(encoder.finish)
    if not names:
        return _checked(Exportable(pixels, network, answers, (EMBEDDING,)))
    if len(names) < 2 or len(set(names)) < len(names):
        raise UserError(f"--names {','.join(names)}: give at least two different names of classes.")
    space = open_space(model, device)
    scale = float(space.model.logit_scale.detach().exp())
    bias = None if space.model.logit_bias is None else float(space.model.logit_bias.detach())
    classes = _Named(encoder.finish, place_names(space, names), scale, bias)
    return _checked(Exportable(pixels, network, classes, (EMBEDDING, PROBABILITIES), tuple(names)))


def _of_domain(bundle: Bundle) -> Exportable:
    model, network = bundle.model, _Maps(bundle.model.embedder)
    outputs = [EMBEDDING, *([PROBABILITIES] if model.head is not None else [])]
    threshold = None
    if model.usual is not None:
        outputs.append(DISTANCE)
        threshold = model.usual.threshold(float(bundle.facts["false_alarm_rate"]))
    sides, like = model.config.embedder.resolutions, bundle.pixels
    pixels = tuple(PixelConfig(side, like.mean, like.std) for side in sides)
    return Exportable(pixels, network, _Domain(model), tuple(outputs), bundle.labels, threshold)


def _checked(model: Exportable) -> Exportable:
    Preprocessing(model.pixels)  # refuses what a graph cannot do before anything is computed
    return model


class _Maps(nn.Module):
    """What the backbones see; means, maxima and spreads of it lose too much in 8 bits."""

    def __init__(self, embedder: Embedder) -> None:
        super().__init__()
        self.embedder = embedder

    def forward(self, *pixels: Tensor) -> tuple[Tensor, ...]:
        return tuple(features for outputs in self.embedder.outputs(pixels) for features in outputs.maps)


class _Domain(nn.Module):
    def __init__(self, model: DomainModel) -> None:
        super().__init__()
        self.projection, self.head, self.usual = model.embedder.projection, model.head, model.usual

    def forward(self, *maps: Float[Tensor, "B _ _ _"]) -> tuple[Tensor, ...]:
        embedding = self.projection(describe(Outputs(maps, maps[-1])))
        found = [embedding]
        if self.head is not None:
            found.append(torch.softmax(self.head(embedding), dim=1))
        if self.usual is not None:
            found.append(self.usual(embedding))
        return tuple(found)


class _OneFeature(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        return (self.network(pixels),)


class _Placed(nn.Module):
    def __init__(self, finish: nn.Module) -> None:
        super().__init__()
        self.finish = finish

    def forward(self, features: Float[Tensor, "B F"]) -> tuple[Tensor, ...]:
        return (self.finish(features),)


class _Named(nn.Module):
    """Texts are read once, before: what is left of them is a matrix."""

    def __init__(self, finish: nn.Module, points: Float[Tensor, "Q C"], scale: float, bias: float | None) -> None:
        super().__init__()
        self.finish, self.scale, self.bias = finish, scale, bias
        self.register_buffer("points", points)
        self.points: Tensor

    def forward(self, features: Float[Tensor, "B F"]) -> tuple[Tensor, ...]:
        embedding = self.finish(features)
        scores = self.scale * embedding @ self.points.T
        shares = scores.softmax(1) if self.bias is None else (scores + self.bias).sigmoid()
        return embedding, shares
