"""The public functions, as `beholder.NAME` offers them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from beholder.data.decode import Limits
from beholder.pretrained.bundle import Bundle
from beholder.pretrained.load import load, load_own
from beholder.recipes.adapt import adapt
from beholder.recipes.curate import curate
from beholder.recipes.doctor import doctor
from beholder.recipes.pick import pick
from beholder.runtime.device import pick_device
from beholder.tasks.anomaly import anomaly as _anomaly
from beholder.tasks.classify import classify as _classify
from beholder.tasks.embed import ImageInput, each
from beholder.types import Answer

__all__ = ["adapt", "anomaly", "classify", "curate", "doctor", "load", "pick"]


def classify(
    model: Bundle | str | Path,
    images: ImageInput | Iterable[ImageInput],
    device: str = "auto",
    *,
    threads: int | None = None,
    max_pixels: int = 100_000_000,
) -> list[Answer]:
    """Which class each image belongs to: `label`, its probability as `score`, all in `details["probabilities"]`.

    `model` is a bundle or the folder of one; `images` is one or many of: files, folders of them, Pillow images, byte
    arrays (H W, or H W C with 1, 3 or 4 channels). An image that cannot be read, or has more than `max_pixels`, is
    answered with `refused`. Raises UserError when the model was made without labels, or an input is no image at all.
    """
    return _ask(_classify, model, images, device, threads, max_pixels)


def anomaly(
    model: Bundle | str | Path,
    images: ImageInput | Iterable[ImageInput],
    device: str = "auto",
    *,
    threads: int | None = None,
    max_pixels: int = 100_000_000,
) -> list[Answer]:
    """Whether each image is unusual: `label` "unusual" or "usual", the distance as `score`, threshold and p-value in
    `details`. Arguments as for `classify`. Raises UserError when the model saw too few normal images."""
    return _ask(_anomaly, model, images, device, threads, max_pixels)


def _ask(
    task: Callable[..., Iterator[Answer]],
    model: Bundle | str | Path,
    images: ImageInput | Iterable[ImageInput],
    device: str,
    threads: int | None,
    max_pixels: int,
) -> list[Answer]:
    bundle = model if isinstance(model, Bundle) else load_own(model)
    return list(task(bundle, each(images), pick_device(device, threads), Limits(max_pixels=max_pixels)))
