"""Whether an image is unusual for its domain, judged from normal images alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from beholder.data.decode import Limits
from beholder.pretrained.bundle import Bundle
from beholder.runtime.device import Device, pick_device
from beholder.tasks.embed import ImageInput, embed
from beholder.types import Answer, UserError


def anomaly(
    bundle: Bundle, images: Iterable[ImageInput], device: Device | None = None, limits: Limits | None = None
) -> Iterator[Answer]:
    """One answer an image: `label` "unusual" or "usual" and the distance as `score` (about 1 for a usual image).

    `details` holds the threshold, the share of normal images that it calls unusual (its false alarm rate), and the
    image's p-value: the share of normal images at least as far away.
    Raises UserError when the model has seen too few normal images to judge.
    """
    usual = bundle.model.usual
    if usual is None:
        raise UserError(
            "This model saw too few normal images to tell unusual ones; run adapt on about 54 normal images or more, "
            "so that 40 of them are in the training part."
        )
    rate = float(bundle.facts["false_alarm_rate"])
    threshold = usual.threshold(rate)
    device = device or pick_device()
    for seen in embed(bundle, images, device, limits):
        if seen.embedding is None:
            yield Answer(seen.key, refused=seen.refused)
            continue
        with torch.inference_mode():
            distance = usual(seen.embedding[None])
            p_value = float(usual.p_value(distance)[0])
        label = "unusual" if float(distance[0]) > threshold else "usual"
        details = {"threshold": threshold, "false_alarm_rate": rate, "p_value": p_value}
        yield Answer(seen.key, label, float(distance[0]), details)
