"""Go on by example: A and A', B and B', then C; the model paints C' (Bai et al. 2023, arXiv 2312.00785)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from beholder.data.decode import Limits
from beholder.data.masks import numbers_as_mask
from beholder.inference.sampling import GREEDY, SamplingConfig
from beholder.pretrained.part_folder import Part
from beholder.runtime.device import Device, pick_device
from beholder.runtime.log import counted
from beholder.runtime.seed import check_seed
from beholder.tasks.embed import ImageInput, decoded_batches
from beholder.tasks.provenance import describe_origin, write_picture
from beholder.tasks.visual_sentences import open_sentences
from beholder.types import Sample, UserError


@dataclass(frozen=True)
class Completion:
    """The picture that comes next."""

    picture: UInt8[np.ndarray, "S S 3"]
    """A square of the tokenizer's side."""
    nats_per_code: float
    """How surprising the model finds its own answer: small where it is sure."""
    origin: dict[str, Any]
    """What is written into the file: model, prompt, seed, settings."""
    notes: tuple[str, ...] = field(default=())
    """What was done to the pictures before they were read."""

    def save(self, path: str | Path) -> None:
        """Write a PNG that carries its origin. Raises UserError for another ending."""
        write_picture(Path(path), self.picture, self.origin)


def complete(
    part: Part,
    pictures: Sequence[ImageInput],
    *,
    sampling: SamplingConfig = GREEDY,
    seed: int = 0,
    device: Device | None = None,
    limits: Limits | None = None,
) -> Completion:
    """The answer to the last picture, by the example of the pairs before it.

    The middle square of each picture is read, at the tokenizer's size. Raises UserError for an even number of pictures,
    for fewer than three, for more than the model reads, and for one that cannot be read.
    """
    check_seed(seed)
    pictures = [pictures] if isinstance(pictures, ImageInput) else list(pictures)
    speaker = open_sentences(part, device or pick_device())
    if len(pictures) % 2 == 0 or len(pictures) < 3:
        sizes = " or ".join(map(str, range(3, speaker.num_pictures, 2)))
        raise UserError(
            f"{counted(len(pictures), 'picture')}: give pairs of a picture and its answer, then the picture to be "
            f"answered: {sizes} in all for this model."
        )
    speaker.check_length(len(pictures) + 1)
    images, told = _decoded(pictures, limits or Limits())
    codes = speaker.pictures.encode(speaker.pictures.squares(images))
    found = speaker.answer(codes[None], sampling, seed)
    nats = speaker.surprise(np.concatenate([codes[None], found[None]], axis=1))[0, -1]
    names = [Path(one) if isinstance(one, str | Path) else Path("picture") for one in pictures]
    origin = describe_origin("complete", part.fingerprint, seed, names, temperature=sampling.temperature)
    notes = (*told, *_notes(images, speaker.pictures.side))
    return Completion(speaker.pictures.decode(found)[0], float(nats), origin, notes)


def _decoded(pictures: Sequence[ImageInput], limits: Limits) -> tuple[list[np.ndarray], list[str]]:
    """And what is to be told of answers that are masks."""
    images, notes = list[np.ndarray](), list[str]()
    for batch in decoded_batches(pictures, limits):
        for key, image in batch:
            if isinstance(image, str):
                raise UserError(f"{key}: {image}; every picture of the sentence is needed.")
            given = pictures[len(images)]
            if len(images) % 2 and isinstance(given, str | Path):
                mask = numbers_as_mask(Sample(key, Path(given)), limits)
                if mask is not None:
                    notes.append(f"{key} holds numbers and no tones; what is above 0 in it is white, as in training")
                image = image if mask is None else mask
            images.append(image)
    return images, notes


def _notes(images: Sequence[np.ndarray], side: int) -> tuple[str, ...]:
    sizes = list(dict.fromkeys(f"{image.shape[1]} x {image.shape[0]}" for image in images))
    notes = []
    if len(sizes) > 1:
        notes.append(f"the pictures have different sizes ({', '.join(sizes)}); examples should be of one")
    if sizes != [f"{side} x {side}"]:
        notes.append(f"of each picture the middle square is read, at {side} x {side} pixels")
    return tuple(notes)
