"""Few-shot classes by likelihood: a picture belongs to the class whose examples make it least surprising."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from beholder.data.decode import Limits
from beholder.pretrained.part_folder import Part
from beholder.runtime.device import Device, pick_device
from beholder.tasks.embed import ImageInput, decoded_batches
from beholder.tasks.visual_sentences import VisualSentences, open_sentences
from beholder.types import Answer, UserError


def likely_class(
    part: Part,
    examples: Mapping[str, Sequence[ImageInput]],
    images: Iterable[ImageInput],
    device: Device | None = None,
    limits: Limits | None = None,
) -> Iterator[Answer]:
    """`label`: the class after whose examples the picture costs the fewest nats; `score`: those, a code;
    `details["nats_per_code"]`: of every class.

    Every class gives equally many examples, as a sentence that the picture ends: an unequal number would favour the
    class that tells more. Raises UserError for fewer than two classes, unequal numbers, and more than the model reads.
    """
    counts = {len(some) for some in examples.values()}
    if len(examples) < 2 or len(counts) != 1 or 0 in counts:
        told = ", ".join(f"{name}: {len(some)}" for name, some in examples.items()) or "none"
        raise UserError(f"Examples of classes ({told}): give two classes or more, with equally many pictures each.")
    limits, speaker = limits or Limits(), open_sentences(part, device or pick_device())
    speaker.check_length(counts.pop() + 1)
    told = np.stack([_codes(speaker, name, some, limits) for name, some in examples.items()])  # classes pictures codes
    names = list(examples)
    for batch in decoded_batches(images, limits):
        for key, image in batch:
            if isinstance(image, str):
                yield Answer(key, refused=image)
                continue
            own = speaker.pictures.encode(speaker.pictures.squares([image]))
            asked = np.repeat(own[None], len(names), axis=0)
            nats = speaker.surprise(np.concatenate([told, asked], axis=1))[:, -1].tolist()
            best = int(np.argmin(nats))
            details = {"nats_per_code": dict(zip(names, nats, strict=True))}
            yield Answer(key, names[best], nats[best], details)


def _codes(speaker: VisualSentences, name: str, some: Sequence[ImageInput], limits: Limits) -> np.ndarray:
    images = [image for batch in decoded_batches(some, limits) for _, image in batch]
    refused = next((image for image in images if isinstance(image, str)), None)
    if refused is not None:
        raise UserError(f"An example of {name} cannot be read ({refused}); give another picture.")
    return speaker.pictures.encode(speaker.pictures.squares([one for one in images if not isinstance(one, str)]))
