"""Which class an image belongs to, with a calibrated probability."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from beholder.data.decode import Limits
from beholder.pretrained.bundle import Bundle
from beholder.runtime.device import Device, pick_device
from beholder.tasks.embed import ImageInput, embed
from beholder.types import Answer, UserError


def classify(
    bundle: Bundle, images: Iterable[ImageInput], device: Device | None = None, limits: Limits | None = None
) -> Iterator[Answer]:
    """One answer an image: `label`, its probability as `score`, and all of them in `details["probabilities"]`.

    Raises UserError when the model was made without labels.
    """
    if bundle.model.head is None:
        raise UserError("This model was made without labels, so it has no classes; run adapt again with --labels.")
    device = device or pick_device()
    for seen in embed(bundle, images, device, limits):
        if seen.embedding is None:
            yield Answer(seen.key, refused=seen.refused)
            continue
        with torch.inference_mode():
            probabilities = bundle.model.classify(seen.embedding[None])[0].tolist()
        named = dict(zip(bundle.labels, probabilities, strict=True))
        label = max(named, key=named.__getitem__)
        yield Answer(seen.key, label, named[label], {"probabilities": named})
