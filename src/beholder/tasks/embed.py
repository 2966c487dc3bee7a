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

from beholder.data.decode import Limits, Unreadable, decode, pixels_of
from beholder.data.listing import Refused
from beholder.data.sources import read_source
from beholder.pretrained.bundle import Bundle
from beholder.runtime.device import Device, pick_device
from beholder.tokenizers.pixels import normalise, resize, to_batch
from beholder.types import Sample, UserError

ImageInput = str | Path | Sample | Refused | Image.Image | np.ndarray
"""A file, a sample, a Pillow image, or bytes: H W or H W 1 (grey), H W 3, H W 4 (with opacity). Refused is what a
folder's listing could not use: it is answered with its reason."""

BATCH_SIZE = 16
Decoded = list[tuple[str, np.ndarray | str]]
"""Keys, each with its pixels or with the reason why there are none."""


@dataclass(frozen=True)
class Embedded:
    """One image as the model sees it, or why it cannot be seen."""

    key: str
    image: np.ndarray | None
    """H W 3 bytes."""
    embedding: Float[Tensor, " D"] | None
    refused: str | None = None


def each(images: ImageInput | Iterable[ImageInput]) -> Iterator[ImageInput]:
    """One input or many, one by one; a folder stands for what is in it, whatever its layout, broken links too.

    Raises UserError for a folder that cannot be read, or without images; among several inputs it is refused instead.
    """
    is_alone = not isinstance(images, Sequence) or len(images) == 1
    if isinstance(images, np.ndarray):
        images = images if images.ndim > 3 else [images]
    elif isinstance(images, ImageInput):
        images = [images]
    elif not isinstance(images, Iterable):
        raise UserError(_no_image("The input", images))
    for image in images:
        if isinstance(image, str | Path) and _is_folder(Path(image)):
            try:
                yield from _in_folder(Path(image))
            except UserError as error:
                if is_alone:
                    raise
                yield Refused(str(image), str(error))
        else:
            yield image


def embed(
    bundle: Bundle, images: Iterable[ImageInput], device: Device | None = None, limits: Limits | None = None
) -> Iterator[Embedded]:
    """Embeddings in the order of the inputs; an unreadable image is answered with its reason, the others go on.

    Raises UserError for what is no image at all, such as an array of floats.
    """
    device = device or pick_device()
    bundle.model.to(device.torch_device)
    for batch in decoded_batches(images, limits or Limits()):
        yield from _embed_batch(bundle, batch, device)


def decoded_batches(images: Iterable[ImageInput], limits: Limits) -> Iterator[Decoded]:
    """Inputs decoded, `BATCH_SIZE` at a time. Raises UserError for what is no image at all."""
    waiting: Decoded = []
    for number, image in enumerate(images, start=1):
        waiting.append(_decode(image, f"image {number}", limits))
        if len(waiting) == BATCH_SIZE:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


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


def _embed_batch(bundle: Bundle, batch: Decoded, device: Device) -> Iterator[Embedded]:
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


def _in_folder(folder: Path) -> Iterator[Sample | Refused]:
    """Samples, and what was refused in their place: a table's second row about an image is no second image."""
    source = read_source(folder)
    found = {one.key: one for one in (*source.refused, *source.samples)}
    for key in sorted(found):
        yield replace(found[key], key=str(folder / key))


def _decode(image: object, name: str, limits: Limits) -> tuple[str, np.ndarray | str]:
    """The key (`name` where the input has none) and the pixels, or the reason why there are none."""
    if isinstance(image, Refused):
        return image.key, image.reason
    sample = Sample(key=str(image), path=Path(image)) if isinstance(image, str | Path) else image
    try:
        if isinstance(sample, Sample):
            name = sample.key
            return name, decode(sample, limits)
        picture = _from_array(sample, name) if isinstance(sample, np.ndarray) else sample
        if not isinstance(picture, Image.Image):
            raise UserError(_no_image(name, picture))
        return name, pixels_of(picture, limits)
    except Unreadable as error:
        return name, error.reason


def _from_array(array: np.ndarray, name: str) -> Image.Image:
    is_picture = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    if array.dtype != np.uint8 or not is_picture:
        shape = " x ".join(map(str, array.shape)) or "no"
        raise UserError(
            f"{name} is an array of {shape} {array.dtype} values; an image has bytes (uint8) in the order height, "
            "width, colours (1, 3 or 4 of them, or none for grey)."
        )
    return Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array)


def _no_image(name: str, value: object) -> str:
    return f"{name} is of type {type(value).__name__}; give a file, a folder, a Pillow image or an array of bytes."
