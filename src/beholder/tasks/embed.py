"""Images to embeddings, in batches: what every other task of a domain model begins with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from beholder.data.decode import Limits, Unreadable, decode
from beholder.data.sources import read_source
from beholder.data.tones import to_rgb
from beholder.pretrained.bundle import Bundle
from beholder.runtime.device import Device, pick_device
from beholder.tokenizers.pixels import normalise, resize, to_batch
from beholder.types import Sample

ImageInput = str | Path | Sample | Image.Image | np.ndarray
"""A file, a sample, a Pillow image, or H W 3 bytes."""

BATCH_SIZE = 16


@dataclass(frozen=True)
class Embedded:
    """One image as the model sees it, or why it cannot be seen."""

    key: str
    image: np.ndarray | None
    """H W 3 bytes."""
    embedding: Float[Tensor, " D"] | None
    refused: str | None = None


def each(images: ImageInput | Iterable[ImageInput]) -> Iterator[ImageInput]:
    """One input or many, one by one; a folder stands for the images in it, whatever its layout."""
    if isinstance(images, str | Path | Sample | Image.Image) or (isinstance(images, np.ndarray) and images.ndim == 3):
        images = [images]
    for image in images:
        if isinstance(image, str | Path) and _is_folder(Path(image)):
            for sample in read_source(Path(image)).samples:
                yield replace(sample, key=str(Path(image) / sample.key))
        else:
            yield image


def embed(bundle: Bundle, images: Iterable[ImageInput], device: Device | None = None) -> Iterator[Embedded]:
    """Embeddings in the order of the inputs; an unreadable image is answered with its reason, the others go on."""
    device = device or pick_device()
    bundle.model.to(device.torch_device)
    waiting: list[tuple[str, np.ndarray | str]] = []
    for number, image in enumerate(images):
        waiting.append(_decode(image, number))
        if len(waiting) == BATCH_SIZE:
            yield from _embed_batch(bundle, waiting, device)
            waiting = []
    yield from _embed_batch(bundle, waiting, device)


def to_pixels(bundle: Bundle, images: Sequence[np.ndarray], device: Device) -> list[Float[Tensor, "B 3 _ _"]]:
    """One normalised batch a resolution, on the device."""
    return [
        normalise(to_batch([resize(image, side) for image in images]).to(device.torch_device), bundle.pixels)
        for side in bundle.model.config.embedder.resolutions
    ]


@torch.inference_mode()
def embed_arrays(bundle: Bundle, images: Sequence[np.ndarray], device: Device) -> Float[Tensor, "B D"]:
    """Embeddings of decoded images, single precision."""
    with device.autocast():
        descriptor = bundle.model.embedder.describe(to_pixels(bundle, images, device))
    return bundle.model.embedder.projection(descriptor.float())


def _embed_batch(bundle: Bundle, batch: list[tuple[str, np.ndarray | str]], device: Device) -> Iterator[Embedded]:
    readable = [image for _, image in batch if not isinstance(image, str)]
    embeddings = iter(embed_arrays(bundle, readable, device)) if readable else iter(())
    for key, image in batch:
        if isinstance(image, str):
            yield Embedded(key, None, None, image)
        else:
            yield Embedded(key, image, next(embeddings))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # such as a name that is too long; decoding tells the reason
        return False


def _decode(image: ImageInput, number: int) -> tuple[str, np.ndarray | str]:
    if isinstance(image, np.ndarray):
        assert image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8, "arrays are H W 3 bytes"
        return f"image {number + 1}", image
    if isinstance(image, Image.Image):
        return f"image {number + 1}", np.asarray(to_rgb(image))
    sample = image if isinstance(image, Sample) else Sample(key=str(image), path=Path(image))
    try:
        return sample.key, decode(sample, Limits())
    except Unreadable as error:
        return sample.key, error.reason
