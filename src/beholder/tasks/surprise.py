"""How little a model of visual sentences expected a picture: what is unlike the pictures it learned from costs more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from beholder.data.decode import Limits
from beholder.pretrained.part_folder import Part
from beholder.runtime.device import Device, pick_device
from beholder.tasks.embed import ImageInput, decoded_batches
from beholder.tasks.visual_sentences import open_sentences
from beholder.types import Answer


def surprise(
    part: Part, images: Iterable[ImageInput], device: Device | None = None, limits: Limits | None = None
) -> Iterator[Answer]:
    """`score`: mean nats a code of the picture as a sentence's first one, in the order of the inputs; it is a score of
    anomaly without a threshold. An unreadable image is answered with `refused`."""
    speaker = open_sentences(part, device or pick_device())
    for batch in decoded_batches(images, limits or Limits()):
        readable = [image for _, image in batch if not isinstance(image, str)]
        nats = iter(())
        if readable:
            codes = speaker.pictures.encode(speaker.pictures.squares(readable))
            nats = iter(speaker.surprise(codes[:, None])[:, 0].tolist())
        for key, image in batch:
            if isinstance(image, str):
                yield Answer(key, refused=image)
            else:
                yield Answer(key, score=next(nats))
